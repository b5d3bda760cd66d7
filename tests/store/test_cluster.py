"""A Cluster: every command finds its node, wherever its slot goes; what may have run is never repeated in secret."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE, UNIT
from service.core.errors import Unavailable
from service.core.sending import AppendStatus
from service.store import scripts
from service.store.address import Node
from service.store.blocks import Blocks
from service.store.client import Clients
from service.store.cluster import SLOTS, Cluster, Slots, key_of
from service.store.keys import Keys
from service.store.link import Command, Wait
from service.store.single import Single
from service.store.watchers import Watchers
from service.store.worker_stream import KICK, Control
from tests.store.conftest import Server, Store, message

USERS = ("bob", "carol", "heidi", "erin", "mallory")  # of several slots, on all three nodes


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    group = ClusterGroup(tmp_path_factory.mktemp("cluster"), primaries=3, replicas=0)
    group.start()
    yield group
    group.stop()


@pytest.fixture
async def store(group: ClusterGroup) -> AsyncIterator[Store]:
    group.flush()
    clients = Clients(Server(group.url))
    yield Store(clients, real=True)
    await clients.aclose()


def slot_of(store: Store, user: str) -> int:
    return key_slot(store.keys.inbox(user).encode())


async def test_every_inbox_is_on_its_own_node(store: Store, group: ClusterGroup) -> None:
    rows = await store.append([message("m1", *USERS), message("m2", *USERS)], own_copy=False)
    assert [[result.status for result in row] for row in rows] == [[AppendStatus.APPENDED] * 5] * 2
    assert len({group.node_of(store.keys.inbox(user)) for user in USERS}) == 3
    for user in USERS:
        last = await store.clients.rest.run("HGET", store.keys.state(user), "last")
        assert last.endswith(b"-2")


async def test_one_pipeline_asks_all_nodes_and_answers_in_its_order(store: Store) -> None:
    rest = store.clients.rest
    await rest.pipeline([("SET", user, number) for number, user in enumerate(USERS)])
    assert await rest.pipeline([("GET", user) for user in reversed(USERS)]) == [b"4", b"3", b"2", b"1", b"0"]


async def test_every_primary_can_be_asked_for_itself(store: Store, group: ClusterGroup) -> None:
    primaries = await store.clients.rest.primaries()
    assert [address for address, _ in primaries] == [f"127.0.0.1:{port}" for port in group.primaries()]
    for address, one in primaries:
        assert f":{(await one.run('INFO', 'server'))['tcp_port']}" in address


async def test_scripts_are_known_again_to_every_node_that_forgot_them(store: Store, group: ClusterGroup) -> None:
    await store.append([message("m1", *USERS)], own_copy=False)
    for port in group.primaries():
        group.server(port).do("SCRIPT", "FLUSH")
    [row] = await store.append([message("m2", *USERS)], own_copy=False)
    assert {result.status for result in row} == {AppendStatus.APPENDED}


async def test_a_moved_slot_is_followed_and_the_command_runs_once(store: Store, group: ClusterGroup) -> None:
    await store.send("m1", "bob")
    slot = slot_of(store, "bob")
    home = group.owner(slot)
    away = next(port for port in group.primaries() if port != home)
    try:
        assert group.move_slot(slot, away) >= 3
        second = await store.send("m2", "bob")
        assert (second.status, str(second.cursor).partition("-")[2]) == (AppendStatus.APPENDED, "2")
        assert group.node_of(store.keys.inbox("bob")) == away
    finally:
        group.move_slot(slot, home)


@pytest.mark.parametrize("told", (False, True), ids=("told-by-the-old-owner", "told-by-another-link"))
async def test_who_reads_a_worker_stream_whose_slot_has_moved_takes_its_place_anew(
    store: Store, group: ClusterGroup, told: bool
) -> None:
    """Hints are in memory only: what the new owner has may be in front of the old place."""
    place = await store.streams.position("w-1")
    place, _, _ = await store.streams.read("w-1", place, 0.01 * UNIT)
    slot = key_slot(store.keys.worker("w-1").encode())
    home = group.owner(slot)
    away = next(port for port in group.primaries() if port != home)
    try:
        await asyncio.to_thread(group.move_slot, slot, away)
        group.server(away).do("DEL", store.keys.worker("w-1"))  # as if its clock was behind
        group.server(away).do("XADD", store.keys.worker("w-1"), "1-1", "!canary", "1")
        if told:
            assert await store.streams.tell("w-1", KICK, "bob")
        with pytest.raises(Unavailable, match=r"[mM]oved"):
            await store.streams.read("w-1", place, 0.01 * UNIT)
        place = await store.streams.position("w-1")
        assert await store.streams.tell("w-1", KICK, "bob")
        assert (await store.streams.read("w-1", place, PATIENCE / 2))[1] == [Control(KICK, "bob")]
    finally:
        await asyncio.to_thread(group.move_slot, slot, home)


async def test_while_a_slot_moves_key_by_key_nothing_is_lost_or_doubled(store: Store, group: ClusterGroup) -> None:
    await store.send("m0", "bob")
    slot = slot_of(store, "bob")
    home = group.owner(slot)
    away = next(port for port in group.primaries() if port != home)
    steps: list[str] = []
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    sent = 0

    async def go_on_sending() -> None:
        nonlocal sent
        while not stop.is_set():
            await store.send(f"m{sent + 1}", "bob")
            sent += 1

    def between(step: str) -> None:
        """The move waits until a message was sent; not while keys are missing on either side: a script names keys
        that do not exist yet, and is told to try again until the slot has one owner.
        """
        steps.append(step)
        before = sent

        async def another() -> None:
            while sent == before:  # noqa: ASYNC110 - the sender does not tell
                await asyncio.sleep(0.005)

        if step in ("importing", "told"):
            asyncio.run_coroutine_threadsafe(another(), loop).result(PATIENCE)

    sending = asyncio.create_task(go_on_sending())
    try:
        await asyncio.to_thread(group.move_slot, slot, away, between)
    finally:
        stop.set()
        await sending
        await asyncio.to_thread(group.move_slot, slot, home)
    assert {"importing", "migrating", "key", "emptied", "told"} <= set(steps)
    rows = await store.clients.rest.run("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert [id.partition(b"-")[2] for id, _ in rows] == [b"%d" % n for n in range(1, sent + 2)]


async def test_a_node_that_is_gone_takes_only_its_own_inboxes_with_it(store: Store, group: ClusterGroup) -> None:
    await store.append([message("m1", *USERS)], own_copy=False)
    lost = group.node_of(store.keys.inbox("bob"))
    group.server(lost).do("CONFIG", "SET", "cluster-require-full-coverage", "no")
    for port in group.primaries():
        group.server(port).do("CONFIG", "SET", "cluster-require-full-coverage", "no")
    group.kill(lost)
    try:
        attempts = await store.appends.append([message(f"m-{user}", user) for user in USERS], own_copy=False)
        unknown = {user for user, attempt in zip(USERS, attempts, strict=True) if isinstance(attempt, Unavailable)}
        assert unknown == {user for user in USERS if group_node(store, group, user, lost)}
        assert "bob" in unknown
    finally:
        group.server(lost).start()
        await asyncio.to_thread(group.await_ok)
    assert (await store.send("m-bob", "bob")).status in (AppendStatus.APPENDED, AppendStatus.DUPLICATE)


async def test_a_frozen_node_holds_up_nobody_elses_commands(store: Store, group: ClusterGroup) -> None:
    """Its own time out, again and again, and each time the slots are looked at: the others answer for it."""
    for port in group.primaries():
        group.server(port).do("CONFIG", "SET", "cluster-require-full-coverage", "no")
    await store.append([message("m1", *USERS)], own_copy=False)
    frozen = group.primaries()[0]  # the first that would be asked
    [there, *_] = [user for user in USERS if group.node_of(store.keys.inbox(user)) == frozen]
    [elsewhere, *_] = [user for user in USERS if group.node_of(store.keys.inbox(user)) != frozen]
    group.server(frozen).pause()
    try:
        stuck = asyncio.create_task(store.inboxes.last(there))
        store.clients.rest._slots.stale = True
        await store.inboxes.last(elsewhere)
        assert (await store.send("m2", elsewhere)).status is AppendStatus.APPENDED
        await store.appends.ping()
        assert not stuck.done()
    finally:
        group.server(frozen).resume()
    await stuck
    await asyncio.to_thread(group.await_ok)


def group_node(store: Store, group: ClusterGroup, user: str, port: int) -> bool:
    """Whether a user's inbox lies on the node that was at `port`: nobody else may have its slots."""
    try:
        return group.owner(slot_of(store, user)) == port
    except LookupError:
        return True


async def test_durability_is_waited_for_on_every_node(store: Store) -> None:
    store.appends.wait = Wait(("WAITAOF", 1, 0, 2000), 1)
    [row] = await store.append([message("m1", *USERS)], own_copy=False)
    assert len(row) == 5
    store.appends.wait = Wait(("WAIT", 1, 1), 1)
    attempts = await store.appends.append([message("m2", "bob"), message("m3", "carol")], own_copy=False)
    assert all(isinstance(attempt, Unavailable) for attempt in attempts)


async def test_appends_have_somewhere_to_go_while_one_node_answers(store: Store, group: ClusterGroup) -> None:
    await store.append([message("m1", *USERS)], own_copy=False)
    lost = group.primaries()[:-1]
    for port in lost:
        group.kill(port)
    try:
        await store.appends.ping()
    finally:
        for port in lost:
            group.server(port).start()
        await asyncio.to_thread(group.await_ok)


async def test_without_any_node_it_is_unavailable() -> None:
    clients = Clients(Server(f"redis+cluster://127.0.0.1:{free_port()}"))
    with pytest.raises(Unavailable, match="no node of the Cluster"):
        await clients.rest.run("GET", "a")
    await clients.aclose()


async def test_with_one_primary_away_the_users_of_the_others_are_seen(store: Store, group: ClusterGroup) -> None:
    watchers, blocks = Watchers(store.clients.rest, store.keys), Blocks(store.clients.rest, store.keys)
    away = group.node_of(store.keys.inbox(USERS[0]))
    there = [group.node_of(store.keys.inbox(user)) != away for user in USERS]
    assert any(there)
    group.kill(away)
    try:
        pairs = [(user, "alice") for user in USERS]
        for seen in (
            await watchers.watch("w-1", USERS, 60),
            await watchers.glance(USERS),
            await watchers.holders(USERS),
            list((await blocks.between(pairs)).values()),
        ):
            assert [not isinstance(one, Unavailable) for one in seen] == there
    finally:
        group.restart(away)
        group.await_ok()


# Routing, with nodes that answer as the test tells them to.


class Node7(Single):
    """Answers from a list, and notes what it was asked."""

    def __init__(self, answers: list[Any], primary: bytes = b"here") -> None:
        super().__init__(None)
        self.answers = answers
        self.primary = primary
        self.asked: list[str] = []
        self.looks = 0
        self.away = False

    async def raw(self, *command: Any) -> Any:
        assert command == ("CLUSTER", "SLOTS")
        self.looks += 1
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionResetError
        return [[0, SLOTS - 1, [self.primary, 1]]]

    async def aclose(self) -> None:
        pass

    async def raw_pipeline(self, commands: Any) -> list[Any]:
        self.asked += [" ".join(map(str, command)) for command in commands]
        return [b"OK" if command[0] == "ASKING" else self.answers.pop(0) for command in commands]

    async def raw_exchange(self, commands: Any, wait: Wait | None = None) -> list[Any]:
        assert wait is None
        return await self.raw_pipeline(commands)


async def routed(here: list[Any], there: list[Any], *commands: Command) -> tuple[list[Any], Node7, Node7]:
    nodes: dict[Node, Node7] = {("here", 1): Node7(here), ("there", 2): Node7(there)}
    cluster = Cluster(Slots([("here", 1)], nodes.__getitem__), nodes.__getitem__, PATIENCE)
    return await cluster.pipeline(commands), nodes["here", 1], nodes["there", 2]


async def test_a_primary_that_is_cut_off_and_names_itself_is_outvoted() -> None:
    nodes = {("here", 1): Node7([]), ("there", 1): Node7([], b"there"), ("yonder", 1): Node7([], b"there")}
    slots = Slots(nodes, nodes.__getitem__)
    await slots.fresh()
    assert slots.primaries == [("there", 1)]


async def test_all_who_wait_share_one_look_and_what_came_of_it() -> None:
    node = Node7([])
    slots = Slots([("here", 1)], {("here", 1): node}.__getitem__)
    node.away = True
    found = await asyncio.gather(*(slots.fresh() for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in found} == {Unavailable}
    assert node.looks == 1
    node.away = False
    await asyncio.gather(*(slots.fresh() for _ in range(50)))
    assert (node.looks, slots.primaries) == (2, [("here", 1)])


async def test_who_is_sent_elsewhere_goes_there_once() -> None:
    replies, here, there = await routed([MovedError("5 there:2"), b"one"], [b"two"], ("GET", "a"), ("GET", "b"))
    assert replies == [b"two", b"one"]
    assert (here.asked, there.asked) == (["GET a", "GET b"], ["GET a"])


@pytest.mark.parametrize("asked", (False, True))
async def test_who_stays_is_told_of_a_move_once_and_then_asks_the_new_owner(asked: bool) -> None:
    here, there = Node7([b"one", MovedError("5 there:1")]), Node7([b"two", b"three"], b"there")
    nodes: dict[Node, Node7] = {("here", 1): here, ("there", 1): there}
    slots = Slots([("here", 1)], nodes.__getitem__)
    cluster = Cluster(slots, nodes.__getitem__, PATIENCE, stays=True)
    assert await cluster.run("GET", "a") == b"one"
    here.primary = b"there"
    slots.stale = not asked  # as another link may have found out
    [moved] = await cluster.exchange([("GET", "a")])
    assert isinstance(moved, Unavailable)
    assert (len(here.asked), there.asked) == (2 if asked else 1, [])
    assert await cluster.exchange([("GET", "a")]) == [b"two"]
    assert await cluster.exchange([("GET", "a")]) == [b"three"]


async def test_who_stays_asks_where_a_key_has_gone_before_its_slot() -> None:
    nodes: dict[Node, Node7] = {("here", 1): Node7([AskError("5 there:2")]), ("there", 2): Node7([b"two"])}
    cluster = Cluster(Slots([("here", 1)], nodes.__getitem__), nodes.__getitem__, PATIENCE, stays=True)
    assert await cluster.run("GET", "a") == b"two"


async def test_who_is_to_ask_says_so_first_down_the_same_connection() -> None:
    replies, _, there = await routed([AskError("5 there:2")], [b"two"], ("GET", "a"))
    assert replies == [b"two"]
    assert there.asked == ["ASKING", "GET a"]


async def test_who_is_to_try_again_does() -> None:
    replies, here, _ = await routed([TryAgainError("later"), b"one"], [], ("GET", "a"))
    assert replies == [b"one"]
    assert here.asked == ["GET a", "GET a"]


async def test_an_unnamed_host_is_the_one_that_was_asked() -> None:
    moved = AskError("5 :1")
    replies, here, _ = await routed([moved, b"one"], [], ("GET", "a"))
    assert replies == [b"one"]
    assert here.asked == ["GET a", "ASKING", "GET a"]


@pytest.mark.parametrize(
    ("command", "key"),
    (
        (("GET", "a"), "a"),
        (("EVALSHA", "sha", 2, "k1", "k2", "arg"), "k1"),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "s", "0-0"), "s"),
        (("XINFO", "STREAM", "s"), "s"),
        (("TIME",), None),
        (("SCRIPT", "EXISTS", "sha"), None),
    ),
)
def test_the_first_key_says_where_a_command_goes(command: Command, key: str | None) -> None:
    assert key_of(command) == key


def test_all_keys_of_a_user_share_a_slot_whatever_the_name() -> None:
    for user in (*USERS, "a:b@c+d", "x" * 128):
        assert len({key_slot(key) for key in Keys().of(user)}) == 1


async def test_two_scripts_of_different_slots_can_go_together(store: Store) -> None:
    calls: list[scripts.Call] = [(scripts.BEAT, (f"w{n}",), ("w-1",)) for n in range(10)]
    assert await scripts.call_all(store.clients.rest, calls) == [0] * 10


async def test_a_link_that_is_closed_makes_no_way_to_a_node_it_has_not_asked_yet() -> None:
    here, made = Node7([b"one"]), list[Node]()

    def connect(node: Node) -> Node7:
        made.append(node)
        return here

    slots = Slots([("here", 1)], connect)
    cluster = Cluster(slots, connect, PATIENCE)
    await slots.fresh()
    await cluster.aclose()
    with pytest.raises(Unavailable):
        await cluster.run("GET", "a")
    slots.stale = True
    with pytest.raises(Unavailable):
        await slots.fresh()
    assert made == [("here", 1)]
    assert (here.looks, here.asked) == (1, [])
