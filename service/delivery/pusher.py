"""The pusher: tells about what has waited for too long. Every worker runs one; a leased row keeps them apart.

What may be lost on the way is looked at again: a row stays until its user was told, or nothing is left to be told.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.core.push import Counted, Pending, Told, Verdict, judge, push_id, wait_after
from service.delivery.push_formats import Format
from service.delivery.webhook import Answer, Webhook
from service.store.push import Lease, PushRows, Tries
from service.store.pushers import Pusher as Registered
from service.telemetry import PUSHES_FAILED, PUSHES_NOT_NEEDED, PUSHES_RETRIED, PUSHES_SENT

log = logging.getLogger("inboxd.push")

AT_ONCE = 32
"""Users that one worker looks into, or tells, at a time."""
SAID_AGAIN = 60.0
"""Seconds between two complaints about the receiver: while it is away every user's push fails."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: what waits must be so old; is looked for so often; of one try, of one lease; between tries."""

    after: float
    interval: float
    timeout: float
    lease: float
    backoff: float
    backoff_most: float


@dataclass(frozen=True, slots=True)
class Ring:
    """One push: to whom (`to`: as the format has them), of what, what is noted of it, and how it has gone so far."""

    lease: Lease
    first: Cursor
    waits: Counted
    told: Told
    to: Mapping[str, Registered]
    tries: Tries


class Pusher:
    """`now_ms`: the server's clock."""

    def __init__(
        self, rows: PushRows, webhook: Webhook, format: Format, patience: Patience, now_ms: Callable[[], int]
    ) -> None:
        self._rows = rows
        self._webhook = webhook
        self._format = format
        self._patience = patience
        self._now_ms = now_ms
        self._busy = 0
        self._freed = asyncio.Event()
        self._said: dict[str, float] = {}
        self.closing = False  # the worker drains: nothing new is begun

    async def run(self) -> None:
        """Leases what is due until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._freed.clear()
                    if not await self._begin(group):
                        await asyncio.sleep(self._patience.interval)
                    elif self._busy >= AT_ONCE:
                        await self._freed.wait()
        finally:
            await self._webhook.aclose()

    async def _begin(self, group: asyncio.TaskGroup) -> int:
        """Starts on what is due, as far as there is room; how much that is."""
        room = 0 if self.closing else AT_ONCE - self._busy
        if not room:
            return 0
        held_until = time.monotonic() + self._patience.lease
        try:
            leases = await self._rows.lease(room, self._patience.lease)
        except Unavailable as error:
            log.info("will look again: %s", error.why)
            return 0
        for lease in leases:
            self._busy += 1
            group.create_task(self._handle(lease, held_until), name=f"push to {lease.user}")
        return len(leases)

    async def drained(self) -> None:
        """Returns when nothing is under way."""
        while self._busy:
            self._freed.clear()
            await self._freed.wait()

    async def _handle(self, lease: Lease, held_until: float) -> None:
        try:
            await self._look(lease, held_until)
        except Unavailable as error:
            log.info("a push waits until its lease has run out: %s", error.why)
        except Exception:  # one user's keys are damaged: the others must not wait for that
            log.exception("the push to %s waits until its lease has run out", lease.user)
        finally:
            self._busy -= 1
            self._freed.set()

    async def _look(self, lease: Lease, held_until: float) -> None:
        pending, tries = await self._rows.look(lease.user, lease.now_ms)
        verdict, again_ms = judge(pending, lease.now_ms, int(self._patience.after * 1000))
        if verdict is Verdict.LATER:
            await self._rows.done(lease, again_ms)
            return
        ring = await self._ring(lease, pending, tries) if verdict is Verdict.PUSH else None
        if ring is None:
            PUSHES_NOT_NEEDED.inc()
            await self._rows.done(lease)
        elif time.monotonic() + self._patience.timeout < held_until:  # else somebody else may be at it, too
            await self._push(ring)

    async def _ring(self, lease: Lease, pending: Pending, tries: Tries) -> Ring | None:
        """None: there is nobody to tell, or nothing any more. Counts last, because that costs most."""
        to = await self._format.recipients(lease.user)
        if to is None or pending.first is None:
            return None
        waits = await self._rows.count(lease.user, pending.first, lease.now_ms)
        if waits.newest is None:
            return None
        return Ring(lease, pending.first, waits, Told(pending.best, waits.newest.cursor), to, tries)

    async def _try(self, ring: Ring) -> Answer:
        if ring.tries.failures:
            PUSHES_RETRIED.inc()
        id, now_ms = push_id(ring.lease.user, ring.told.best, ring.first), self._now_ms()
        body = self._format.body(ring.lease.user, ring.to, ring.waits, id, now_ms)
        return await self._webhook.post(id, body, now_ms)

    async def _push(self, ring: Ring) -> None:
        """A try, and what follows. Whoever dies before it is written leaves it to be done again, under the same id."""
        lease, answer = ring.lease, await self._try(ring)
        if answer.accepted:
            PUSHES_SENT.inc()
            if await self._format.accepted(lease.user, ring.to, answer.content):
                await self._rows.told(lease.user, ring.told)
            await self._rows.done(lease)
            return
        PUSHES_FAILED.inc()
        self._complain(answer)
        patience, failures = self._patience, ring.tries.failures + 1
        wait = wait_after(failures, answer.retry_after, patience.backoff, patience.backoff_most, random.random())
        now_ms = self._now_ms()
        await self._rows.done(lease, now_ms + int(wait * 1000), Tries(failures, answer.status, now_ms))

    def _complain(self, answer: Answer) -> None:
        """Once in a while of each kind, and once for all where the receiver says that it is gone."""
        now, said = time.monotonic(), self._said.get(answer.status)
        if answer.status == "410" and said is None:
            log.warning(
                "INBOXD_PUSH_URL is answered by 410 Gone: it wants no more. Each push is tried again all the same"
            )
        elif answer.status != "410" and (said is None or now - said > SAID_AGAIN):
            log.warning("a push failed and will be tried again: %s: %s", answer.status, answer.why)
        else:
            return
        self._said[answer.status] = now
