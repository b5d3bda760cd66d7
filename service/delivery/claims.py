"""Claims given back: releases go through one task, so that none is forgotten when the server is away."""

import asyncio
import random

from service.core.backoff import Backoff
from service.core.errors import Unavailable
from service.delivery.acker import Acker
from service.store.presence import Claim, Presence


class Releaser:
    """A worker that dies before a release is reaped with all its claims."""

    def __init__(self, presence: Presence, acker: Acker) -> None:
        self._presence = presence
        self._acker = acker
        self._queue: asyncio.Queue[Claim] = asyncio.Queue()  # bounded by the connections there were

    def add(self, claim: Claim) -> None:
        self._queue.put_nowait(claim)

    async def drained(self) -> None:
        await self._queue.join()

    async def run(self) -> None:
        """Releases until cancelled, acks first: whoever connects next starts after them."""
        while True:
            claim = await self._queue.get()
            backoff = Backoff(first=0.05, most=2.0)
            while True:
                try:
                    await self._acker.flush()
                    await self._presence.release(claim)
                    break
                except Unavailable:
                    await asyncio.sleep(backoff.wait(random.random()))
            self._queue.task_done()
