"""A device's connections: everything that comes and goes is noted in the history, nothing is judged here."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import AROUND, Closing, Ended, Frame, Hello, History, Live, Welcome
from scripts.lab.timing import UNIT

COME_BACK = (OSError, WebSocketException, TimeoutError, EOFError)
"""What the end of a connection looks like to a client; it tries again."""

GIVE_UP_AFTER = 4 * UNIT
"""Seconds a client waits for an answer before it asks again elsewhere."""


class EndedError(ConnectionError):
    """The connection ended before what was waited for."""


class Session:
    """One WebSocket connection of a device, from its hello on. `closing_since`: (when, how long to wait) if told."""

    def __init__(self, device: "Device", attempt: int, connection: ClientConnection) -> None:
        self.device, self.attempt, self.connection = device, attempt, connection
        self.name = f"{device.user}/{device.name}#{attempt}"
        self.position: Cursor | None = None  # of welcome, then of the last entry or gap
        self.worker = ""
        self.ended = False
        self.code = 0
        self.closing: tuple[float, float] | None = None
        self.answers: dict[str, asyncio.Future[Frame]] = {}
        self.changed = asyncio.Event()
        self._left = False
        self._reader = asyncio.create_task(self._read())

    @property
    def _history(self) -> History:
        return self.device.history

    async def _read(self) -> None:
        try:
            async for text in self.connection:
                for line in str(text).split("\n"):
                    self._take(json.loads(line))
                self.changed.set()
        except ConnectionClosed:
            pass
        finally:
            self.ended = True
            self.code = 0 if self._left else (self.connection.close_code or 1006)
            self._history.note(Ended(self._history.clock(), *self.device.reader, self.name, self.code))
            for future in self.answers.values():
                if not future.done():
                    future.set_exception(EndedError(f"closed with {self.code}"))
                    future.exception()  # looked at, whoever waits
            self.changed.set()

    def _take(self, frame: Frame) -> None:
        kind, who, now = frame["type"], (*self.device.reader, self.name), self._history.clock()
        if kind == "welcome":
            self.position, self.worker = Cursor.parse(frame["cursor"]), frame["worker"]
            self._history.note(Welcome(now, *who, self.position, self.worker))
        elif kind == "message":
            self.position = Cursor.parse(frame["cursor"])
            self._history.delivered(*self.device.reader, frame, self.name)
        elif kind in AROUND:
            self.position = Cursor.parse(frame["cursor"])
            self._history.told(*self.device.reader, frame, self.name)
        elif kind == "gap":
            self.position = Cursor.parse(frame["cursor"])
            if frame["reason"] == "rewound":
                self.device.acked = self.position
            self._history.gap(*self.device.reader, frame, self.name)
        elif kind == "live":
            self._history.note(Live(now, *who, Cursor.parse(frame["cursor"])))
        elif kind == "closing":
            self.closing = now, frame["reconnect_after_ms"] / 1000
            self._history.note(Closing(now, *who, self.closing[1]))
        elif kind in {"accepted", "error"}:
            self._answer(frame)

    def _answer(self, frame: Frame) -> None:
        if frame["type"] == "error":
            self.device.errors[frame["code"]] += 1
        future = self.answers.get(str(frame.get("id")))
        if future is not None and not future.done():
            future.set_result(frame)

    @property
    def is_due_to_leave(self) -> bool:
        """The service is about to close, and the time it asked for has passed."""
        return self.closing is not None and self._history.clock() >= sum(self.closing)

    async def news(self, patience: float) -> bool:
        """Waits for the next frames, or the end; whether there was anything in time."""
        try:
            async with asyncio.timeout(patience):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True

    async def say(self, *frames: Frame) -> None:
        """One WebSocket frame. Lost where the connection has ended; an end shows by itself."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(GIVE_UP_AFTER):
                await self.connection.send("\n".join(json.dumps(frame) for frame in frames))

    async def greet(self, cursor: Cursor | None = None, **hello: Any) -> None:
        """Says hello."""
        self._history.note(Hello(self._history.clock(), *self.device.reader, self.name, cursor, self.attempt))
        asked = {"cursor": None if cursor is None else str(cursor), "attempt": self.attempt, **hello}
        said = {key: value for key, value in asked.items() if value is not None}
        await self.say({"type": "hello", "device": self.device.name, **said})

    async def ack(self, upto: Cursor | None = None) -> None:
        """Acks up to a position of this connection, by default everything that came."""
        cursor = upto or self.position
        if cursor is None or cursor == START:
            return
        self.device.acked = max(self.device.acked, cursor)
        self._history.acked(*self.device.reader, cursor, self.name)
        await self.say({"type": "ack", "cursor": str(cursor)})

    async def leave(self, politely: bool = False) -> None:
        """Ends the connection, with a close frame or without a word."""
        self._left = not self.ended
        with contextlib.suppress(*COME_BACK):
            if politely:
                async with asyncio.timeout(GIVE_UP_AFTER):
                    await self.connection.close()
        self.connection.transport.abort()
        await asyncio.wait([self._reader], timeout=GIVE_UP_AFTER)


class Device:
    """One installation. `base` is the service's `http://` address. `acked` is its own memory of its furthest ack."""

    def __init__(self, base: str, user: str, name: str, history: History, rng: random.Random) -> None:
        self.base, self.user, self.name, self.history, self.rng = base, user, name, history, rng
        self.acked = START
        self.attempt = 0
        self.errors: Counter[str] = Counter()
        self._failed = 0

    @property
    def reader(self) -> tuple[str, str]:
        return self.user, self.name

    async def connect(self, *, cursor: Cursor | None = None, attempt: int | None = None, **hello: Any) -> Session:
        """A connection that has been welcomed. Raises one of COME_BACK."""
        session = await self.dial(attempt)
        try:
            await session.greet(cursor, **hello)
            await self._await_welcome(session)
        except BaseException:
            await session.leave()
            raise
        self._failed = 0
        return session

    async def dial(self, attempt: int | None = None) -> Session:
        """A connection that has not said hello. Raises one of COME_BACK."""
        connection = await connect(
            f"{self.base.replace('http', 'ws', 1)}/v1/ws?user={quote(self.user)}",
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=None,
            max_queue=None,
            open_timeout=GIVE_UP_AFTER,
            close_timeout=GIVE_UP_AFTER,
        )
        self.attempt = max(self.attempt, attempt or self.attempt + 1)
        return Session(self, attempt or self.attempt, connection)

    @staticmethod
    async def _await_welcome(session: Session) -> None:
        async with asyncio.timeout(GIVE_UP_AFTER):
            while session.position is None:
                if session.ended:
                    raise EndedError(f"closed with {session.code} before welcome")
                await session.news(GIVE_UP_AFTER)

    async def back_off(self) -> None:
        """Full jitter, growing with every try that failed."""
        self._failed += 1
        await asyncio.sleep(self.rng.uniform(0, min(1.0, 0.05 * 2**self._failed)) * UNIT)
