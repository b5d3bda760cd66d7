"""A device whose own work is not counted: it is neither the service's nor a library's."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from scripts.bench.ws_frames import TEXT, Decoder, encode
from tests.delivery.rig import within
from tests.support.issuer import Issuer

WINDOW = 1000


class Device(asyncio.Protocol):
    """One connection to `port`. Acks the last entry of each read of the socket; `came` counts frames by their type."""

    transport: asyncio.Transport

    def __init__(self, port: int, user: str) -> None:
        self.port = port
        self.user = user
        self.came: Counter[str] = Counter()
        self.acked = ""
        self.acks = True
        self._decoder = Decoder()
        self._head = b""
        self._open = False
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def connect(self) -> None:
        """Returns when it is live."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        await self.until(lambda: self.came["live"] > 0, f"{self.user} is live")

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Returns once it is true, which is looked at when something comes."""
        if not true():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((true, future))
            await within(future, what)

    def say(self, *lines: bytes) -> None:
        """One WebSocket frame."""
        self.transport.write(encode(b"\n".join(lines)))

    def leave(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Authorization: Bearer {Issuer().token(self.user, 'chat')}\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._open:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head, self._open = head, bool(end)
            if not end:
                return
            self.say(orjson.dumps({"type": "hello", "device": "phone", "window": WINDOW}))
        last = ""
        for opcode, payload in self._decoder.feed(data):
            if opcode == TEXT:
                for line in payload.split(b"\n"):
                    last = self._take(orjson.loads(line)) or last
        if last and self.acks:
            self.acked = last
            self.say(b'{"type":"ack","cursor":"%b"}' % last.encode())
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(exc or ConnectionError(f"{self.user} was cut off"))

    def _take(self, frame: dict[str, Any]) -> str | None:
        """Its cursor, where it is an entry."""
        kind = frame["type"]
        assert kind != "error", frame
        self.came[kind] += 1
        return frame["cursor"] if kind in {"message", "receipt"} else None

    def _tell(self) -> None:
        for waiting in [one for one in self._waiting if one[0]()]:
            self._waiting.remove(waiting)
            if not waiting[1].done():
                waiting[1].set_result(None)
