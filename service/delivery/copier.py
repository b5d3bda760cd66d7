"""The copier: the sender's own copy, where its inbox may lie on another server than the recipients' (a Cluster).

On one server the copy is appended with them, in the same call, and nothing comes here.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

from service.core.backoff import Backoff
from service.core.errors import Unavailable
from service.core.sending import Appended, Message
from service.store.inbox import Inboxes
from service.telemetry import OWN_COPIES_DROPPED

MOST_WAITING = 10_000
"""Copies that wait; beyond, they are left out and counted: nobody's message waits for a copy."""
BATCH = 64

Announce = Callable[[Message, Sequence[str], Sequence[Appended]], None]


class Copier:
    """Tries again what failed, in order, until it is in: a repeat does no harm. A worker that dies before leaves the
    copy out, unless the sender comes again with the same id.
    """

    def __init__(self, inboxes: Inboxes, announce: Announce) -> None:
        self._inboxes = inboxes
        self._announce = announce
        self._waiting: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, message: Message) -> None:
        """A message that was accepted."""
        if len(self._waiting) >= MOST_WAITING:
            OWN_COPIES_DROPPED.inc()
            return
        self._waiting.append(message)
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when no copy waits."""
        await self._idle.wait()

    async def run(self) -> None:
        """Appends copies until cancelled."""
        backoff = Backoff(first=0.05, most=2.0)
        while True:
            await self._wake.wait()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if failed := await self._copy(batch):
                    self._waiting.extendleft(reversed(failed))
                    await asyncio.sleep(backoff.wait(random.random()))
                else:
                    backoff.reset()
            self._wake.clear()
            self._idle.set()

    async def _copy(self, batch: list[Message]) -> list[Message]:
        """Those that have to come again."""
        try:
            attempts = await self._inboxes.copy(batch)
        except Unavailable:
            return batch
        failed = []
        for message, attempt in zip(batch, attempts, strict=True):
            if isinstance(attempt, Unavailable):
                failed.append(message)
            else:
                self._announce(message, (message.sender,), attempt)
        return failed
