"""Those who receive: well-behaved, restless, slow, stalled, polling. At the end each reads to the end of its inbox."""

import asyncio
from typing import Any

import httpx2

from scripts.chaos.client import COME_BACK, GIVE_UP_AFTER, Device, Session
from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import AROUND, Hello, Welcome
from scripts.lab.timing import UNIT


class Steady:
    """Stays, and acks whatever comes; back as soon as it may whenever its connection ends.

    `names_cursor`: it always says where it stands, as a client with a memory of its own does.
    """

    window: int | None = None

    def __init__(self, device: Device, names_cursor: bool) -> None:
        self.device, self.names_cursor = device, names_cursor
        self.end: Cursor | None = None  # where to stop; None: not yet
        self.connections = 0
        self.complete = False

    def finish(self, end: Cursor) -> None:
        """From now on: read to this position like the best of clients, then leave."""
        self.end = end

    def is_complete(self) -> bool:
        """Whether it has read to the end."""
        return self.complete

    async def run(self) -> None:
        """Until it has read to the end."""
        while not self.is_complete():
            try:
                session = await self.device.connect(cursor=self.asked(), window=None if self.end else self.window)
            except COME_BACK:
                await self.device.back_off()
                continue
            self.connections += 1
            try:
                await (self.stay(session) if self.end else self.visit(session))
            finally:
                await session.leave(self.is_complete() or self.device.rng.random() < 0.5)
            await self.pause(session)

    def asked(self) -> Cursor | None:
        """The cursor of its next hello."""
        known = self.device.acked != START
        return self.device.acked if known and self.names_cursor else None

    async def pause(self, session: Session) -> None:
        """Between two connections: as the service asked, or a moment."""
        if self.complete:
            return
        wait = sum(session.closing) - self.device.history.clock() if session.closing else 0.0
        await asyncio.sleep(max(0.0, wait))
        if session.code:
            await self.device.back_off()

    def may_stay(self, session: Session) -> bool:
        """Whether a visit may go on as this one likes."""
        return not session.ended and not session.is_due_to_leave and self.end is None

    async def visit(self, session: Session) -> None:
        await self.stay(session)

    async def stay(self, session: Session) -> None:
        """Acks all there is, until the connection ends or nothing more is to come."""
        acked: Cursor | None = None
        while not session.ended and not session.is_due_to_leave:
            if session.position != acked:
                acked = session.position
                await session.ack()
            if self.end is not None and session.position is not None and session.position >= self.end:
                self.complete = True
                return
            await session.news(0.1)


class Restless(Steady):
    """Online for moments; acks all, some or nothing; leaves politely or not; may name the cursor it acked."""

    def asked(self) -> Cursor | None:
        known = self.device.acked != START
        return self.device.acked if known and (self.names_cursor or self.device.rng.random() < 0.4) else None

    async def visit(self, session: Session) -> None:
        rng = self.device.rng
        if rng.random() < 0.5:
            self_acking = asyncio.create_task(self.stay(session))
            await asyncio.wait([self_acking], timeout=rng.choice((0.05, 0.3, 1.0, 2.0)) * UNIT)
            self_acking.cancel()
            await asyncio.gather(self_acking, return_exceptions=True)
            return
        await session.news(rng.choice((0.01, 0.2, 0.5)) * UNIT)
        await asyncio.sleep(rng.choice((0.0, 0.1, 0.4)) * UNIT)
        if rng.random() < 0.5:
            await session.ack()


class Slow(Steady):
    """A small window, and every ack takes its time."""

    window = 8

    async def visit(self, session: Session) -> None:
        while self.may_stay(session):
            await asyncio.sleep(self.device.rng.uniform(0.02, 0.15) * UNIT)
            await session.ack()
            await session.news(0.1)


class Stalled(Steady):
    """Stops reading from its socket now and then, for longer than the service waits for a pong."""

    async def visit(self, session: Session) -> None:
        rng = self.device.rng
        while self.may_stay(session):
            working = asyncio.create_task(self.stay(session))
            await asyncio.wait([working], timeout=rng.uniform(0.5, 2) * UNIT)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            if not self.may_stay(session):
                return
            session.connection.transport.pause_reading()
            await asyncio.sleep(rng.uniform(0.5, 4) * UNIT)
            session.connection.transport.resume_reading()


class Polling(Steady):
    """Asks over HTTP, with a long poll, and acks over HTTP."""

    def __init__(self, device: Device, names_cursor: bool) -> None:
        super().__init__(device, names_cursor)
        self._polls = 0
        self._read = START

    async def run(self) -> None:
        headers = {"X-Inboxd-User": self.device.user}
        timeout = httpx2.Timeout(GIVE_UP_AFTER)
        async with httpx2.AsyncClient(
            base_url=self.device.base, headers=headers, timeout=timeout, trust_env=False
        ) as http:
            while not self.is_complete():
                try:
                    await self._poll(http)
                except httpx2.TransportError:
                    await self.device.back_off()

    async def _poll(self, http: httpx2.AsyncClient) -> None:
        self._polls += 1
        name, after, history = f"poll{self._polls}", self.asked(), self.device.history
        asked = {"device": self.device.name, "wait": 0 if self.end else 1, "limit": 200}
        history.note(Hello(history.clock(), *self.device.reader, name, after, None))
        if after is not None:
            asked["after"] = str(after)
            history.note(Welcome(history.clock(), *self.device.reader, name, after, ""))
        response = await http.get("/v1/inbox", params=asked)
        if response.status_code != 200:
            self.device.errors[response.json().get("code", str(response.status_code))] += 1
            await self.device.back_off()
            return
        page = response.json()
        self._note(page["entries"], name)
        cursor = Cursor.parse(page["cursor"])
        if page["entries"] and not await self._ack(http, cursor, name):
            return
        self.connections += 1
        if self.end is not None and cursor >= self.end:
            self.complete = True

    def _note(self, entries: list[dict[str, Any]], name: str) -> None:
        for entry in entries:
            if entry["type"] == "gap":
                if entry["reason"] == "rewound":
                    self.device.acked = Cursor.parse(entry["cursor"])
                self.device.history.gap(*self.device.reader, entry, name)
            elif entry["type"] in AROUND:
                self.device.history.told(*self.device.reader, entry, name)
            else:
                self.device.history.delivered(*self.device.reader, entry, name)

    async def _ack(self, http: httpx2.AsyncClient, cursor: Cursor, name: str) -> bool:
        self.device.acked = max(self.device.acked, cursor)
        self.device.history.acked(*self.device.reader, cursor, name)
        response = await http.post("/v1/inbox/ack", json={"device": self.device.name, "cursor": str(cursor)})
        stored = response.status_code == 204
        if stored:
            self.device.history.acked(*self.device.reader, cursor, name, stored=True)
        else:
            self.device.errors[response.json().get("code", str(response.status_code))] += 1
            await self.device.back_off()
        return stored
