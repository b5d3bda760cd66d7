"""The lean WebSocket of the peers' clients, against the library's server."""

import asyncio
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve

from scripts.bench.peers.websocket import open_websocket
from scripts.lab.timing import PATIENCE


async def test_texts_go_both_ways_and_an_end_that_is_not_ours_is_told() -> None:
    texts: asyncio.Queue[bytes] = asyncio.Queue()
    lost = asyncio.Event()

    async def echo(connection: ServerConnection) -> None:
        async for text in connection:
            if text == "leave":
                return
            await connection.send(text)

    async with serve(echo, "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE):
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await open_websocket(port, "/", texts.put_nowait, lost.set)
        for text in (b"", b"a", b"b" * 70_000):
            socket.send(text)
            assert await texts.get() == text
        socket.send(b"leave")
        await lost.wait()
        socket.send(b"too late")


async def test_our_own_end_is_no_loss_and_a_refusal_is_an_error() -> None:
    lost, ended = asyncio.Event(), asyncio.Event()

    async def serve_one(connection: ServerConnection) -> None:
        await connection.wait_closed()
        ended.set()

    async with serve(serve_one, "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE):
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await open_websocket(port, "/", lambda _: None, lost.set)
        socket.close()
        await ended.wait()
        assert not lost.is_set()
    async with serve(serve_one, "127.0.0.1", 0, process_request=lambda c, _: c.respond(HTTPStatus.FORBIDDEN, "")) as s:
        port = next(iter(s.sockets)).getsockname()[1]
        with pytest.raises(ConnectionError, match="403"):
            await open_websocket(port, "/", lambda _: None, lost.set)
