"""Those who send: singly over HTTP, in batches, over a WebSocket; each message again, same id, until it is accepted."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from scripts.chaos.client import COME_BACK, GIVE_UP_AFTER, Device, Session
from scripts.chaos.cursors import Cursor
from scripts.chaos.history import Frame, History
from scripts.lab.timing import UNIT

AGAIN = {"unavailable", "out_of_order", "inbox_full", "internal", "rate_limited"}
"""Refusals that the protocol lets a client repeat."""

LARGE = 6000
"""Characters of a body that is too large to travel in a hint."""


class UnexpectedError(AssertionError):
    """An answer that no fair client should ever get."""


@dataclass(frozen=True)
class Draft:
    """A message that is not accepted yet."""

    id: str
    to: tuple[str, ...]
    body: Any

    @property
    def content(self) -> Frame:
        return {"id": self.id, "to": self.to[0] if len(self.to) == 1 else list(self.to), "body": self.body}


class Sender:
    """Sends until `stop`, about `rate` messages a second, in one order; `everybody` are the possible recipients."""

    def __init__(self, user: str, base: str, everybody: Sequence[str], history: History, rng: random.Random) -> None:
        self.user, self.base, self.everybody, self.history, self.rng = user, base, everybody, history, rng
        self.stop = asyncio.Event()
        self.rate = 12.0
        self.number = 0
        self.broken = 0  # requests or connections that ended without an answer

    async def run(self) -> None:
        raise NotImplementedError

    def drafts(self, count: int) -> list[Draft]:
        return [self._draft() for _ in range(count)]

    def _draft(self) -> Draft:
        self.number += 1
        several = self.rng.random() < 0.1
        to = self.rng.sample(self.everybody, min(self.rng.choice((2, 3)) if several else 1, len(self.everybody)))
        body: dict[str, Any] = {"n": self.number}
        if self.rng.random() < 0.02:
            body["large"] = "x" * LARGE
        return Draft(f"m{self.number}", tuple(to), body)

    def tried(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            self.history.attempted(self.user, draft.id, draft.body, draft.to)

    def is_done(self, draft: Draft, answer: Frame) -> bool:
        """Notes an answer; whether the message is in everywhere. Raises UnexpectedError."""
        code = answer.get("code")
        if code is not None:
            self.history.refused(self.user, draft.id, code)
            if code not in AGAIN:
                raise UnexpectedError(f"{self.user} {draft.id}: {answer}")
            return False
        for one in answer["recipients"]:
            if "cursor" in one:
                again = one.get("duplicate", answer["duplicate"])
                self.history.accepted(self.user, draft.id, one["to"], one["cursor"], answer["durability"], again)
        return all("cursor" in one for one in answer["recipients"])

    async def breathe(self, messages: int = 1) -> None:
        """The pause after so many messages; short when it is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.rng.uniform(0.5, 1.5) * messages / self.rate * UNIT):
                await self.stop.wait()

    async def once_more_soon(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.03, 0.15) * UNIT)


class OverHttp(Sender):
    """One message, one request; `batch` > 1: so many in one."""

    batch = 1

    async def run(self) -> None:
        headers = {"X-Inboxd-User": self.user}
        async with httpx2.AsyncClient(
            base_url=self.base, headers=headers, timeout=httpx2.Timeout(GIVE_UP_AFTER), trust_env=False
        ) as http:
            while not self.stop.is_set():
                waiting = self.drafts(self.rng.randint(1, self.batch))
                count = len(waiting)
                while waiting:
                    waiting = await self._try(http, waiting)
                    if waiting:
                        await self.once_more_soon()
                await self.breathe(count)

    async def _try(self, http: httpx2.AsyncClient, drafts: list[Draft]) -> list[Draft]:
        """Sends them once; those that are not in, or not surely."""
        self.tried(drafts)
        try:
            answers = await self._post(http, drafts)
        except httpx2.TransportError:
            self.broken += 1
            return drafts
        return [draft for draft, answer in zip(drafts, answers, strict=True) if not self.is_done(draft, answer)]

    async def _post(self, http: httpx2.AsyncClient, drafts: list[Draft]) -> list[Frame]:
        if self.batch == 1:
            response = await http.post("/v1/messages", json=drafts[0].content)
            return [response.json()]
        response = await http.post("/v1/messages/batch", json={"messages": [draft.content for draft in drafts]})
        answer = response.json()
        return list(answer["results"]) if "results" in answer else [answer] * len(drafts)


class InBatches(OverHttp):
    batch = 8


class OverSocket(Sender):
    """Several at once down one connection; what fails comes again in its order, or is given up by `skip`.

    It is a device too, which gets and acks the copies of what it sends. `skips`: how likely it gives one up.
    """

    def __init__(self, user: str, base: str, everybody: Sequence[str], history: History, rng: random.Random) -> None:
        super().__init__(user, base, everybody, history, rng)
        self.device = Device(base, user, "desk", history, rng)
        self.skips = 0.05
        self.names_cursor = False
        self._session: Session | None = None

    async def run(self) -> None:
        try:
            while not self.stop.is_set():
                waiting = self.drafts(self.rng.randint(1, 8))
                count = len(waiting)
                while waiting:
                    waiting = await self._try(waiting)
                await self.breathe(count)
        finally:
            if self._session is not None:
                await self._session.leave()

    async def _connected(self) -> Session:
        session = self._session
        if session is not None and (session.ended or session.is_due_to_leave):
            await session.leave()
            session = self._session = None
        if session is None:
            known = self.device.acked if self.names_cursor and self.device.acked != Cursor(0, 0) else None
            session = self._session = await self.device.connect(cursor=known)
        return session

    async def _try(self, drafts: list[Draft]) -> list[Draft]:
        try:
            session = await self._connected()
        except COME_BACK:
            await self.device.back_off()
            return drafts
        session.answers = {draft.id: asyncio.get_running_loop().create_future() for draft in drafts}
        self.tried(drafts)
        try:
            await session.say(*({"type": "send", **draft.content} for draft in drafts))
            async with asyncio.timeout(2 * GIVE_UP_AFTER):
                await asyncio.wait(list(session.answers.values()))
        except TimeoutError:
            await session.leave()
        await session.ack()
        waiting = [draft for draft in drafts if not self._heard(session, draft)]
        if waiting and not session.ended:
            waiting = await self._give_up_one(session, waiting)
            await self.once_more_soon()
        return waiting

    def _heard(self, session: Session, draft: Draft) -> bool:
        future = session.answers[draft.id]
        if not future.done() or future.exception() is not None:
            self.broken += 1
            return False
        return self.is_done(draft, future.result())

    async def _give_up_one(self, session: Session, waiting: list[Draft]) -> list[Draft]:
        """Now and then the first that failed is not wanted any more."""
        answer = session.answers[waiting[0].id]
        failed = answer.done() and not answer.exception() and answer.result().get("code") == "unavailable"
        if not failed or self.rng.random() >= self.skips:
            return waiting
        self.history.skipped(self.user, waiting[0].id)
        await session.say({"type": "skip", "id": waiting[0].id})
        return waiting[1:]
