"""The finisher: ends fan-outs that others have left behind. Every worker runs one; doing it twice does no harm."""

import asyncio
import logging
import random
from collections.abc import Callable

from service.core.errors import Unavailable
from service.delivery.fanout import Fanout
from service.store.groups import PARTS, Groups
from service.telemetry import GROUPS_FINISHED

log = logging.getLogger("inboxd.finisher")

GRACE = 60_000
"""ms by which an announcement is over before its group is taken out of the index: clocks of servers differ."""


class Finisher:
    """Looks once in each `interval`, and after a worker was reaped. What is younger than `patience` (both in s) is its
    own worker's business.
    """

    def __init__(
        self, groups: Groups, fanout: Fanout, now_ms: Callable[[], int], interval: float, patience: float
    ) -> None:
        self._groups = groups
        self._fanout = fanout
        self._now_ms = now_ms
        self._interval = interval
        self._patience = int(patience * 1000)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Somebody has died."""
        self._wake.set()

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self._pause()
            try:
                await self.look()
            except Unavailable as error:
                log.info("will look again: %s", error.why)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval * random.uniform(0.5, 1.5)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def look(self) -> None:
        """Once over the whole index. Raises Unavailable."""
        for part in PARTS:
            rows = await self._groups.announced(part)  # before what is open: what was announced is over there
            since = await self._groups.opens([group for group, _ in rows])
            for (group, until), oldest in zip(rows, since, strict=True):
                await self._end(group, until, oldest)

    async def _end(self, group: str, until: int, oldest: int | None) -> None:
        now = self._now_ms()
        if oldest is None:
            if until + GRACE < now:
                await self._groups.forget(group, until)
        elif now - oldest > self._patience:
            try:
                await self._fanout.finish(group)
                GROUPS_FINISHED.inc()
            except Unavailable as error:
                log.info("a group's fan-out is not ended yet: %s", error.why)
            except ValueError:  # told where it was found; the other groups go on
                log.info("a group's fan-out cannot be ended: its keys hold what they should not")
