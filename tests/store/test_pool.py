"""The pool: one connection, one user at a time; whoever waits comes in turn; what is outdated is made anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as NoConnection

from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE
from service.store.majority import ended
from service.store.pool import Pool
from service.store.wire import exchanged
from tests.store.scripted_server import OK, ScriptedServer

Make = Callable[..., Pool]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(lambda _: OK) as server:
        yield server


@pytest.fixture
async def make(server: ScriptedServer) -> AsyncIterator[Make]:
    made: list[Pool] = []

    def make(connections: int = 1, **options: Any) -> Pool:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        told = {"host": "127.0.0.1", "port": port, "protocol": 2, "socket_timeout": PATIENCE, **options}
        made.append(Pool(connection_class=Connection, max_connections=connections, **told))
        return made[-1]

    yield make
    for pool in made:
        await pool.aclose()


async def soon(what: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(what, PATIENCE)


async def turn() -> None:
    """Whatever can go on without waiting for anything outside does."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_same_connection_is_handed_out_again(make: Make, server: ScriptedServer) -> None:
    pool = make(connections=4)
    first = await pool.get_connection()
    await pool.release(first)
    assert await pool.get_connection() is first
    assert server.connections == 1


async def test_nobody_gets_one_that_somebody_has(make: Make) -> None:
    pool = make(connections=3)
    assert len({await pool.get_connection() for _ in range(3)}) == 3


async def test_those_there_are_take_turns(make: Make) -> None:
    """One that only busy times use would be forgotten by the network, and cost them a time-out."""
    pool = make(connections=3)
    all = [await pool.get_connection() for _ in range(3)]
    for connection in all:
        await pool.release(connection)
    for n in range(9):
        connection = await pool.get_connection()
        assert connection is all[n % 3]
        await pool.release(connection)


async def until_refused(server: ScriptedServer) -> None:
    async with asyncio.timeout(PATIENCE):
        while not server.refused:  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.001)
    await turn()


async def test_where_the_server_takes_no_further_connection_it_is_waited_for_one_there_is(
    make: Make, server: ScriptedServer
) -> None:
    pool = make(connections=3)
    held = await pool.get_connection()
    server.full = True
    asking = [asyncio.ensure_future(pool.get_connection()) for _ in range(2)]
    await until_refused(server)
    assert not any(one.done() for one in asking)
    for _ in asking:
        await pool.release(held)
        done, _ = await soon(asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED))
        assert [one.result() for one in done] == [held]
        asking = [one for one in asking if one not in done]
    await pool.release(held)
    server.full = False
    assert len({await soon(pool.get_connection()) for _ in range(3)}) == 3


async def test_one_that_came_back_while_another_was_refused_is_taken(make: Make, server: ScriptedServer) -> None:
    pool = make(connections=2)
    held = await pool.get_connection()
    server.full = True
    asking = asyncio.ensure_future(pool.get_connection())
    await asyncio.sleep(0)
    await pool.release(held)
    assert await soon(asking) is held
    assert server.refused == 1


@pytest.mark.parametrize("noticed", (True, False))
async def test_where_none_is_left_that_works_a_refusal_is_told(
    make: Make, server: ScriptedServer, *, noticed: bool
) -> None:
    pool = make(connections=2)
    held = await pool.get_connection()
    server.full = True
    asking = asyncio.ensure_future(pool.get_connection())
    await until_refused(server)
    if noticed:
        await held.disconnect(nowait=True)
    else:
        held._reader.feed_eof()
    await pool.release(held)
    with pytest.raises(NoConnection):
        await soon(asking)
    with pytest.raises(NoConnection):
        await soon(pool.get_connection())


async def test_who_gives_up_waiting_for_one_there_is_takes_no_place(make: Make, server: ScriptedServer) -> None:
    pool = make(connections=2)
    held = await pool.get_connection()
    server.full = True
    asking = asyncio.ensure_future(pool.get_connection())
    await until_refused(server)
    await soon(ended((asking,)))  # once may not be enough: the library may be just reading the refusal
    assert asking.cancelled()
    server.full = False
    assert await soon(pool.get_connection()) is not held


async def test_beyond_the_bound_all_wait_in_turn(make: Make) -> None:
    pool = make()
    held, came = await pool.get_connection(), list[int]()

    async def ask(number: int) -> None:
        connection = await pool.get_connection()
        came.append(number)
        await pool.release(connection)

    asking = [asyncio.ensure_future(ask(number)) for number in range(5)]
    await turn()
    assert came == []
    await pool.release(held)
    await asyncio.ensure_future(ask(5))  # who comes when others wait comes after them
    await soon(asyncio.gather(*asking))
    assert came == [0, 1, 2, 3, 4, 5]


async def test_who_gives_up_waiting_takes_nobody_elses_turn(make: Make) -> None:
    pool = make()
    held = await pool.get_connection()
    waiting = [asyncio.ensure_future(pool.get_connection()) for _ in range(3)]
    await turn()
    await pool.release(held)
    waiting[0].cancel()  # when it has just been its turn
    waiting[1].cancel()
    assert await soon(waiting[2]) is held


async def begun(pool: Pool, turns: int) -> asyncio.Future[Any]:
    """Somebody has been connecting for so many turns of the loop."""
    connecting = asyncio.ensure_future(pool.get_connection())
    for _ in range(turns):
        await asyncio.sleep(0)
    return connecting


@pytest.mark.parametrize("turns", range(12))
async def test_who_gives_up_while_connecting_leaves_the_place_to_the_next(make: Make, turns: int) -> None:
    pool = make()
    connecting = await begun(pool, turns)
    connecting.cancel()
    for connection in await asyncio.gather(connecting, return_exceptions=True):
        if not isinstance(connection, BaseException):  # it was faster
            await pool.release(connection)
    assert (await soon(pool.get_connection())).is_connected


async def test_a_connection_that_cannot_be_made_takes_no_place(make: Make) -> None:
    pool = make(port=free_port())
    for _ in range(3):
        with pytest.raises(NoConnection):
            await soon(pool.get_connection())


async def test_options_that_fit_no_connection_take_no_place(make: Make) -> None:
    pool = make(nothing="of the kind")
    for _ in range(3):
        with pytest.raises(TypeError, match="nothing"):
            await soon(pool.get_connection())


async def test_what_is_outdated_is_made_anew_when_it_is_taken_and_not_before(
    make: Make, server: ScriptedServer
) -> None:
    pool = make(connections=2)
    idle, used = await pool.get_connection(), await pool.get_connection()
    await pool.release(idle)
    pool.renew()
    assert idle.is_connected
    assert used.is_connected
    await pool.release(used)
    assert server.connections == 2
    for _ in range(2):
        assert (await pool.get_connection()).is_connected
    assert server.connections == 4
    for connection in (idle, used):
        await pool.release(connection)
        assert await pool.get_connection() is connection
    assert server.connections == 4  # once


CAME: dict[str, Callable[[asyncio.StreamReader], None]] = {
    "its end": lambda reader: reader.feed_eof(),
    "a reset": lambda reader: reader.set_exception(ConnectionResetError()),
    "an answer": lambda reader: reader.feed_data(b":1\r\n"),
}


@pytest.mark.parametrize("came", CAME.values(), ids=CAME)
async def test_what_came_while_nobody_asked_makes_a_connection_anew(
    make: Make, came: Callable[[asyncio.StreamReader], None]
) -> None:
    """An answer that nobody waited for would be taken for that of the next question."""
    pool = make()
    connection = await pool.get_connection()
    reader = connection._reader
    await pool.release(connection)
    came(reader)
    assert await pool.get_connection() is connection
    assert connection.is_connected
    assert connection._reader is not reader


async def test_an_answer_that_was_read_and_not_asked_for_makes_it_anew(make: Make) -> None:
    pool = make()
    connection = await pool.get_connection()
    reader = connection._reader
    connection._parser._reader.feed(b":1\r\n")
    await pool.release(connection)
    await pool.get_connection()
    assert connection._reader is not reader


def test_a_reset_of_an_idle_connection_costs_no_question_on_the_loop_of_the_workers() -> None:
    """Whose transports are closed by then, and say so with an exception of their own."""

    async def ask() -> None:
        async with ScriptedServer(lambda _: b":7\r\n") as server:
            port = int(server.url.rpartition(":")[2].partition("/")[0])
            pool = Pool(connection_class=Connection, max_connections=1, host="127.0.0.1", port=port, protocol=2)
            for _ in range(3):
                connection = await pool.get_connection()
                assert await exchanged(connection, [("GET", 1)]) == [7]
                await pool.release(connection)
                server.reset()
                while connection._reader.exception() is None:  # noqa: ASYNC110 - the kernel tells nobody else
                    await asyncio.sleep(0.001)
            await pool.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(ask(), PATIENCE))


async def test_closed_is_closed_whoever_has_them(make: Make) -> None:
    pool = make(connections=2)
    one, other = await pool.get_connection(), await pool.get_connection()
    await pool.release(one)
    await pool.aclose()
    assert not one.is_connected
    assert not other.is_connected


async def test_nobody_gets_one_after_the_close(make: Make, server: ScriptedServer) -> None:
    """A worker's last tasks would else leave connections behind that nobody ends."""
    pool = make(connections=2)
    held = await pool.get_connection()
    waiting = [asyncio.ensure_future(pool.get_connection()) for _ in range(3)]
    await turn()
    await pool.aclose()
    await pool.release(held)
    for asking in waiting:
        with pytest.raises(NoConnection):
            await soon(asking)
    with pytest.raises(NoConnection, match="closed"):
        await soon(pool.get_connection())


@pytest.mark.parametrize("turns", range(16))
async def test_one_that_is_just_being_connected_when_it_is_closed_is_ended(make: Make, turns: int) -> None:
    pool = make()
    connecting = await begun(pool, turns)
    await pool.aclose()
    for connection in await asyncio.gather(connecting, return_exceptions=True):
        if isinstance(connection, BaseException):
            assert isinstance(connection, NoConnection)
        else:  # it was faster
            await pool.release(connection)
    assert not any(connection.is_connected for connection in pool._available_connections)


async def test_one_that_was_connected_again_after_the_close_is_ended_when_it_is_given_back(make: Make) -> None:
    pool = make()
    connection = await pool.get_connection()
    await pool.aclose()
    await connection.send_command("PING")
    assert connection.is_connected
    await pool.release(connection)
    assert not connection.is_connected
