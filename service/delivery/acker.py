"""The acker: moves devices' cursors, coalesced: what a device acked meanwhile is one write."""

import asyncio
import logging
import random

from service.core.backoff import Backoff
from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.store.inbox import AckStatus, Inboxes
from service.telemetry import ACKS_STORED

log = logging.getLogger("inboxd.acker")

BATCH = 64
Device = tuple[str, str]
"""user, device"""


class Acker:
    """`delay`: seconds in which acks gather before they are written."""

    def __init__(self, inboxes: Inboxes, delay: float) -> None:
        self._inboxes = inboxes
        self._delay = delay
        self._waiting: dict[Device, Cursor] = {}
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()

    def add(self, user: str, device: str, cursor: Cursor) -> None:
        """Acks count upwards; a lower one than what waits changes nothing. Bounded by the devices here."""
        waiting = self._waiting.get((user, device))
        if waiting is None or cursor > waiting:
            self._waiting[user, device] = cursor
            self._wake.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        backoff = Backoff(first=0.05, most=1.0)
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._delay)
            self._wake.clear()
            try:
                await self.flush()
                backoff.reset()
            except Unavailable:
                self._wake.set()
                await asyncio.sleep(backoff.wait(random.random()))

    async def flush(self) -> None:
        """Writes all that waits now; what comes meanwhile is the next flush's. Raises Unavailable; nothing is dropped
        then.
        """
        async with self._lock:
            waiting = list(self._waiting.items())
            for at in range(0, len(waiting), BATCH):
                await self._write([(*device, cursor) for device, cursor in waiting[at : at + BATCH]])

    async def _write(self, acks: list[tuple[str, str, Cursor]]) -> None:
        for (user, device, cursor), status in zip(acks, await self._inboxes.ack(acks), strict=True):
            if status is AckStatus.FAILED:
                log.error("an ack of %s cannot be stored: a key of this user is not what it should be", user)
            if self._waiting.get((user, device)) == cursor:
                del self._waiting[user, device]
        ACKS_STORED.inc(len(acks))
