"""Clients that keep to no rules: bytes on a TCP connection, and WebSocket frames made by hand."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import ClassVar, Self
from urllib.parse import urlsplit

import psutil

from scripts.lab.timing import PATIENCE, POLL
from tests.support.api import Api

TEXT, CONTINUATION, PING, PONG = 1, 0, 9, 10
MIB = 1 << 20


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, reserved: int = 0) -> bytes:
    """A masked frame; the mask is all zeros, which is allowed and leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes(((0x80 if fin else 0) | reserved | opcode,)) + length + bytes(4) + payload


class Raw:
    """One TCP connection to a service."""

    unfinished: ClassVar[set["Raw"]] = set()  # what a failing test has left open; a fixture drops them

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.unfinished.add(self)

    @classmethod
    async def open(cls, url: str, receive_buffer: int | None = None) -> Self:
        address = urlsplit(url)
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
        # Few bytes wait here unread: what a service writes to one that does not read is the service's own.
        return cls(*await asyncio.open_connection(sock=sock, limit=4096))

    async def handshake(self, user: str, fields: bytes = b"") -> bytes:
        """Upgrades to a WebSocket; the head of the answer."""
        self.writer.write(
            b"GET /v1/ws?user=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
            % (user.encode(), fields)
        )
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def hello(self, user: str, device: str = "phone") -> None:
        """A live connection; what comes for it is not looked at any more."""
        assert b" 101 " in await self.handshake(user)
        self.write(frame(json.dumps({"type": "hello", "device": device}).encode()))
        async with asyncio.timeout(PATIENCE):
            await self.reader.readuntil(b'"type":"live"')

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def flood(self, data: bytes, most: int) -> int:
        """Writes the same again and again until so many bytes are out, or the service has hung up; how many."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < most:
                self.writer.write(data)
                await self.writer.drain()
                sent += len(data)
        return sent

    async def end(self, token: bytes | None = None) -> bytes:
        """What comes until the service hangs up, or says `token`; the last of it."""
        found = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(65536):
                    found = found[-65536:] + part
                    if token is not None and token in found:
                        break
        return found

    async def abort(self) -> None:
        self.unfinished.discard(self)
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@dataclass
class Watch:
    """What a flood did to a worker, and to somebody else who asked it meanwhile."""

    before: int
    peak: int = 0
    answers: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """MiB, at the highest."""
        return max(0, self.peak - self.before) / MIB

    def __str__(self) -> str:
        slowest = f", {len(self.answers)} others served, the slowest in {max(self.answers) * 1000:.0f} ms"
        return f"worker at most +{self.growth:.1f} MiB" + (slowest if self.answers else "")


@contextlib.asynccontextmanager
async def watched(pid: int, api: Api, to: str) -> AsyncIterator[Watch]:
    """While it lasts, looks at the worker's memory and has somebody else send messages; all are answered."""
    process = psutil.Process(pid)
    await api.send(to)
    watch = Watch(process.memory_info().rss)

    async def sample() -> None:
        while True:
            watch.peak = max(watch.peak, process.memory_info().rss)
            await asyncio.sleep(POLL)

    async def send() -> None:
        while True:
            began = time.monotonic()
            await api.send(to)
            watch.answers.append(time.monotonic() - began)
            await asyncio.sleep(POLL)

    tasks = [asyncio.create_task(sample()), asyncio.create_task(send())]
    try:
        yield watch
        asked = len(watch.answers)
        async with asyncio.timeout(PATIENCE):
            while len(watch.answers) == asked:  # served after it, too
                tasks[1].done() and tasks[1].result()
                await asyncio.sleep(POLL)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
