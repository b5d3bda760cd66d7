"""The copier: the sender's own copy, where its inbox may lie on another server than the recipients' (a Cluster).

On one server the copy is appended with them, in the same call, and nothing comes here.
"""

import asyncio
import random
from collections import deque

from service.core.backoff import Backoff
from service.core.errors import Unavailable
from service.core.sending import Message
from service.delivery.committer import Announce
from service.store.appends import Appends
from service.telemetry import OWN_COPIES_DROPPED

MOST_WAITING, MOST_WAITING_BYTES = 10_000, 64 << 20
"""Copies that wait, and bytes of their bodies; beyond, they are left out and counted: nobody's message waits for a
copy."""
BATCH = 64


class Copier:
    """Tries again what failed, each sender's in order, until it is in: a repeat does no harm. A worker that dies
    before leaves the copy out, unless the sender comes again with the same id.
    """

    def __init__(self, appends: Appends, announce: Announce) -> None:
        self._appends = appends
        self._announce = announce
        self._waiting: deque[Message] = deque()
        self._count = self._bytes = 0  # of what waits or is on its way
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, message: Message) -> None:
        """A message that was accepted."""
        if self._count >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES:
            OWN_COPIES_DROPPED.inc()
            return
        self._waiting.append(message)
        self._count += 1
        self._bytes += len(message.body)
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
                if await self._round():
                    backoff.reset()
                else:
                    await asyncio.sleep(backoff.wait(random.random()))
            self._wake.clear()
            self._idle.set()

    async def _round(self) -> bool:
        """Everything that waits, once; whether all of it is in. A sender whose copy failed is passed over until the
        next round, and holds up nobody else.
        """
        todo, self._waiting = self._waiting, deque()
        failed: list[Message] = []
        behind: set[str] = set()
        while todo:
            batch: list[Message] = []
            while todo and len(batch) < BATCH:
                message = todo.popleft()
                (failed if message.sender in behind else batch).append(message)
            again = await self._copy(batch)
            failed += again
            behind.update(message.sender for message in again)
        self._waiting.extendleft(reversed(failed))
        return not failed

    async def _copy(self, batch: list[Message]) -> list[Message]:
        """Those that have to come again."""
        try:
            attempts = await self._appends.copy(batch)
        except Unavailable:
            return batch
        failed = []
        for message, attempt in zip(batch, attempts, strict=True):
            if isinstance(attempt, Unavailable):
                failed.append(message)
            else:
                self._count -= 1
                self._bytes -= len(message.body)
                self._announce(message, (message.sender,), attempt)
        return failed
