"""The reader: hears what other workers and operators tell this one, through the worker's own stream."""

import asyncio
import logging
import random
from typing import Protocol

from service.core.backoff import Backoff
from service.core.errors import Unavailable
from service.delivery.hub import Hub, safely
from service.store.worker_stream import Control, Event, WorkerStreams
from service.telemetry import HINTS_HEARD, HINTS_UNREADABLE, READER_RESYNCS

log = logging.getLogger("inboxd.reader")

TRIM_AFTER = 1000
"""Entries read between two trims."""


class Host(Protocol):
    """What the reader needs of its worker."""

    @property
    def id(self) -> str: ...

    def on_control(self, control: Control) -> None: ...

    def recheck(self) -> None:
        """Every session compares its position with its inbox."""


class Reader:
    """Resumes from an explicit id, never `$` twice. After anything that may have moved the stream under it (a
    lost connection, a late canary, another identity) it takes the stream's newest id and has sessions re-check.
    """

    def __init__(self, host: Host, streams: WorkerStreams, hub: Hub, block: float) -> None:
        self._host = host
        self._streams = streams
        self._hub = hub
        self._block = block
        self._resync = False
        self.position = ""

    def resync(self) -> None:
        """The stream may be another one than it was: find the place again."""
        self._resync = True

    async def run(self) -> None:
        """Reads until cancelled."""
        backoff = Backoff(first=0.05, most=2.0)
        while True:
            try:
                await self._follow(backoff)
            except Unavailable:
                await asyncio.sleep(backoff.wait(random.random()))

    async def _follow(self, backoff: Backoff) -> None:
        """Until the place must be found again."""
        worker = self._host.id
        self._resync = False
        READER_RESYNCS.inc()
        self.position = await self._streams.position(worker)
        self._host.recheck()
        unread = 0
        while worker == self._host.id and not self._resync:
            position, events, unreadable = await self._streams.read(worker, self.position, self._block)
            backoff.reset()
            if position == self.position:
                continue
            self.position = position
            HINTS_UNREADABLE.inc(unreadable)
            controls = self._dispatch(events)
            unread += len(events)
            if controls or unread >= TRIM_AFTER:
                unread = 0
                await self._streams.trim(worker, position)

    def _obey(self, control: Control) -> None:
        try:
            self._host.on_control(control)
        except ValueError:
            HINTS_UNREADABLE.inc()
            log.warning("control %s has a value that is not understood", control.name)

    def _dispatch(self, events: list[Event]) -> int:
        """How many were controls."""
        HINTS_HEARD.inc(len(events))
        behind = self._hub.take_behind()
        controls = 0
        for event in events:
            if isinstance(event, Control):
                controls += 1
                self._obey(event)
            else:
                self._hub.on_hint(event)
        for subscriber in behind:
            safely(subscriber, lambda one: one.settle())
        return controls
