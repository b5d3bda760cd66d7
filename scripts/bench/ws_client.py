"""A device on the WebSocket of `docs/protocol.md` section 5, as lean as a load generator needs it."""

import asyncio
import base64
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from scripts.bench.outbox import Outbox
from scripts.bench.tokens import token
from scripts.bench.ws_frames import CLOSE, PING, PONG, TEXT, Decoder, encode

ACK_DELAY = 0.02  # s: a device that got less than `ack_every` entries acks them after this
CONNECT_TIMEOUT = 30.0  # s, for the handshake and the replay to `live`
CONNECTS_AT_ONCE = 50
SWITCHING = b"101"

ENTRIES = frozenset({"message", "receipt", "read", "edit", "delete", "react", "deleted", "group"})


@dataclass(frozen=True)
class Endpoint:
    """Where the service listens, and the secret that signs its tokens; "": it asks for none."""

    host: str
    port: int
    secret: str = ""

    def credentials(self, user: str, scope: str = "chat") -> tuple[str, str]:
        """Name and value of the header that says who asks."""
        if not self.secret:
            return "X-Inboxd-User", user
        return "Authorization", f"Bearer {token(self.secret, user, scope)}"


@dataclass(frozen=True)
class Manners:
    """How a device behaves: its window and how seldom it acks (both in entries)."""

    window: int = 256
    ack_every: int = 16


USUAL = Manners()


class Device(Outbox):
    """One connection. Counts and acks what it gets; subclasses override `accepted`, `refused`, `entry`.

    What one turn of the loop gives rise to goes out in one write.
    """

    bearer = ""  # a token, where the endpoint has no secret to make one

    def __init__(self, endpoint: Endpoint, user: str, manners: Manners = USUAL, name: str = "bench") -> None:
        super().__init__()
        self.endpoint = endpoint
        self.user = user
        self.name = name
        self.manners = manners
        self.live: asyncio.Future[None] = self._loop.create_future()
        self.entries = 0
        self.holes = 0
        self.errors: Counter[str] = Counter()
        self._decoder = Decoder()
        self._head = b""
        self._open = False
        self._leaving = False
        self._seq: int | None = None
        self._unacked = 0
        self._cursor = ""
        self._ack_timer: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Handshake, `hello`, replay; returns when the device is live."""
        await self._loop.create_connection(lambda: self, self.endpoint.host, self.endpoint.port)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await self.live

    def leave(self) -> None:
        """Closes the connection; what is unacked is acked first."""
        self._ack()
        self._leaving = True
        self.end(encode((1000).to_bytes(2, "big"), CLOSE))

    # What subclasses want to know

    def accepted(self) -> None: ...

    def refused(self) -> None: ...

    def entry(self, frame: dict[str, Any]) -> None: ...

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = base64.b64encode(os.urandom(16)).decode()
        header, value = self.endpoint.credentials(self.user)
        if self.bearer:
            header, value = "Authorization", f"Bearer {self.bearer}"
        self.transport.write(
            f"GET /v1/ws?user={quote(self.user)} HTTP/1.1\r\n"
            f"Host: {self.endpoint.host}:{self.endpoint.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"{header}: {value}\r\nSec-WebSocket-Protocol: inboxd.v1\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._open:
            data = self._handshake(data)
        for opcode, payload in self._decoder.feed(data):
            if opcode == TEXT:
                self.text(payload)
            elif opcode == PING:
                self.write(encode(payload, PONG))
            elif opcode == CLOSE:
                self._closed_by_server(payload)
        if self._unacked >= self.manners.ack_every:
            self._ack()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        if not self._leaving:
            self.errors["connection lost"] += 1
        if not self.live.done():
            self.live.set_exception(exc or ConnectionError(f"{self.user} was cut off before it was live"))

    def text(self, payload: bytes) -> None:
        """The objects of one frame. A subclass that takes them leaner hands on what it does not know."""
        for line in payload.split(b"\n"):
            if line:
                self._object(orjson.loads(line))

    # Inside

    def _handshake(self, data: bytes) -> bytes:
        """What follows the server's answer; says hello once the answer is complete."""
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            return b""
        status = head.split(b" ", 2)[1]
        if status != SWITCHING:
            raise ConnectionError(f"handshake refused: {head.splitlines()[0].decode()}")
        self._open = True
        hello = {"type": "hello", "device": self.name, "window": self.manners.window}
        self.write(encode(orjson.dumps(hello)))
        return rest

    def _object(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "accepted":
            self.accepted()
        elif kind in ENTRIES:
            self._entry(frame)
        elif kind == "gap":
            self._gap(frame)
        elif kind == "live" and not self.live.done():
            self.live.set_result(None)
        elif kind == "error":
            self.errors[frame["code"]] += 1
            self.refused()

    def _entry(self, frame: dict[str, Any]) -> None:
        self.passed(frame["cursor"])
        self.entry(frame)

    def passed(self, cursor: str, count: int = 1) -> None:
        """So many entries came, the last of them at this cursor; they are acked as the manners say."""
        seq = int(cursor.partition("-")[2])
        if self._seq is not None and seq != self._seq + count:
            self.holes += 1
        self._cursor, self._seq = cursor, seq
        self.entries += count
        self._owe_ack(count)

    def _gap(self, frame: dict[str, Any]) -> None:
        self.errors[f"gap {frame['reason']}"] += 1
        self._cursor = frame["cursor"]
        self._seq = int(self._cursor.partition("-")[2])
        self._owe_ack()

    def _owe_ack(self, count: int = 1) -> None:
        self._unacked += count
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_DELAY, self._ack_late)

    def _ack_late(self) -> None:
        self._ack_timer = None
        self._ack()

    def _ack(self) -> None:
        """Acks the last entry, if it is not acked yet. A timer that still runs finds nothing to do."""
        if self._unacked:
            self._unacked = 0
            self.write(encode(b'{"type":"ack","cursor":"%b"}' % self._cursor.encode()))

    def _closed_by_server(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big")
        self.errors[f"closed {code} {payload[2:].decode()}".rstrip()] += 1
        self._leaving = True
        self.transport.close()


async def connect_all(devices: list[Device]) -> None:
    """Connects them, a few at once so that the listening queue does not overflow."""
    for at in range(0, len(devices), CONNECTS_AT_ONCE):
        await asyncio.gather(*(device.connect() for device in devices[at : at + CONNECTS_AT_ONCE]))
