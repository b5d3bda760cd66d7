"""The boundary to the server: every failure is `Unavailable`, nothing is repeated behind our back, and no
answer reaches another question.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE, UNIT, eventually_async
from service.core.errors import Unavailable
from service.core.sending import AppendStatus
from service.store import client as store
from service.store import scripts
from service.store.client import Clients
from service.store.link import Wait, all_closed, unwrapped
from tests.store.conftest import Server, Store
from tests.store.scripted_server import OK, Answer, ScriptedServer

SHORT = 0.1 * UNIT
"""Seconds; the time-out of clients whose server will not answer."""


async def exchanged(link: Any) -> Any:
    """One reply of `exchange`, in which errors are values."""
    return unwrapped(await link.exchange([("INCR", "n")]))[0]


Ask = Callable[[Any], Awaitable[Any]]
ASKS: dict[str, Ask] = {
    "run": lambda client: client.run("INCR", "n"),
    "exchange": exchanged,
    "pipeline": lambda client: client.pipeline([("INCR", "n"), ("INCR", "n")]),
    "script": lambda client: scripts.call(client, scripts.BEAT, ("workers",), ("w-1",)),
}
asks = pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Clients of a server; `connections` is how many they may open."""
    opened: list[Any] = []

    def connect(url: str, timeout: float = PATIENCE, connections: int = 1) -> Any:
        opened.append(store.connect(Server(url, timeout), connections=connections))
        return opened[-1]

    yield connect
    for client in opened:
        await client.aclose()


# Failures become Unavailable.


@asks
async def test_a_refused_connection_is_unavailable(connect: Callable[..., Any], ask: Ask) -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable, match="ConnectionError"):
        await ask(client)


@asks
async def test_a_server_that_does_not_answer_is_unavailable_after_the_time_out(
    connect: Callable[..., Any], ask: Ask
) -> None:
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with ScriptedServer(lambda _: never) as server:
        client = connect(server.url, SHORT)
        with pytest.raises(Unavailable, match="Timeout"):
            await ask(client)
        assert len(server.commands) == 1
        never.cancel()


REFUSALS = (
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Errors writing to the AOF file",
    "LOADING the dataset in memory",
    "BUSY a script is running",
    "MASTERDOWN Link with MASTER is down",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR anything",
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.split()[0])
@pytest.mark.parametrize("ask", (ASKS["run"], ASKS["exchange"], ASKS["script"]), ids=("run", "exchange", "script"))
async def test_a_refusal_of_the_server_is_unavailable(connect: Callable[..., Any], ask: Ask, refusal: str) -> None:
    async with ScriptedServer(lambda _: f"-{refusal}\r\n".encode()) as server:
        with pytest.raises(Unavailable):
            await ask(connect(server.url))
        assert len(server.commands) == 1


@asks
async def test_an_answer_that_is_no_protocol_is_unavailable(connect: Callable[..., Any], ask: Ask) -> None:
    async with ScriptedServer(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        with pytest.raises(Unavailable):
            await ask(connect(server.url))


async def test_why_names_what_happened_for_the_log(connect: Callable[..., Any]) -> None:
    async with ScriptedServer(lambda _: b"-READONLY You can't write\r\n") as server:
        with pytest.raises(Unavailable) as caught:
            await connect(server.url).run("INCR", "n")
    assert caught.value.why.startswith("ReadOnlyError: ")


async def test_a_real_replica_refuses_writes_as_unavailable(tmp_path: Any, connect: Callable[..., Any]) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        with server.client() as client:
            client.replicaof("127.0.0.1", free_port())
        replica = Store(Clients(Server(server.url)), real=True)
        with pytest.raises(Unavailable):
            await replica.send()
        await replica.clients.aclose()
    finally:
        server.stop()


# What fails is not trusted any more.


async def test_where_one_connection_failed_none_is_used_again_without_a_new_look(connect: Callable[..., Any]) -> None:
    """A network that has forgotten one has forgotten all; behind a name there may be somebody else by now."""
    answers: list[asyncio.Future[bytes]] = []

    def answer(command: list[bytes]) -> Answer:
        answers.append(asyncio.get_running_loop().create_future())
        return answers[-1] if command[0] == b"LATE" else None if command[0] == b"LOSE" else b":1\r\n"

    async with ScriptedServer(answer) as server:
        client = connect(server.url, connections=2)
        late = asyncio.ensure_future(client.exchange([("LATE",)]))
        await server.asked.wait()
        with pytest.raises(Unavailable):
            await client.exchange([("LOSE",)])
        answers[0].set_result(b":7\r\n")
        assert await asyncio.wait_for(late, PATIENCE) == [7], "broken in the hands of whoever used it"
        assert server.connections == 2
        for _ in range(4):
            assert await client.exchange([("INCR", "n")]) == [1]
        await asyncio.gather(*(client.exchange([("INCR", "n")]) for _ in range(2)))
        assert server.connections == 4


async def test_calm_traffic_uses_all_connections_that_a_busy_time_has_opened(
    connect: Callable[..., Any], admin_url: str
) -> None:
    client = connect(admin_url, connections=2)

    async def used() -> int:
        [number] = await client.exchange([("CLIENT", "ID")])
        return int(number)

    busy = await asyncio.gather(used(), used())
    calm = [await used() for _ in range(4)]
    assert set(calm[:2]) == set(calm[2:]) == set(busy)
    assert len(set(busy)) == 2


# Nothing is repeated.


@asks
async def test_a_command_whose_answer_was_lost_is_not_sent_again(connect: Callable[..., Any], ask: Ask) -> None:
    async with ScriptedServer(lambda _: None) as server:
        with pytest.raises(Unavailable):
            await ask(connect(server.url))
        await asyncio.sleep(0)
        assert len(server.commands) == 1, server.names


async def test_an_append_whose_answer_was_lost_is_not_sent_again(connect: Callable[..., Any]) -> None:
    async with ScriptedServer(lambda _: None) as server:
        clients = Clients(Server(server.url))
        with pytest.raises(Unavailable):
            await Store(clients, real=False).send()
        assert server.names == ["EVALSHA"]
        await clients.aclose()


async def test_an_answer_lost_in_the_middle_of_a_pipeline_is_unavailable(connect: Callable[..., Any]) -> None:
    answers = iter((b":1\r\n", None))
    async with ScriptedServer(lambda _: next(answers)) as server:
        with pytest.raises(Unavailable):
            await connect(server.url).pipeline([("INCR", "a"), ("INCR", "b")])
        assert server.names == ["INCR", "INCR"]


@asks
async def test_the_next_command_after_a_failure_finds_a_connection(connect: Callable[..., Any], ask: Ask) -> None:
    """With one connection in the pool: none is lost to the failures."""
    healthy = False
    async with ScriptedServer(lambda _: b":7\r\n" if healthy else None) as server:
        client = connect(server.url)
        for _ in range(5):
            with pytest.raises(Unavailable):
                await ask(client)
        healthy = True
        answer = await asyncio.wait_for(ask(client), PATIENCE)
        assert answer in (7, [7, 7])


# Answers stay with their questions.


def numbered(command: list[bytes]) -> bytes:
    """Echoes the number a question carries."""
    return b":%d\r\n" % int(command[-1])


async def ask_number(client: Any, way: str, number: int) -> int:
    if way == "pipeline":
        return int((await client.pipeline([("GET", number)]))[0])
    if way == "exchange":
        return int(unwrapped(await client.exchange([("GET", number)]))[0])
    return int(await client.run("GET", number))


@pytest.mark.parametrize("way", ("run", "exchange", "pipeline"))
async def test_a_late_answer_is_not_taken_for_that_of_the_next_question(connect: Callable[..., Any], way: str) -> None:
    late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with ScriptedServer(lambda command: late if command[-1] == b"1" else numbered(command)) as server:
        client = connect(server.url, SHORT)
        with pytest.raises(Unavailable):
            await ask_number(client, way, 1)
        late.set_result(b":1\r\n")
        assert [await ask_number(client, way, number) for number in (2, 3)] == [2, 3]


@pytest.mark.parametrize("way", ("run", "exchange", "pipeline"))
async def test_a_cancelled_question_leaves_its_answer_to_nobody(connect: Callable[..., Any], way: str) -> None:
    late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with ScriptedServer(lambda command: late if command[-1] == b"1" else numbered(command)) as server:
        client = connect(server.url)
        asking = asyncio.ensure_future(ask_number(client, way, 1))
        await server.asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        late.set_result(b":1\r\n")
        answers = [asyncio.wait_for(ask_number(client, way, number), PATIENCE) for number in (2, 3)]
        assert [await answer for answer in answers] == [2, 3]


@pytest.mark.parametrize("way", ("run", "exchange", "pipeline"))
async def test_many_at_once_wait_for_a_connection_and_each_gets_its_own_answer(
    connect: Callable[..., Any], way: str
) -> None:
    async with ScriptedServer(numbered) as server:
        client = connect(server.url, connections=2)
        numbers = list(range(50))
        assert await asyncio.gather(*(ask_number(client, way, number) for number in numbers)) == numbers
        assert server.connections <= 2


async def test_a_connection_the_server_has_closed_meanwhile_is_opened_again(real_store: Store) -> None:
    await real_store.appends.ping()
    await real_store.send("m1")
    await real_store.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert (await real_store.send("m2")).status is AppendStatus.APPENDED


# Pipelines.


async def test_a_commands_own_error_stands_in_its_place(real_store: Store) -> None:
    await real_store.do("HSET", "chat:text", "f", "a")
    get, add = ("HGET", "chat:text", "f"), ("HINCRBY", "chat:text", "f", 1)
    replies = await real_store.clients.rest.pipeline([get, add, get])
    assert replies[0] == replies[2] == b"a"
    assert isinstance(replies[1], Exception)
    with pytest.raises(Unavailable):
        unwrapped(replies)


async def test_an_empty_pipeline_asks_nothing(connect: Callable[..., Any]) -> None:
    async with ScriptedServer(lambda _: OK) as server:
        assert await connect(server.url).pipeline([]) == []
        assert server.commands == []


# Scripts.


async def test_a_server_that_lacks_a_script_is_given_its_text_which_it_keeps(connect: Callable[..., Any]) -> None:
    answers = iter((b"-NOSCRIPT No matching script.\r\n", b":5\r\n"))
    async with ScriptedServer(lambda _: next(answers)) as server:
        assert await ASKS["script"](connect(server.url)) == 5
        assert server.names == ["EVALSHA", "EVAL"]
        assert server.commands[1][1] == scripts.BEAT.text.encode()
        assert server.commands[0][2:] == server.commands[1][2:]


async def test_of_several_calls_only_those_the_server_does_not_know_are_made_again(real_store: Store) -> None:
    await real_store.do("SCRIPT", "FLUSH")
    beat: scripts.Call = (scripts.BEAT, ("chat:workers",), ("w-1",))
    reap: scripts.Call = (scripts.REAP, ("chat:workers",), ("w-1", "1"))
    await real_store.do("HSET", "chat:workers", "w-1", "0")
    assert await scripts.call_all(real_store.clients.rest, [beat]) == [1]
    assert await scripts.call_all(real_store.clients.rest, [beat, reap, beat]) == [2, 0, 3]


async def test_a_text_whose_answer_was_lost_is_not_sent_again(connect: Callable[..., Any]) -> None:
    async with ScriptedServer(lambda command: None if command[0] == b"EVAL" else b"-NOSCRIPT No\r\n") as server:
        with pytest.raises(Unavailable):
            await ASKS["script"](connect(server.url))
        assert server.names == ["EVALSHA", "EVAL"]


# Waiting for durability.


async def test_what_did_not_get_as_far_as_was_asked_is_unavailable_and_may_be_in(real_store: Store) -> None:
    real_store.appends.wait = Wait(("WAIT", 1, 1), 1)  # there is no replica
    with pytest.raises(Unavailable, match="not reached in time"):
        await real_store.send("m1")
    assert len(await real_store.entries()) == 1
    real_store.appends.wait = Wait(("WAITAOF", 1, 0, 1000), 1)
    assert (await real_store.send("m1")).status is AppendStatus.DUPLICATE


async def test_the_wait_goes_down_the_connection_of_its_appends(connect: Callable[..., Any]) -> None:
    answers = iter((b"*1\r\n*2\r\n:2\r\n$3\r\n1-1\r\n", b":1\r\n"))
    async with ScriptedServer(lambda _: next(answers)) as server:
        call: scripts.Call = (scripts.APPEND, ("k",), ("a",))
        link = connect(server.url, connections=4)
        assert await scripts.call_all(link, [call], Wait(("WAIT", 1, 50), 1)) == [[[2, b"1-1"]]]
        assert server.names == ["EVALSHA", "WAIT"]
        assert server.connections == 1


# The clients.


async def test_the_clients_can_be_told_apart_in_client_list(real_store: Store) -> None:
    clients: Clients = real_store.clients
    for client in (clients.write, clients.read, clients.beat, clients.rest):
        await client.run("PING")
    listed = (await real_store.do("CLIENT", "LIST")).decode()
    for name in ("inboxd-write", "inboxd-read", "inboxd-beat", "inboxd-rest"):
        assert f"name={name} " in listed


async def test_closing_the_clients_closes_their_connections(redis_url: str, real_redis: Any) -> None:
    clients = Clients(Server(redis_url), "gone")
    for client in (clients.write, clients.read, clients.beat, clients.rest):
        await client.run("PING")
    await clients.aclose()

    async def gone() -> bool:
        return b"name=gone" not in await real_redis.execute_command("CLIENT", "LIST")

    await eventually_async(gone, "no connection of the clients is left")


async def test_connections_are_made_anew_between_two_uses_and_never_during_one(real_store: Store) -> None:
    """As after a failover: whoever is just using one must not find it closed."""
    rest = real_store.clients.rest

    async def made() -> int:
        return int((await rest.run("INFO", "stats"))["total_connections_received"])

    before = await made()
    rest.renew()
    assert await made() > before

    async def ask(number: int) -> None:
        key = real_store.keys.state(f"u{number}")
        await rest.run("HSET", key, "last", f"{number}" * 1000)
        for _ in range(20):
            assert await rest.exchange([("HGET", key, "last")]) == [f"{number}".encode() * 1000]
            assert await rest.pipeline([("HGET", key, "last")]) == [f"{number}".encode() * 1000]
            rest.renew()

    await asyncio.gather(*(ask(number) for number in range(40)))


async def test_one_that_cannot_be_closed_keeps_no_other_open_and_is_told_of() -> None:
    closed: list[int] = []

    class Way:
        def __init__(self, number: int) -> None:
            self.number = number

        async def aclose(self) -> None:
            await asyncio.sleep(0)
            if self.number == 1:
                raise TimeoutError("closing takes too long")
            closed.append(self.number)

    with pytest.raises(TimeoutError):
        await all_closed([Way(number) for number in range(3)])
    assert closed == [0, 2]
