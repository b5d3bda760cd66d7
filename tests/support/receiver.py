"""A receiver of pushes: an HTTP server of the test's own, which notes what comes and answers as it is told."""

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from scripts.lab.ports import free_port
from scripts.lab.timing import eventually_async


@dataclass(frozen=True)
class Request:
    """One that came whole. Names of headers in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """Of a webhook."""
        return dict(json.loads(self.body)["data"])


@dataclass(frozen=True)
class Reply:
    """What it answers."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self) -> bytes:
        length = {} if self.status == 204 else {"content-length": str(len(self.body))}
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{n}: {v}" for n, v in {**self.headers, **length}.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Receiver:
    """Use as an async context manager, or `start` and `stop` it, on the same port. `reply` decides; while `hold` is
    clear nobody gets an answer.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/hooks"
        self.requests: list[Request] = []
        self.reply: Callable[[Request], Reply] = lambda _: Reply()
        self.hold = asyncio.Event()
        self.hold.set()
        self._context = context
        self._server: asyncio.Server | None = None
        self._visitors: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self.port, ssl=self._context)

    async def stop(self) -> None:
        """Nobody is let in any more, and who is there is cut off."""
        assert self._server is not None
        self._server.close()
        for visitor in list(self._visitors):
            visitor.cancel()
        await asyncio.gather(*self._visitors, return_exceptions=True)

    async def come(self, count: int) -> list[Request]:
        """Waits for so many requests."""

        async def there() -> bool:
            return len(self.requests) >= count

        await eventually_async(there, f"{count} requests")
        return self.requests

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visitors.add(task)
        task.add_done_callback(self._visitors.discard)
        with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            try:
                while True:
                    request = await _request(reader)
                    self.requests.append(request)
                    reply = self.reply(request)
                    await self.hold.wait()
                    writer.write(reply.raw())
                    await writer.drain()
            finally:
                writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    return Request(head[0], headers, await reader.readexactly(int(headers.get("content-length", "0"))))
