"""Batches under way, and what waits for one: what may leave now, and behind what. Pure."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from service.core.errors import Fault
from service.core.lane import Lane
from service.core.sending import Appended, Message

MOST_FLIGHTS = 2
"""Batches under way at a time: the server works at one while the worker tells of the other."""

FULL = 128
"""Appends after which a script call is full, and after which a batch may leave beside another."""

Done = Callable[[Sequence[Appended] | Fault], None]
"""What a submission is told: one result per recipient, or why it was not taken."""


@dataclass(slots=True)
class Submission:
    """A message on its way, of so many appends. Of one `lane` none is accepted after one before it was not."""

    message: Message
    done: Done
    lane: Lane | None
    ops: int


@dataclass(slots=True, eq=False)
class Flight:
    """A batch under way. `behind`: what must not be under way beside it."""

    batch: list[Submission]
    behind: list[Submission] = field(default_factory=list)


class Flights:
    """`most`: appends after which nothing is added to a batch; a message is never split, so the last may pass it."""

    def __init__(self) -> None:
        self._queue: deque[Submission] = deque()
        self._ops = 0  # in the queue
        self._under_way: list[Flight] = []
        self._of: dict[Lane | None, Flight] = {}  # by the lanes of what is in them; what has none counts as one
        self.count = 0  # messages that wait, wherever
        self.bytes = 0  # of their bodies

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self.count and not self._under_way

    def add(self, submission: Submission) -> None:
        self._queue.append(submission)
        self._ops += submission.ops
        self.count += 1
        self.bytes += len(submission.message.body)

    @property
    def may_leave(self) -> bool:
        """Whether `next` is worth asking. Beside another only a full call leaves: small ones would be many."""
        if not self._under_way:
            return bool(self._queue)
        return self._ops >= FULL and len(self._under_way) < MOST_FLIGHTS

    def next(self, most: int) -> Flight | None:
        """What leaves now that something may, if anything does; `over` follows."""
        batch, ops = self._taken(most)
        if self._under_way and ops < FULL:  # then the queue is empty
            self._queue.extend(batch)
            self._ops = ops
            return None
        flight = Flight(batch)
        self._under_way.append(flight)
        for submission in batch:
            self.count -= 1
            self.bytes -= len(submission.message.body)
            self._of[submission.lane] = flight
        return flight

    def _taken(self, most: int) -> tuple[list[Submission], int]:
        batch: list[Submission] = []
        ops = 0
        while self._queue and ops < most:
            submission = self._queue.popleft()
            self._ops -= submission.ops
            ahead = self._of.get(submission.lane)
            if ahead is not None:
                ahead.behind.append(submission)
            else:
                batch.append(submission)
                ops += submission.ops
        return batch, ops

    def over(self, flight: Flight) -> None:
        """What was behind it comes next, in front of what its lanes have sent since."""
        self._under_way.remove(flight)
        for submission in flight.batch:
            self._of.pop(submission.lane, None)
        self._queue.extendleft(reversed(flight.behind))
        self._ops += sum(submission.ops for submission in flight.behind)

    def take_of(self, lanes: Collection[Lane]) -> list[Submission]:
        """Those of some lanes, of which nothing is under way."""
        return self._take(lambda submission: submission.lane in lanes)

    def take_all(self) -> list[Submission]:
        """Everything that waits, when nothing is under way."""
        return self._take(lambda _: True)

    def _take(self, wanted: Callable[[Submission], bool]) -> list[Submission]:
        taken: list[Submission] = []
        left: deque[Submission] = deque()
        for submission in self._queue:
            (taken if wanted(submission) else left).append(submission)
        self._queue = left
        self._ops -= sum(submission.ops for submission in taken)
        self.count -= len(taken)
        self.bytes -= sum(len(submission.message.body) for submission in taken)
        return taken
