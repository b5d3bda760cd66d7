"""One WebSocket: frames out in bundles, frames in one by one, and exactly one end."""

import asyncio
import contextlib
import logging
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from inboxd_client.frames import Frame, MalformedError, lines
from inboxd_client.values import compact

log = logging.getLogger("inboxd_client")

MOST_RECEIVED = 16 * 2**20
"""Bytes of one WebSocket frame; the service's are far below."""
MOST_IN_A_BUNDLE = 64 * 2**10
"""Bytes that share one WebSocket frame on their way out."""
TIME_TO_CLOSE = 1.0
"""Seconds for a proper goodbye."""


class Ended(Exception):
    """The connection could not be had. `retry_after`: seconds, where the service named some."""

    def __init__(self, reason: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.retry_after = reason, status, retry_after


class Owner(Protocol):
    """Who is told; nothing comes after `wire_ended`, or after the wire was dropped or closed."""

    def wire_received(self, wire: "Wire", frame: Frame) -> None: ...
    def wire_ended(self, wire: "Wire", code: int | None, reason: str) -> None: ...


def socket_url(base: str, user: str | None) -> str:
    """Of the service at `http(s)://host[/base]`. Raises ValueError."""
    address = urlsplit(base)
    if address.scheme not in ("http", "https", "ws", "wss") or not address.netloc:
        raise ValueError(f"not the address of a service: {base!r}")
    scheme = {"http": "ws", "https": "wss"}.get(address.scheme, address.scheme)
    query = "" if user is None else f"user={quote(user, safe='')}"
    return urlunsplit((scheme, address.netloc, f"{address.path.rstrip('/')}/v1/ws", query, ""))


async def open_socket(url: str, **options: Any) -> ClientConnection:
    """Raises Ended."""
    try:
        return await connect(
            url, compression=None, open_timeout=None, ping_interval=None, close_timeout=TIME_TO_CLOSE,
            max_size=MOST_RECEIVED, **options,
        )  # fmt: skip
    except InvalidStatus as refusal:
        response = refusal.response
        after = response.headers.get("Retry-After", "")
        wait = float(after) if after.isascii() and after.isdigit() else None
        raise Ended(f"HTTP {response.status_code}", response.status_code, wait) from refusal
    except (OSError, WebSocketException, EOFError) as fault:
        raise Ended(str(fault) or type(fault).__name__) from fault


class Wire:
    """`number`: of the try that opened it."""

    def __init__(self, connection: ClientConnection, number: int, owner: Owner) -> None:
        self.number = number
        self.most = MOST_IN_A_BUNDLE  # characters
        self._connection, self._owner = connection, owner
        self._over = False
        self._lines: list[str] = []
        self._to_send = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: Frame) -> None:
        """In order; lost if the connection ends before."""
        if not self._over:
            self._lines.append(compact(frame))
            self._to_send.set()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._to_send.wait()
                await self._connection.send(self._bundle())

    def _bundle(self) -> str:
        size = count = 0
        for line in self._lines:
            size += len(line) + 1
            if count and size > self.most:
                break
            count += 1
        taken, self._lines = self._lines[:count], self._lines[count:]
        if not self._lines:
            self._to_send.clear()
        return "\n".join(taken)

    async def _read(self) -> None:
        code, reason = None, ""
        try:
            while not self._over:
                for frame in lines(await self._connection.recv()):
                    if not self._over:
                        self._owner.wire_received(self, frame)
        except ConnectionClosed as end:
            code, reason = (None, "") if end.rcvd is None else (end.rcvd.code, end.rcvd.reason)
        except Exception as fault:  # a reader that died quietly would leave the client deaf
            if not isinstance(fault, MalformedError):
                log.exception("what the service sent could not be worked with")
            reason = f"malformed: {fault}"
        if not self._over:
            self.drop()
            self._owner.wire_ended(self, code, reason)

    def drop(self) -> None:
        """Cuts it, without a word and without waiting."""
        self._over = True
        self._writer.cancel()
        if self._reader is not asyncio.current_task():
            self._reader.cancel()
        self._connection.transport.abort()

    async def close(self) -> None:
        """Says what is still to be said, and goodbye; waits little for the answer."""
        self._over = True
        self._writer.cancel()
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(TIME_TO_CLOSE):
                while self._lines:
                    await self._connection.send(self._bundle())
                await self._connection.close()
        self.drop()
        await asyncio.wait([task for task in (self._reader, self._writer) if task is not asyncio.current_task()])
