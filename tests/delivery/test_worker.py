"""Workers together, over one server: whatever one accepts reaches the devices of the other; and how one leaves."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from scripts.lab.ports import free_port
from scripts.lab.proxy import RedisProxy
from scripts.lab.timing import UNIT, eventually_async
from service.core.errors import Refused, Unavailable
from service.delivery.worker import Worker
from service.store import preflight
from service.store.durability import ServerFacts
from service.store.link import Link
from service.store.presence import Claim
from service.store.worker_stream import BROADCAST, KICK
from service.telemetry import HINTS_UNREADABLE, REPLAYED_PAGES
from tests.delivery.conftest import Start, calm
from tests.delivery.rig import (
    NEVER,
    Client,
    a_message,
    connect,
    quick,
    ready,
    send,
    submit,
    total,
    troubled,
    until,
    until_stored,
    within,
)


async def presence_of(store: Any, user: str = "bob") -> dict[str, str]:
    return dict(await store.hgetall(f"chat:presence:{{{user}}}"))


async def test_a_claim_may_meet_a_clock_that_is_ahead(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a Cluster the user's node need not have the clock that the worker goes by."""
    worker = await start()
    inspect = preflight.inspect_all

    async def two_clocks(link: Link) -> dict[str, ServerFacts]:
        [(address, facts), *_] = (await inspect(link)).items()
        return {address: facts, "elsewhere": replace(facts, clock_ms=facts.clock_ms + 10_000)}

    monkeypatch.setattr(preflight, "inspect_all", two_clocks)
    await worker.inspect()
    before = worker.now_ms()
    latest = worker.claim_deadline() - worker.settings.redis_timeout * 1000 - 10_000
    assert before <= latest <= worker.now_ms()


@pytest.fixture
async def pair(start: Start) -> tuple[Worker, Worker]:
    """Two workers whose audits find nothing within a test: what arrives was told."""
    return await start(audit_interval=NEVER), await start(audit_interval=NEVER)


# Delivery.


async def test_what_one_worker_accepts_reaches_the_other_ones_device_live(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    client = await connect(here)
    pages = total(REPLAYED_PAGES)
    cursors = await send(there, *(a_message(f"m{n}", body=n) for n in range(20)))
    assert await client.come(20) == [str(cursor) for cursor in cursors]
    assert [frame["body"] for frame in client.of("message")] == list(range(20))
    assert not any(frame.get("replay") for frame in client.of("message"))
    assert total(REPLAYED_PAGES) == pages


async def test_every_device_of_every_recipient_gets_it_wherever_it_is(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    places = [(here, "bob", "phone"), (there, "bob", "laptop"), (here, "carol", "phone"), (there, "dave", "phone")]
    clients = [await connect(*place) for place in places]
    await within(submit(here.committer, a_message("m1", ("bob", "carol", "dave", "erin"))), "an answer")
    for client in clients:
        await client.come(1)
        message = client.of("message")[0]
        assert (message["id"], message["to"], message["from"]) == ("m1", client.user, "alice")


async def test_the_senders_own_devices_show_it_too(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    phone, laptop = await connect(here, "alice"), await connect(there, "alice", "laptop")
    await within(submit(here.committer, a_message("m1", ("bob", "carol"))), "an answer")
    for client in (phone, laptop):
        await client.come(1)
        message = client.of("message")[0]
        assert (message["from"], message["to"]) == ("alice", ["bob", "carol"])


async def test_without_own_copies_the_senders_devices_get_nothing(start: Start) -> None:
    worker = await start(own_copy=False)
    alice, bob = await connect(worker, "alice"), await connect(worker)
    await send(worker, a_message("m1"))
    await bob.come(1)
    assert alice.ids == []
    assert await worker.inboxes.last("alice") == (0, 0)


async def test_two_writers_at_once_give_every_device_one_order_without_holes(pair: tuple[Worker, Worker]) -> None:
    here, there = pair
    phone, laptop = await connect(here), await connect(there, device="laptop")

    async def write(worker: Worker, name: str) -> None:
        for n in range(60):
            await send(worker, a_message(f"{name}{n}"))

    async def ack(client: Client) -> None:
        await client.come(120)

    await within(
        asyncio.gather(write(here, "here"), write(there, "there"), ack(phone), ack(laptop)), "all of it everywhere"
    )
    assert phone.ids == laptop.ids
    for name in ("here", "there"):
        assert [id for id in phone.ids if id.startswith(name)] == [f"{name}{n}" for n in range(60)]
    assert [int(cursor.partition("-")[2]) for cursor in phone.cursors] == list(range(1, 121))


async def test_a_claim_that_names_a_worker_that_is_gone_costs_one_announcement(worker: Worker, store: Any) -> None:
    gone = Claim("bob", "phone", "w-gone", "s-1")
    assert await worker.presence.claim(gone)
    await send(worker, a_message("m1"))

    async def released() -> bool:
        return await presence_of(store) == {}

    await until_stored(released, "the release")
    client = await connect(worker)
    assert client.ids == ["m1"]


# What operators say.


async def test_a_broadcast_reaches_every_device_and_no_poll_breaks(start: Start) -> None:
    here, there = await calm(start)(), await calm(start)()
    clients = [await connect(here), await connect(here, "carol")]
    await there.streams.tell(here.id, BROADCAST, b'{"maintenance":"soon"}')
    for client in clients:
        frame = await client.next("broadcast")
        assert frame["body"] == {"maintenance": "soon"}
        assert isinstance(frame["ts"], int)


async def test_an_operator_removes_one_device_or_all(start: Start) -> None:
    here, there = await calm(start)(), await calm(start)()
    phone, laptop = await connect(here), await connect(here, device="laptop")
    carol = await connect(here, "carol")
    await there.streams.tell(here.id, KICK, "bob/laptop")
    assert await laptop.closed() == 4510
    assert phone.closes == []
    await there.streams.tell(here.id, KICK, "bob")
    assert await phone.closed() == 4510
    assert carol.closes == []


@pytest.mark.parametrize(
    "field", (("!canary", "soon"), ("!replaced", "bob"), ("!replaced", "a/b/c/d"), ("!unheard-of", "x"))
)
async def test_a_control_that_nobody_understands_harms_nobody(start: Start, store: Any, field: tuple[str, str]) -> None:
    worker, other = await calm(start)(), await calm(start)()
    client = await connect(worker)
    unreadable = total(HINTS_UNREADABLE)
    await store.xadd(f"chat:worker:{{{worker.id}}}", dict([field]))
    await send(other, a_message("m1"))
    await client.come(1)
    assert (worker.tasks.dead, client.closes) == ([], [])
    assert total(HINTS_UNREADABLE) == unreadable + (field[0] != "!unheard-of")


async def test_a_broadcast_that_an_operator_wrote_over_several_lines_is_one_line(worker: Worker, store: Any) -> None:
    client = await connect(worker)

    async def heard() -> bool:  # a reader that looks for its place passes what no inbox has over: then once more
        await store.xadd(f"chat:worker:{{{worker.id}}}", {BROADCAST: '{\n  "maintenance": "soon"\n}'})
        await asyncio.sleep(0.1 * UNIT)
        return bool(client.of("broadcast"))

    await eventually_async(heard, "the broadcast")
    assert client.of("broadcast")[0]["body"] == {"maintenance": "soon"}


async def test_a_broadcast_that_is_not_json_is_sent_to_nobody(worker: Worker, other: Worker, store: Any) -> None:
    client = await connect(worker)
    await store.xadd(f"chat:worker:{{{worker.id}}}", {BROADCAST: "maintenance soon"})
    await send(other, a_message("m1"))
    await client.come(1)
    lines = [line for bundle in client.bundles for line in bundle]
    assert all(json.loads(line) for line in lines)
    assert client.of("broadcast") == []


# Coming and leaving.


async def test_it_enters_the_list_of_workers_and_a_whole_drain_leaves_nothing(start: Start, store: Any) -> None:
    worker = await start()
    assert worker.id in await store.hgetall("chat:workers")
    await connect(worker)
    await within(worker.drain(), "the drain")
    await worker.stop()
    assert worker.id not in await store.hgetall("chat:workers")
    assert [key async for key in store.scan_iter(f"*{worker.id}*")] == []
    assert await presence_of(store) == {}


async def test_draining_says_goodbye_stores_acks_and_gives_claims_back(start: Start, store: Any) -> None:
    worker = await start()
    await send(worker, *(a_message(f"m{n}") for n in range(3)))
    clients = [await connect(worker), await connect(worker, device="laptop"), await connect(worker, "carol")]
    clients[0].ack(clients[0].cursors[1])
    draining = asyncio.create_task(worker.drain())
    for client in clients:
        closing = await client.next("closing")
        assert 0 <= closing["reconnect_after_ms"] <= 2000
    assert "draining" in worker.problems()
    for client in clients:
        assert await client.closed() == 1012
    await within(draining, "the drain")
    assert await store.hget("chat:cursors:{bob}", "phone") == clients[0].cursors[1]
    assert await presence_of(store) == {}
    assert await presence_of(store, "carol") == {}
    assert len(worker.hub) == 0


async def test_sends_on_their_way_have_their_answer_before_a_drain_closes(start: Start, store: Any) -> None:
    worker = await start()
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.gate.clear()
    for n in range(10):
        alice.say(a_message(f"m{n}"))
    await until(lambda: trouble.calls == 1, "the first call")
    draining = asyncio.create_task(worker.drain())
    await alice.next("closing")
    alice.say(a_message("late"))
    assert alice.closes == []
    trouble.gate.set()
    await within(draining, "the drain")
    assert await alice.closed() == 1012
    answers = {frame["id"]: frame["type"] for frame in alice.of("accepted", "error")}
    assert answers == {**{f"m{n}": "accepted" for n in range(10)}, "late": "error"}
    assert [fields["id"] for _, fields in await store.xrange("chat:inbox:{bob}")] == [f"m{n}" for n in range(10)]


async def test_what_a_drain_could_not_give_back_in_time_is_left_for_the_reaper(start: Start, store: Any) -> None:
    leaving = await start(drain_timeout=0.2)
    await connect(leaving)
    releases = troubled(leaving.presence, "release")
    releases.gate.clear()
    await within(leaving.drain(), "the drain, in part")
    assert releases.calls == 1
    await leaving.stop()
    assert await presence_of(store) != {}
    await start(heartbeat=0.1, dead_after=0.4)

    async def reaped() -> bool:
        return await presence_of(store) == {}

    await until_stored(reaped, "the reaping")
    assert await store.hget("chat:workers", leaving.id) == "dead"


async def test_a_drain_without_a_server_ends_in_time(start: Start, proxy: RedisProxy) -> None:
    worker = await start(proxy.url, drain_timeout=0.4)
    client = await connect(worker)
    proxy.refusing = True
    proxy.cut()
    await until(lambda: not ready(worker), "the server is missed")
    await within(worker.drain(), "the drain")
    assert await client.closed() == 1012


async def test_it_does_not_start_where_the_settings_break_the_promise(redis_url: str, store: Any) -> None:
    await store.config_set("maxmemory-policy", "allkeys-lru")
    worker = Worker(quick(redis_url), lambda _: None)
    try:
        with pytest.raises(Refused, match="could be evicted"):
            await worker.start()
    finally:
        await store.config_set("maxmemory-policy", "noeviction")
        await worker.stop()
    assert await store.hgetall("chat:workers") == {}


async def test_it_does_not_start_without_a_server() -> None:
    worker = Worker(quick(f"redis://127.0.0.1:{free_port()}/0"), lambda _: None)
    with pytest.raises(Unavailable):
        await worker.start()
    await worker.stop()


async def test_the_death_of_any_task_is_reported_and_named_by_readiness(redis_url: str) -> None:
    names = ("reader", "committer", "copier", "announcer", "acker", "relay", "releaser", "audit", "reaper", "liveness")
    deaths: list[str] = []
    worker = Worker(quick(redis_url), deaths.append)
    await worker.start()
    for name in names:
        worker.tasks.get(name).cancel()
        await until(lambda name=name: name in deaths, f"the death of the {name}")  # type: ignore[misc]
        assert f"the {name} has died" in worker.problems()
    assert deaths == list(names)
    await worker.stop()
    assert deaths == list(names)
