"""Each fault happens when it is asked for, is counted, and is over when it is taken back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from scripts.lab.tcp_proxy import NONE, Faults, TcpProxy
from scripts.lab.timing import PATIENCE, eventually_async


class Echo:
    """A server that says everything back; `heard` is what came, in the segments in which it came."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.heard.append(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    @property
    def text(self) -> bytes:
        return b"".join(self.heard)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    proxy = TcpProxy(echo.port, seed=7)
    proxy.start()
    yield proxy
    proxy.stop()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hears(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)


@pytest.fixture
async def client(proxy: TcpProxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await client.says(b"hello")
    assert await client.hears(5) == b"hello"
    yield client
    client.writer.transport.abort()


async def test_a_half_closed_connection_still_gets_its_answers(client: Client) -> None:
    await client.says(b"last words")
    client.writer.write_eof()
    assert await client.hears(10) == b"last words"
    assert await client.reader.read() == b""


async def test_a_delay_holds_up_and_lets_nothing_overtake(proxy: TcpProxy, client: Client) -> None:
    proxy.faults = Faults(delay=0.05, jitter=0.05, ways=("up",))
    began = asyncio.get_running_loop().time()
    for n in range(10):
        await client.says(b"%d" % n)
    assert await client.hears(10) == b"0123456789"
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert proxy.counts["delayed"]


async def test_slices_are_many_small_segments_of_the_same_bytes(proxy: TcpProxy, client: Client) -> None:
    proxy.faults = Faults(piece=3)
    text = bytes(range(256)) * 4
    await client.says(text)
    assert await client.hears(len(text)) == text
    assert proxy.counts["pieces"] > 2 * len(text) / 3  # a receiver that is late gets many of them at once


async def test_bandwidth_is_bytes_for_each_second(proxy: TcpProxy, client: Client) -> None:
    proxy.faults = Faults(bandwidth=20_000, ways=("down",))
    began = asyncio.get_running_loop().time()
    await client.says(b"x" * 4000)
    await client.hears(4000)
    assert asyncio.get_running_loop().time() - began >= 0.17


async def test_a_reset_is_one_for_both_sides(proxy: TcpProxy, client: Client, echo: Echo) -> None:
    proxy.faults = Faults(reset=1)
    await client.says(b"never arrives")
    with pytest.raises(ConnectionResetError):
        await client.hears(1)
    assert echo.text == b"hello"
    assert proxy.counts["resets"] == 1


async def test_a_lost_answer_is_to_something_that_was_done(proxy: TcpProxy, client: Client, echo: Echo) -> None:
    proxy.faults = Faults(lose_answer=1)
    await client.says(b"do it")
    with pytest.raises(ConnectionResetError):
        await client.hears(1)
    assert echo.text == b"hellodo it"
    assert proxy.counts["lost_answers"] == 1


async def test_a_stall_loses_nothing(proxy: TcpProxy, client: Client, echo: Echo) -> None:
    proxy.faults = Faults(stall=True)
    await client.says(b"wait for it")

    async def held() -> bool:
        return proxy.counts["stalls"] > 0

    await eventually_async(held, "it stalls")
    assert echo.text == b"hello"
    proxy.faults = NONE
    assert await client.hears(11) == b"wait for it"


async def test_a_black_hole_swallows_and_whoever_lost_bytes_is_cut_afterwards(
    proxy: TcpProxy, client: Client, echo: Echo
) -> None:
    proxy.faults = Faults(black_hole=True)
    await client.says(b"gone")

    async def swallowed() -> bool:
        return proxy.counts["swallowed"] == 4

    await eventually_async(swallowed, "it is swallowed")
    proxy.faults = NONE
    await client.says(b"no sense without what is gone")
    with pytest.raises(ConnectionResetError):
        await client.hears(1)
    assert echo.text == b"hello"


async def test_the_same_seed_makes_the_same_faults(echo: Echo) -> None:
    async def fates(seed: int) -> list[bool]:
        """For each of some connections, whether it was reset."""
        proxy = TcpProxy(echo.port, seed=seed)
        proxy.faults = Faults(reset=0.5, ways=("up",))
        proxy.start()
        found = []
        for _ in range(12):
            client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
            await client.says(b"x")
            try:
                found.append(await client.hears(1) != b"x")
            except OSError:
                found.append(True)
            client.writer.transport.abort()
        proxy.stop()
        return found

    first = await fates(1)
    assert await fates(1) == first
    assert {True, False} == set(first)
    assert await fates(2) != first
