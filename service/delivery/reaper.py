"""The reaper: cleans up after dead workers. Every worker runs one; doing it twice does no harm."""

import asyncio
import logging
import time
from collections.abc import Callable

from service.core.errors import Unavailable
from service.core.suspects import Suspects
from service.store.presence import Claim, Presence
from service.telemetry import REAPED

log = logging.getLogger("inboxd.reaper")

DEAD = "dead"
SWEEP_AFTER = 3600.0
"""Seconds a dead row stays for operators to see."""


class Reaper:
    """Looks once after every heartbeat of its own worker, in a task of its own: cleaning up after thousands of
    claims must not hold up heartbeats. `owing`: is told of users whose acks may have no receipts yet.
    """

    def __init__(self, presence: Presence, patience: float, tick: float, owing: Callable[[str], None]) -> None:
        self._presence = presence
        self._owing = owing
        self._suspects = Suspects(patience, tick)
        self._cleaned: dict[str, float] = {}  # dead worker → when this one cleaned up after it
        self._beat = asyncio.Event()
        self.cleaned: Callable[[], None] = lambda: None

    def beaten(self, beating: bool) -> None:
        """A heartbeat of one's own succeeded; or failed: nobody is judged for the time that passes."""
        if beating:
            self._beat.set()
        else:
            self._beat.clear()
            self._suspects.interrupt()

    async def run(self, own: Callable[[], str]) -> None:
        """Looks until cancelled. `own`: this worker's name."""
        while True:
            await self._beat.wait()
            self._beat.clear()
            try:
                await self.look(own())
            except Unavailable as error:
                log.info("will look again: %s", error.why)

    async def look(self, own: str) -> None:
        """Reaps whoever has been silent for too long. Raises Unavailable; the next look goes on."""
        counters = await self._presence.counters()
        living = {worker: counter for worker, counter in counters.items() if counter != DEAD and worker != own}
        for worker, counter in self._suspects.look(living, time.monotonic()):
            if await self._presence.reap(worker, counter):
                counters[worker] = DEAD
        for worker, counter in counters.items():
            if counter == DEAD:
                await self._clean(worker)

    async def _clean(self, worker: str) -> None:
        """Also finishes what another reaper began before it died itself."""
        now = time.monotonic()
        if (since := self._cleaned.get(worker)) is None:
            await self._release_all(worker)
            self._cleaned[worker] = now
            REAPED.inc()
            self.cleaned()
        elif now - since > SWEEP_AFTER:
            await self._release_all(worker)  # what it noted before it knew that it was dead
            await self._presence.sweep(worker)
            del self._cleaned[worker]

    async def _release_all(self, worker: str) -> None:
        while claims := await self._presence.claims_of(worker):
            await asyncio.gather(
                *(self._presence.release(Claim(user, device, worker, session)) for user, device, session in claims)
            )
            for user, _, _ in claims:
                self._owing(user)
        await self._presence.forget(worker)
