"""Just enough of the protocol for the benchmark's clients: no log, no window, no limits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from scripts.bench.ws_client import Endpoint

ANSWER = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class FakeInboxd:
    """Accepts what is sent, hands it to the recipient's connection and to the sender's as its own copy."""

    def __init__(self) -> None:
        self.online: dict[str, ServerConnection] = {}
        self.acks: dict[str, list[str]] = {}
        self.last: dict[str, int] = {}
        self.refusing = False
        self.skipped: set[int] = set()  # numbers of entries that get lost on the way

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        user = connection.request.path.partition("user=")[2]
        hello = orjson.loads(await connection.recv())
        assert hello["type"] == "hello"
        self.online[user] = connection
        await self._say(connection, {"type": "welcome", "cursor": "0-0"}, {"type": "live", "cursor": "0-0"})
        async for text in connection:
            for line in text.splitlines():
                await self._take(user, orjson.loads(line))

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        """A process_request of websockets: 403 to everybody while `refusing`."""
        return connection.respond(HTTPStatus.FORBIDDEN, "no") if self.refusing else None

    async def _take(self, user: str, frame: dict[str, Any]) -> None:
        if frame["type"] == "ack":
            self.acks.setdefault(user, []).append(frame["cursor"])
            return
        assert frame["type"] == "send"
        if frame["to"] == "nobody":
            error = {"type": "error", "code": "inbox_full", "id": frame["id"]}
            await self._say(self.online[user], error)
            return
        # Two objects in one frame, as the service bundles them.
        await self._say(self.online[user], {"type": "accepted", "id": frame["id"]}, self._entry(user, frame))
        if frame["to"] in self.online:
            await self._say(self.online[frame["to"]], self._entry(frame["to"], frame))

    def _entry(self, user: str, frame: dict[str, Any]) -> dict[str, Any]:
        seq = self.last.get(user, 0) + 1
        while seq in self.skipped:
            seq += 1
        self.last[user] = seq
        return {"type": "message", "cursor": f"1-{seq}", "id": frame["id"], "body": frame["body"]}

    async def _say(self, connection: ServerConnection, *frames: dict[str, Any]) -> None:
        await connection.send(b"\n".join(map(orjson.dumps, frames)).decode())


@asynccontextmanager
async def fake_inboxd() -> AsyncIterator[tuple[FakeInboxd, Endpoint]]:
    fake = FakeInboxd()
    async with serve(fake.serve, "127.0.0.1", 0, process_request=fake.refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield fake, Endpoint("127.0.0.1", port)


@asynccontextmanager
async def fake_http() -> AsyncIterator[tuple[list[bytes], Endpoint]]:
    """Accepts every POST, a batch as a batch; yields the list of bodies it will have got."""
    bodies: list[bytes] = []
    served: list[asyncio.Task[None]] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has gone
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                bodies.append(await reader.readexactly(size))
                writer.write(_answer(orjson.loads(bodies[-1])))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield bodies, Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.gather(*served)


def _answer(content: dict[str, Any]) -> bytes:
    if "messages" not in content:
        return ANSWER % (b"202 Accepted", 2, b"{}")
    results = orjson.dumps({"results": [{"status": 202} for _ in content["messages"]]})
    return ANSWER % (b"200 OK", len(results), results)
