"""The audit: what a lost hint, or a lost notice of takeover, may cost is one interval of it.

In small slices each worker compares where its sessions stand with the inboxes, and their claims with
the presence rows.
"""

import asyncio
import random
import time
from functools import partial
from typing import Protocol

from service.core.backoff import Backoff
from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.delivery.ghosts import Ghosts
from service.delivery.hub import Hub, Subscriber, safely
from service.store.inbox import Inboxes
from service.store.presence import Presence
from service.telemetry import AUDIT_FOUND, AUDIT_RECLAIMED

SLICE = 200
"""Users per pipeline."""
TOUCHES = 100
"""A connected device is written down as seen this often within the device expiry, so that it keeps its say."""


class Host(Protocol):
    """What the audit needs of its worker."""

    @property
    def id(self) -> str: ...

    def now_ms(self) -> int:
        """The server's clock."""


class Audit:
    """`interval`: seconds in which every user here is looked at once. `device_expiry`: seconds as well."""

    def __init__(
        self, host: Host, inboxes: Inboxes, presence: Presence, hub: Hub, interval: float, device_expiry: float
    ) -> None:
        self._host = host
        self._inboxes = inboxes
        self._ghosts = Ghosts(host, presence, hub)
        self._hub = hub
        self._interval = interval
        self._now = asyncio.Event()
        self._touch_every = device_expiry / TOUCHES
        self._touch_due = 0.0

    def recheck(self) -> None:
        """Everybody at once, without waiting for the interval."""
        self._ghosts.suspected = True
        self._now.set()

    async def run(self) -> None:
        """Audits until cancelled."""
        backoff = Backoff(first=0.05, most=2.0)
        while True:
            urgent = self._now.is_set()
            self._now.clear()
            try:
                await self.look(urgent)
                backoff.reset()
            except Unavailable:
                self._now.set()
                await asyncio.sleep(backoff.wait(random.random()))

    async def look(self, urgent: bool = False) -> None:
        """Every user once; spread over the interval unless urgent. Raises Unavailable."""
        users = self._hub.users()
        touching = time.monotonic() >= self._touch_due
        slices = [users[at : at + SLICE] for at in range(0, len(users), SLICE)] or [[]]
        for some in slices:
            if some:
                await self._look_at(some)
            if some and touching:
                await self._touch(some)
            if not urgent:
                await self._pause(self._interval / len(slices) * random.uniform(0.7, 1.0))
                urgent = self._now.is_set()
        await self._ghosts.look()
        if touching:
            self._touch_due = time.monotonic() + self._touch_every

    async def _touch(self, users: list[str]) -> None:
        claims = [subscriber.claim for user in users for subscriber in self._hub.of(user)]
        await self._inboxes.touch([(claim.user, claim.device) for claim in claims], self._host.now_ms())

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._now.wait(), seconds)
        except TimeoutError:
            return

    async def _look_at(self, users: list[str]) -> None:
        before: dict[Subscriber, tuple[Cursor, str]] = {
            subscriber: (subscriber.cursor, subscriber.claim.row)
            for user in users
            for subscriber in self._hub.of(user)
            if subscriber.cursor is not None
        }
        heads = dict(zip(users, await self._inboxes.heads(users), strict=True))
        await self._find_acks([subscriber for subscriber in before if subscriber.stuck])
        for subscriber, (cursor, row) in before.items():
            last, presence = heads[subscriber.claim.user]
            if subscriber.claim.row != row:
                continue  # claimed anew meanwhile
            if subscriber.claim.worker != self._host.id:
                await subscriber.reclaim()  # this worker has another name now
                continue
            await self._judge(subscriber, presence.get(subscriber.claim.device), row)
            if last > (subscriber.cursor or last):
                AUDIT_FOUND.inc()
            safely(subscriber, partial(_tell, last, cursor))

    async def _find_acks(self, stuck: list[Subscriber]) -> None:
        """Acks over HTTP are stored wherever they arrive, and the word of them may be lost."""
        claims = [(one.claim.user, one.claim.device) for one in stuck]
        for subscriber, stored in zip(stuck, await self._inboxes.stored(claims), strict=True):
            if stored is not None:
                safely(subscriber, partial(_say_stored, stored))

    async def _judge(self, subscriber: Subscriber, there: str | None, row: str) -> None:
        if there == row:
            return
        if there is None:
            AUDIT_RECLAIMED.inc()
            await subscriber.reclaim()
        else:
            subscriber.end(4509, "replaced")


def _say_stored(cursor: Cursor, subscriber: Subscriber) -> None:
    subscriber.on_stored(cursor)


def _tell(last: Cursor, before: Cursor, subscriber: Subscriber) -> None:
    subscriber.on_audit(last, before)
