"""The finisher: ends fan-outs that others have left behind. Every worker runs one; doing it twice does no harm."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator

from service.core.errors import Unavailable
from service.delivery.fanout import Fanout
from service.store.groups import PARTS, Groups
from service.telemetry import GROUPS_FINISHED

log = logging.getLogger("inboxd.finisher")

GRACE = 60_000
"""ms by which an announcement is over before its group is taken out of the index: clocks of servers differ."""

AT_ONCE = 4
"""Groups that are ended at a time: one whose members' server is away takes long, and holds up none of the others."""


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
            await self.look()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval * random.uniform(0.5, 1.5)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def look(self) -> None:
        """Once over the whole index, as far as it can be read."""
        left: list[str] = []
        for part in PARTS:
            try:
                left += await self._left(part)
            except Unavailable as error:
                log.info("will look again: %s", error.why)
        rest = iter(left)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(left))):
                tasks.create_task(self._finish(rest))

    async def _left(self, part: int) -> list[str]:
        """Groups that have something open for long; who has nothing is forgotten. Raises Unavailable."""
        rows = await self._groups.announced(part)  # before what is open: what was announced is over there
        since = await self._groups.opens([group for group, _ in rows])
        now = self._now_ms()
        left: list[str] = []
        for (group, until), oldest in zip(rows, since, strict=True):
            if isinstance(oldest, Unavailable):
                log.info("a group cannot be looked at: %s", oldest.why)
            elif oldest is None:
                if until + GRACE < now:
                    await self._groups.forget(group, until)
            elif now - oldest > self._patience:
                left.append(group)
        return left

    async def _finish(self, groups: Iterator[str]) -> None:
        for group in groups:
            try:
                await self._fanout.finish(group)
                GROUPS_FINISHED.inc()
            except Unavailable as error:
                log.info("a group's fan-out is not ended yet: %s", error.why)
            except ValueError:  # told where it was found; the other groups go on
                log.info("a group's fan-out cannot be ended: its keys hold what they should not")
