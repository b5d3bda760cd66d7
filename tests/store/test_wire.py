"""Questions and answers down one connection: in order, whole, and none left behind for somebody else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from scripts.lab.timing import PATIENCE, UNIT
from service.core.errors import Unavailable
from service.store.link import translated
from service.store.wire import exchanged
from tests.store.scripted_server import Answer, ScriptedServer

Serve = Callable[..., Awaitable[Connection]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A connection to a server that answers so, with nothing said yet but the greetings."""
    open: list[tuple[ScriptedServer, Connection]] = []

    async def serve(answer: Callable[[list[bytes]], Answer], **options: Any) -> Connection:
        server = await ScriptedServer(answer).__aenter__()
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        told = {"host": "127.0.0.1", "port": port, "protocol": 2, "socket_timeout": PATIENCE, **options}
        connection = Connection(**told)
        open.append((server, connection))
        await connection.connect()  # type: ignore[no-untyped-call]  # the library is typed in part
        return connection

    yield serve
    for server, connection in open:
        await connection.disconnect(nowait=True)
        await server.__aexit__(None, None, None)


def numbered(command: list[bytes]) -> bytes:
    """Echoes the number a question carries."""
    return b":%d\r\n" % int(command[-1])


async def test_each_question_has_its_answer_in_order(serve: Serve) -> None:
    connection = await serve(numbered)
    assert await exchanged(connection, [("GET", n) for n in range(1000)]) == list(range(1000))
    assert await exchanged(connection, [("GET", 7)]) == [7]


async def test_no_question_is_no_work(serve: Serve) -> None:
    assert await exchanged(await serve(numbered), []) == []


async def test_replies_are_as_the_server_sends_them(serve: Serve) -> None:
    connection = await serve(lambda _: b"*3\r\n$1\r\na\r\n*2\r\n$-1\r\n:5\r\n$0\r\n\r\n")
    assert await exchanged(connection, [("HGETALL", "k")]) == [[b"a", [None, 5], b""]]


async def test_an_answer_in_small_pieces_is_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = await serve(lambda _: b":1\r\n")
    reader = connection._reader
    assert reader is not None
    arrive = reader.feed_data
    monkeypatch.setattr(reader, "feed_data", lambda _: None)
    asking = asyncio.ensure_future(exchanged(connection, [("GET", 1), ("GET", 2)]))
    for byte in b"$3\r\nabc\r\n*1\r\n$1\r\nd\r\n":
        await asyncio.sleep(0)
        assert not asking.done()
        arrive(bytes([byte]))
    assert await asyncio.wait_for(asking, PATIENCE) == [b"abc", [b"d"]]


async def test_an_error_of_a_command_is_a_value_and_the_connection_stays(serve: Serve) -> None:
    answers = iter((b":1\r\n", b"-WRONGTYPE it is a list\r\n", b"*1\r\n-ERR inside\r\n", b":2\r\n"))
    connection = await serve(lambda _: next(answers))
    one, error, inside, two = await exchanged(connection, [("GET", n) for n in range(4)])
    assert (one, two) == (1, 2)
    assert isinstance(error, ResponseError)
    assert isinstance(inside[0], ResponseError)
    assert connection.is_connected


FATAL = {
    "the end": None,
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "loading": b"-LOADING the dataset in memory\r\n",
    "no password": b"-NOAUTH Authentication required.\r\n",
}


@pytest.mark.parametrize("answer", FATAL.values(), ids=FATAL)
async def test_what_says_that_no_answers_will_come_closes_the_connection(serve: Serve, answer: bytes | None) -> None:
    connection = await serve(lambda command: answer if command[-1] == b"2" else numbered(command))
    with pytest.raises(RedisError):
        await exchanged(connection, [("GET", n) for n in (1, 2, 3)])
    assert not connection.is_connected


async def test_silence_closes_the_connection_and_says_how_long_it_was(serve: Serve) -> None:
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection = await serve(lambda _: never, socket_timeout=0.1)
    with pytest.raises(NoAnswer, match=r"0\.1 s"):
        await exchanged(connection, [("GET", 1)])
    assert not connection.is_connected
    never.cancel()


async def test_patience_begins_anew_with_each_answer(serve: Serve) -> None:
    """All of them together take longer than one may."""
    each = UNIT
    connection = await serve(lambda command: later(each * 0.4, numbered(command)), socket_timeout=each)
    begun = asyncio.get_running_loop().time()
    assert await exchanged(connection, [("GET", n) for n in range(4)]) == [0, 1, 2, 3]
    assert asyncio.get_running_loop().time() - begun > each


async def test_an_answer_behind_the_first_may_not_trickle_for_longer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await serve(lambda _: b":1\r\n", socket_timeout=UNIT)
    reader = connection._reader
    assert reader is not None
    arrive = reader.feed_data
    monkeypatch.setattr(reader, "feed_data", lambda _: None)
    asking = asyncio.ensure_future(exchanged(connection, [("GET", 1), ("GET", 2)]))
    await asyncio.sleep(0)
    arrive(b":1\r\n$1000\r\n")
    while not asking.done():
        await asyncio.sleep(UNIT / 10)
        if not asking.done() and connection.is_connected:
            arrive(b"x")
    with pytest.raises(NoAnswer):
        await asking


HANDLER_CLOSED = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


@pytest.mark.parametrize(("said", "raised"), ((HANDLER_CLOSED, NoConnection), ("a fault of ours", RuntimeError)))
async def test_a_connection_that_ended_just_now_has_no_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, said: str, raised: type[Exception]
) -> None:
    """As uvloop says it."""
    connection = await serve(numbered)

    def refuse(_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(connection._writer, "writelines", refuse)
    with pytest.raises(raised):
        await exchanged(connection, [("GET", 1)])
    assert not connection.is_connected
    with pytest.raises(Unavailable if raised is NoConnection else RuntimeError), translated():
        raise RuntimeError(said)


async def later(seconds: float, answer: bytes) -> bytes:
    await asyncio.sleep(seconds)
    return answer


async def test_a_server_that_does_not_read_is_waited_for_no_longer_than_one_that_does_not_answer(serve: Serve) -> None:
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection = await serve(lambda _: never, socket_timeout=0.1)
    with pytest.raises(NoAnswer):
        await exchanged(connection, [("SET", "k", b"x" * (1 << 20))] * 64)
    assert not connection.is_connected
    never.cancel()


async def test_a_cancelled_question_closes_the_connection(serve: Serve) -> None:
    asked, never = asyncio.Event(), asyncio.get_running_loop().create_future()

    def answer(_: list[bytes]) -> Answer:
        asked.set()
        return never

    connection = await serve(answer)
    asking = asyncio.ensure_future(exchanged(connection, [("GET", 1)]))
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not connection.is_connected
    never.cancel()


async def test_what_cannot_be_said_is_not_said_in_part(serve: Serve) -> None:
    said: list[list[bytes]] = []

    def answer(command: list[bytes]) -> bytes:
        said.append(command)
        return b":1\r\n"

    connection = await serve(answer)
    with pytest.raises(TypeError):
        await exchanged(connection, [("GET", 1), ("GET", object())])
    assert said == []
    assert not connection.is_connected


async def test_health_is_asked_for_where_the_address_wants_it(serve: Serve) -> None:
    said: list[bytes] = []

    def answer(command: list[bytes]) -> bytes:
        said.append(command[0])
        return b"+PONG\r\n" if command[0] == b"PING" else b":1\r\n"

    connection = await serve(answer, health_check_interval=1)
    connection.next_health_check = 0  # it is due
    said.clear()
    assert await exchanged(connection, [("GET", 1)]) == [1]
    assert said == [b"PING", b"GET"]


async def test_without_a_time_out_it_waits(serve: Serve) -> None:
    connection = await serve(numbered, socket_timeout=None)
    assert await exchanged(connection, [("GET", 1), ("GET", 2)]) == [1, 2]
