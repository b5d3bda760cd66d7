"""The sweeper: a slow walk over all users, for those who have something that waits and whom no append noted down.

Whoever was offline when push was configured is found by it, and what a server has lost of the rows.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from service.core.errors import Unavailable
from service.store.link import Link
from service.store.push_sweep import KEYS, PushSweep
from service.telemetry import PUSHES_SWEPT

log = logging.getLogger("inboxd.push")


class PushSweeper:
    """Every worker has one, and one of them sweeps. `period`: seconds of one round; `life`: after so many seconds of
    silence another worker begins anew. `own`: this worker's name.
    """

    def __init__(self, sweep: PushSweep, period: float, life: float, own: Callable[[], str]) -> None:
        self._sweep = sweep
        self._period = period
        self._life = life
        self._own = own
        self._positions: dict[str, str] = {}  # where this round stands at each primary; "0": at its end

    async def run(self) -> None:
        """Sweeps until cancelled, whenever it is this worker's turn."""
        while True:
            try:
                if await self._leads():
                    await self.round()
            except Unavailable as error:
                log.info("the sweep goes on later: %s", error.why)
            await asyncio.sleep(self._life / 3)

    async def round(self) -> None:
        """One walk over every primary, over a whole period. Raises Unavailable: the next call goes on from there."""
        primaries = await self._sweep.primaries()
        steps = sum(math.ceil(keys / KEYS) or 1 for _, _, keys in primaries)
        for address, primary, _ in primaries:
            if not await self._walk(address, primary, self._period / steps):
                return  # another worker has begun
        self._positions.clear()

    async def _walk(self, address: str, primary: Link, pause: float) -> bool:
        while (position := self._positions.get(address)) != "0":
            step = await self._sweep.step(primary, position or "0")
            self._positions[address] = step.position
            PUSHES_SWEPT.inc(step.reminded)
            if not await self._rest(pause):
                return False
        return True

    async def _rest(self, seconds: float) -> bool:
        """Whether it is this worker's turn still, after so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._life / 3))
            if not await self._leads():
                return False
        return True

    async def _leads(self) -> bool:
        leads = await self._sweep.lead(self._own(), self._life)
        if not leads:
            self._positions.clear()  # whoever leads now begins at the beginning
        return leads
