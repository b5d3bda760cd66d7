"""The committer: one per worker, the only way into an inbox.

It gathers whatever arrived while a batch was in flight and sends it as one script call: batching by
back-pressure, no timer, so that a lone message waits for nothing. A second batch leaves beside the first
once it is full, with nothing of any lane that the first one holds; they are told of in the order they left.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence

from service.core.backoff import Backoff
from service.core.errors import Fault, Unavailable
from service.core.lane import Lane
from service.core.sending import OUT_OF_ORDER, UNAVAILABLE, Appended, Message
from service.delivery.flights import FULL, Done, Flight, Flights, Submission
from service.store.appends import Appends, Attempt, targets
from service.store.majority import ended
from service.telemetry import BATCHES, MESSAGES_COMMITTED, SENDS_UNAVAILABLE

log = logging.getLogger("inboxd.committer")

WAITING_BATCHES = 32
"""Batches that share one wait for durability, where there is one: it may last until the next fsync."""
MOST_QUEUED, MOST_QUEUED_BYTES = 10_000, 64 << 20
"""Messages waiting, and bytes of their bodies; beyond, sends are answered `unavailable` at once."""

Announce = Callable[[Message, Sequence[str], Sequence[Appended]], None]
"""A message, whose inboxes it went to, and what became of it there."""


class Committer:
    """`announce` hears of every message that was appended, after its sender has its answer; `copy` of those whose
    own copy goes another way, because the sender's inbox may lie on another server. `roomy`: whether `room` would
    return at once.
    """

    def __init__(self, appends: Appends, announce: Announce, copy: Callable[[Message], None], own_copy: bool) -> None:
        self._appends = appends
        self._announce = announce
        self._copy = copy
        self._copies_apart = own_copy and appends.copies_apart
        self._own_copy = own_copy and not appends.copies_apart
        self._flights = Flights()
        self._going: deque[tuple[Flight, asyncio.Task[Sequence[Attempt]]]] = deque()  # in the order they left
        self._room = asyncio.Event()
        self._room.set()
        self.roomy = True
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.down = False
        self.barred = False  # the server no longer gives the durability that was asked for
        self.closing = False  # the worker drains: what has no answer yet gets one, nothing new is taken
        self._logged = 0.0

    def submit(self, message: Message, done: Done, lane: Lane | None = None) -> None:
        """`done` is called once, later or at once. Never blocks, never queues without bound."""
        if self.refuses():
            SENDS_UNAVAILABLE.inc()
            if lane is not None:
                lane.fail(message.id)
            done(UNAVAILABLE)
            return
        ops = len(targets(message, self._own_copy))
        self._flights.add(Submission(message, done, lane, ops))
        self._idle.clear()
        if self._flights.may_leave:
            self._wake.set()
        if self.roomy and self._crowded():
            self.roomy = False
            self._room.clear()

    async def room(self) -> None:
        """Returns when the queue is at most half full: for senders that can be made to wait."""
        await self._room.wait()

    def _make_room(self) -> None:
        if not self._crowded():
            self.roomy = True
            self._room.set()

    def _crowded(self) -> bool:
        return self._flights.count * 2 > MOST_QUEUED or self._flights.bytes * 2 > MOST_QUEUED_BYTES

    def refuses(self) -> bool:
        """Whether sends are answered `unavailable` at once."""
        full = self._flights.count >= MOST_QUEUED or self._flights.bytes >= MOST_QUEUED_BYTES
        return self.down or self.barred or self.closing or full

    async def drained(self) -> None:
        """Returns when nothing is queued or in flight."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits batches until cancelled."""
        backoff = Backoff(first=0.05, most=1.0)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._going and self._going[0][1].done():
                    if self._landed() and not await self._others_answer():
                        await self._until_back(backoff)
                self._depart()
                if self._flights.idle:
                    self._idle.set()
        finally:
            await ended([going for _, going in self._going])

    def _depart(self) -> None:
        most = FULL * (WAITING_BATCHES if self._appends.wait else 1)
        while self._flights.may_leave:
            flight = self._flights.next(most)
            going = asyncio.create_task(self._append(flight.batch))
            going.add_done_callback(lambda _: self._wake.set())
            self._going.append((flight, going))
        if not self.roomy:
            self._make_room()

    async def _append(self, batch: list[Submission]) -> Sequence[Attempt]:
        try:
            return await self._appends.append([s.message for s in batch], self._own_copy)
        except Unavailable as error:
            return [error] * len(batch)

    def _landed(self) -> bool:
        """The oldest is over. Whether all of it is unknown."""
        flight, going = self._going.popleft()
        self._flights.over(flight)
        attempts = going.result()
        self._finish(flight.batch, attempts)
        return all(isinstance(attempt, Unavailable) for attempt in attempts)

    def _finish(self, batch: list[Submission], attempts: Sequence[Attempt]) -> None:
        """Answers first, then the announcements. So that order holds, what a lane has sent behind something that failed
        comes again, too: in this batch, where it may be in, as unknown; in the queue, where it is not, as refused.
        """
        BATCHES.inc()
        broken: set[Lane] = set()
        answers: list[tuple[Submission, Sequence[Appended] | Fault]] = []
        for submission, attempt in zip(batch, attempts, strict=True):
            answers.append((submission, self._answer(submission, attempt, broken)))
        MESSAGES_COMMITTED.inc(sum(answer is not UNAVAILABLE for _, answer in answers))
        if broken:
            answers += [(submission, self._refuse(submission)) for submission in self._flights.take_of(broken)]
        for submission, answer in answers:
            submission.done(answer)
        for submission, attempt in zip(batch, attempts, strict=True):
            if not isinstance(attempt, Unavailable):
                self._announce(submission.message, targets(submission.message, self._own_copy), attempt)

    def _answer(self, submission: Submission, attempt: Attempt, broken: set[Lane]) -> Sequence[Appended] | Fault:
        message, lane = submission.message, submission.lane
        if isinstance(attempt, Unavailable) or lane in broken:
            if isinstance(attempt, Unavailable):
                self._log(attempt)
            SENDS_UNAVAILABLE.inc()
            if lane is not None:
                lane.fail(message.id)
                broken.add(lane)
            return UNAVAILABLE
        result = attempt[: len(message.to)]
        if self._copies_apart and message.sender not in message.to and any(one.cursor for one in result):
            self._copy(message)
        if lane is not None:
            lane.settle(message.id)
        return result

    def _refuse(self, submission: Submission) -> Fault:
        if submission.lane is not None:
            submission.lane.refuse(submission.message.id)
        return OUT_OF_ORDER

    def _log(self, error: Unavailable) -> None:
        """At most once a second: out of memory, every batch fails."""
        if time.monotonic() - self._logged > 1.0:
            self._logged = time.monotonic()
            log.warning("a batch may or may not be in: %s", error.why)

    async def _others_answer(self) -> bool:
        """Of many servers, one that is away takes only its own inboxes with it."""
        if not self._appends.copies_apart:
            return False
        try:
            await self._appends.ping()
        except Unavailable:
            return False
        return True

    async def _until_back(self, backoff: Backoff) -> None:
        """While the server is away, sends are answered at once."""
        self.down = True
        while self._going:
            await asyncio.wait([self._going[0][1]])
            self._landed()
        waiting = self._flights.take_all()
        self._make_room()
        self._idle.set()
        for submission in waiting:
            SENDS_UNAVAILABLE.inc()
            if submission.lane is not None:
                submission.lane.fail(submission.message.id)
            submission.done(UNAVAILABLE)
        while self.down:
            try:
                await self._appends.ping()
                self.down = False
            except Unavailable:
                await asyncio.sleep(backoff.wait(random.random()))
        backoff.reset()
