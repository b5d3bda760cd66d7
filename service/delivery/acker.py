"""The acker: moves devices' cursors, coalesced: what a device acked meanwhile is one write."""

import asyncio
import random

from service.core.backoff import Backoff
from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.store.inbox import AckStatus, Inboxes
from service.telemetry import ACKS_STORED

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
        """Writes all that waits. Raises Unavailable; nothing is dropped then."""
        async with self._lock:
            while self._waiting:
                batch = [(*device, cursor) for device, cursor in list(self._waiting.items())[:BATCH]]
                await self._inboxes.ack(batch)
                ACKS_STORED.inc(len(batch))
                for user, device, cursor in batch:
                    if self._waiting.get((user, device)) == cursor:
                        del self._waiting[user, device]

    async def now(self, user: str, device: str, cursor: Cursor) -> AckStatus:
        """One ack, written before this returns. Raises Unavailable."""
        return await self._inboxes.ack_position(user, device, cursor)
