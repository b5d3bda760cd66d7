"""A WebSocket server that plays a script: what `inboxd tail` meets, without a service."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

Frame = dict[str, Any]

WELCOME: Frame = {
    "type": "welcome",
    "user": "bob",
    "device": "tail",
    "session": "s-1",
    "worker": "w-1",
    "cursor": "0-0",
    "head": "5-2",
    "pending": 2,
    "window": 3,
}


def message(seq: int, text: str, **more: Any) -> Frame:
    body = {"text": text}
    frame = {
        "type": "message",
        "cursor": f"5-{seq}",
        "id": f"m-{seq}",
        "from": "alice",
        "to": "bob",
        "body": body,
    }
    return frame | {"ts": 1795350000000} | more


class Peer:
    """One connection, seen from the service."""

    def __init__(self, socket: ServerConnection, heard: list[Frame]) -> None:
        self.socket = socket
        self.heard = heard

    async def hear(self) -> Frame:
        """The next frame of the client."""
        frame: Frame = json.loads(await self.socket.recv())
        self.heard.append(frame)
        return frame

    async def say(self, *frames: Frame) -> None:
        """All of them as lines of one WebSocket frame."""
        await self.socket.send("\n".join(json.dumps(frame, ensure_ascii=False) for frame in frames))


Scene = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def playing(*scenes: Scene) -> AsyncIterator[tuple[str, list[Frame], list[str | None]]]:
    """A service that plays one scene for each connection, the last one for ever.

    Yields its URL, the frames it has heard, and the users that connected.
    """
    left = list(scenes)
    heard: list[Frame] = []
    users: list[str | None] = []

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        users.append(socket.request.headers.get("X-Inboxd-User"))
        scene = left.pop(0) if len(left) > 1 else left[0]
        await scene(Peer(socket, heard))

    async with serve(handle, "127.0.0.1", 0, subprotocols=["inboxd.v1"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1/ws", heard, users
