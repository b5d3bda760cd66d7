"""A client that keeps to the protocol and holds the service to it, over many connections."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.support import rules
from tests.support.cursors import START, Cursor
from tests.support.history import History
from tests.support.rules import Frame, RuleBrokenError, Rules
from tests.support.wire import Wire

ENTRIES = {"message", "gap"}
"""What `entries` and `log` have; what else is stored in an inbox stands in `around`."""


class RefusedError(Exception):
    """The service closed the connection instead of answering `hello` with `welcome`."""

    def __init__(self, code: int, reason: str, errors: list[Frame]) -> None:
        super().__init__(f"{code} {reason} {errors}")
        self.code, self.reason, self.errors = code, reason, errors


class Device:
    """One installation. `base` is the service's `http://` address.

    `log` has every entry in the order it came, repeats included. With `acking` it acks whatever comes.
    Beyond the rules of one connection it checks that the service repeats nothing that it knew to be acked,
    and that what it repeats is what it sent before.
    """

    def __init__(
        self, base: str, user: str, name: str = "phone", history: History | None = None, token: str | None = None
    ) -> None:
        self.base, self.user, self.name = base, user, name
        self.log: list[Frame] = []
        self.entries: list[Frame] = []  # messages and gaps of this connection
        self.all: list[Frame] = []  # these, and entries of every other kind, in their order
        self.around: list[Frame] = []  # receipts, and what was read, of all connections
        self.acked = START  # furthest ack sent
        self.confirmed = START  # what the service is known to have stored
        self.acking = False
        self.connections = 0
        self.token = token  # of the next `hello`
        self.wire: Wire
        self.rules: Rules
        self._history = history
        self._bodies: dict[str, Frame] = {}
        self._acker: asyncio.Task[None] | None = None
        self._to_ack = asyncio.Event()

    # Connecting

    @property
    def url(self) -> str:
        return f"{self.base.replace('http', 'ws', 1)}/v1/ws?user={quote(self.user)}"

    async def connect(
        self,
        *,
        cursor: str | None = None,
        window: int | None = None,
        attempt: int | None = None,
        receive_buffer: int | None = None,
    ) -> Frame:
        """Opens a connection and says hello; the `welcome`. Raises RefusedError where none comes."""
        self.rules = Rules(self.user, self.name, cursor, window)
        self.entries, self.all = [], []
        self.wire = await Wire.open(self.url, judge=self._judge, receive_buffer=receive_buffer)
        self.connections += 1
        asked = {"cursor": cursor, "window": window, "attempt": attempt, "token": self.token}
        hello = {"type": "hello", "device": self.name}
        await self.wire.send(hello | {key: value for key, value in asked.items() if value is not None})
        await self.wire.until(lambda: self.rules.welcome or not self.wire.is_open or None, "welcome")
        if self.rules.welcome is None:
            await self.wire.close()
            raise RefusedError(self.wire.close_code, self.wire.close_reason, self.wire.of("error"))
        if self.acking:
            self._acker = asyncio.create_task(self._ack_all())
        return self.rules.welcome

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:  # the first failure says more than what the judge may have found meanwhile
            await asyncio.gather(self.close(), return_exceptions=True)

    async def close(self) -> None:
        """Closes properly; raises RuleBrokenError if the service broke a rule."""
        await self._leave(self.wire.close)

    async def abort(self) -> None:
        """Loses the connection: no close frame, what was under way is lost."""
        await self._leave(self.wire.abort)

    async def _leave(self, end: Callable[[], Awaitable[None]]) -> None:
        if self._acker is not None:
            self._acker.cancel()
            await asyncio.gather(self._acker, return_exceptions=True)
            self._acker = None
        await end()

    # Receiving

    def _judge(self, frame: Frame, size: int) -> None:
        self.rules.received(frame, size)
        kind = frame["type"]
        if kind == "welcome":
            self._judge_start(frame)
        if kind in rules.ENTRIES:
            self.all.append(frame)
        if kind not in ENTRIES:
            if kind in rules.ENTRIES:
                self._note_around(frame)
            return
        self.log.append(frame)
        self.entries.append(frame)
        if kind == "gap":
            self._note_gap(frame)
        else:
            self._note_message(frame)
        self._to_ack.set()

    def _judge_start(self, welcome: Frame) -> None:
        start = Cursor.parse(welcome["cursor"])
        asked = self.rules.asked_cursor
        if asked is None and start < self.confirmed:
            raise RuleBrokenError(f"replay from {start}, though {self.confirmed} was stored")
        if asked is None:
            self.confirmed = start

    def _note_gap(self, frame: Frame) -> None:
        if frame["reason"] == "rewound":
            self._bodies.clear()
            self.acked = self.confirmed = START
        if self._history is not None:
            self._history.gap(self.user, self.name, frame)

    def _note_around(self, frame: Frame) -> None:
        self._note_same(frame)
        self.around.append(frame)
        if self._history is not None:
            self._history.told(self.user, self.name, frame)
        self._to_ack.set()

    def _note_same(self, frame: Frame) -> None:
        plain = {key: value for key, value in frame.items() if key != "replay"}
        before = self._bodies.setdefault(frame["cursor"], plain)
        if plain["type"] == "deleted" and (before["id"], before["from"]) == (plain["id"], plain["from"]):
            self._bodies[frame["cursor"]] = plain  # for good
        elif before != plain:
            raise RuleBrokenError(f"sent as {before} first, then as {plain}")

    def _note_message(self, frame: Frame) -> None:
        self._note_same(frame)
        if self._history is not None:
            self._history.delivered(self.user, self.name, frame)

    async def receive(self, count: int) -> list[Frame]:
        """Waits until this connection has brought so many entries and gaps; all of them so far."""
        return await self.wire.until(lambda: self.entries if len(self.entries) >= count else None, f"{count} entries")

    async def receipt(self, target: str, kind: str = "delivered") -> Frame:
        """Waits for a receipt that covers just this message."""

        def probe() -> Frame | None:
            wanted = {"type": "receipt", "kind": kind, "target": target}
            return next((frame for frame in self.around if wanted.items() <= frame.items()), None)

        return await self.wire.until(probe, f"a receipt {kind} of {target}")

    async def read_upto(self, upto: str | int) -> Frame:
        """Waits for one's own `read` entry."""

        def probe() -> Frame | None:
            return next((f for f in self.around if f["type"] == "read" and f["upto"] == upto), None)

        return await self.wire.until(probe, f"that {upto} was read")

    def receipts(self, kind: str = "delivered") -> list[str]:
        """The messages that receipts have named, in their order."""
        return [frame["target"] for frame in self.around if frame["type"] == "receipt" and frame["kind"] == kind]

    async def go_live(self) -> Frame:
        """Waits for `live`."""
        return await self.wire.next("live")

    @property
    def position(self) -> Cursor:
        """Where the newest entry of this connection stands."""
        return self.rules.position

    # Sending

    async def say(self, *frames: Frame) -> None:
        """Sends frames as one WebSocket frame."""
        for frame in frames:
            self.rules.sent(frame)
        await self.wire.send(*frames)

    async def ack(self, cursor: Cursor | str | None = None) -> None:
        """Acks up to a cursor, by default everything that came."""
        upto = self.position if cursor is None else Cursor.parse(str(cursor))
        self.acked = max(self.acked, upto)
        await self.say({"type": "ack", "cursor": str(upto)})

    async def _ack_all(self) -> None:
        while self.wire.is_open:
            await self._to_ack.wait()
            self._to_ack.clear()
            await self.ack()

    async def send(self, message_id: str, to: str | list[str], body: Any, **more: Any) -> Frame:
        """Sends a message; its `accepted` or `error`."""
        await self.say({"type": "send", "id": message_id, "to": to, "body": body, **more})
        return await self.answer(message_id)

    async def answer(self, message_id: str) -> Frame:
        """Waits for the next `accepted` or `error` with this id."""

        def probe() -> Frame | None:
            return self.wire.claim("accepted", id=message_id) or self.wire.claim("error", id=message_id)

        return await self.wire.until(probe, f"an answer to {message_id}")

    async def ping(self) -> None:
        """Waits until the service has handled everything sent before."""
        await self.say({"type": "ping"})
        await self.wire.next("pong")
