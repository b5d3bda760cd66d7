"""What a load writes: all of one turn of the loop at once, in order, and nothing once the connection closes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from scripts.bench.outbox import Outbox
from scripts.lab.timing import PATIENCE


class Counted:
    """A transport that keeps each write by itself."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def outbox() -> Outbox:
    made = Outbox()
    made.connection_made(cast("asyncio.Transport", Counted()))
    return made


def writes(outbox: Outbox) -> list[bytes]:
    return cast("Counted", outbox.transport).writes


async def test_one_turn_is_one_write_and_the_next_turn_another(outbox: Outbox) -> None:
    for word in (b"a", b"b", b"c"):
        outbox.write(word)
    assert writes(outbox) == []
    await asyncio.sleep(0)
    outbox.write(b"d")
    await asyncio.sleep(0)
    assert writes(outbox) == [b"abc", b"d"]


async def test_what_waits_goes_before_the_last_words_and_what_follows_them_nowhere(outbox: Outbox) -> None:
    outbox.write(b"a")
    outbox.end(b"bye")
    outbox.write(b"late")
    await asyncio.sleep(0)
    assert writes(outbox) == [b"abye"]
    assert outbox.transport.is_closing()


@asynccontextmanager
async def listening(heard: Callable[[bytes], None]) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_it_reaches_a_socket_in_the_order_it_was_written() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with listening(heard.put_nowait) as port, asyncio.timeout(PATIENCE):
        _, outbox = await asyncio.get_running_loop().create_connection(Outbox, "127.0.0.1", port)
        for number in range(50):
            outbox.write(b"%d," % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        outbox.end(b"end")
        assert await heard.get() == b"".join(b"%d," % number for number in range(50)) + b"end"
