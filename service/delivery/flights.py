"""Batches under way, and what waits for one: what may leave now, and behind what. Pure."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from service.core.errors import Fault
from service.core.lane import Lane
from service.core.sending import Appended, Message

MOST_FLIGHTS = 2
"""Batches under way at a time: the server works at one while the worker tells of the other."""

FULL = 128
"""Appends after which a script call is full, and after which a batch may leave beside another."""

Done = Callable[[Sequence[Appended] | Fault], None]
"""What a submission is told: one result per recipient, or why it was not taken."""


@dataclass
class Submission:
    """A message on its way, of so many appends. Of one `lane` none is accepted after one before it was not.
    `number`: its place among all, given by `Flights.add`.
    """

    message: Message
    done: Done
    lane: Lane | None
    ops: int
    number: int = 0


class Line:
    """What waits of one lane, in its order, and the `ops` of it. `turn`: when it was let go by its last flight, as a
    number between those of submissions. While it is in one (`aboard`), nothing of it may leave in another.
    """

    def __init__(self, lane: Lane | None) -> None:
        self.lane = lane
        self.waiting: deque[Submission] = deque()
        self.ops = 0
        self.turn = 0
        self.aboard: Flight | None = None


@dataclass(eq=False)
class Flight:
    """A batch under way, and the lanes it is of."""

    batch: list[Submission] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ops: int = 0


class Flights:
    """Messages leave in the order they came; but a lane that was held up by a flight stands behind whatever might have
    left meanwhile, and was too little for one. So one that is never empty keeps no other waiting.
    """

    def __init__(self) -> None:
        self._lines: dict[Lane | None, Line] = {}  # of all that waits or is under way; what has no lane counts as one
        self._places: list[tuple[int, int, Line]] = []  # a heap: turn and number of the first of each that may leave
        self._number = 0
        self._ops = 0  # of what may leave
        self._under_way = 0
        self.count = 0  # messages that wait, wherever
        self.bytes = 0  # of their bodies

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self.count and not self._under_way

    def add(self, submission: Submission) -> None:
        self._number += 1
        submission.number = self._number
        self.count += 1
        self.bytes += len(submission.message.body)
        line = self._lines.get(submission.lane)
        if line is None:
            line = self._lines[submission.lane] = Line(submission.lane)
        line.waiting.append(submission)
        line.ops += submission.ops
        if line.aboard is None:
            self._ops += submission.ops
            if len(line.waiting) == 1:
                heappush(self._places, (submission.number, submission.number, line))

    @property
    def may_leave(self) -> bool:
        """Whether there is a `next`. Beside another only a full call leaves: small ones would be many."""
        if not self._under_way:
            return self.count > 0
        return self._ops >= FULL and self._under_way < MOST_FLIGHTS

    def next(self, most: int) -> Flight:
        """What leaves now that something may; `over` follows. `most`: appends after which nothing is added; a message
        is never split, so the last may pass it.
        """
        flight = Flight()
        while self._places and flight.ops < most:
            turn, _, line = heappop(self._places)
            elsewhere = line.aboard is not None and line.aboard is not flight
            if line.waiting and not elsewhere and turn >= line.turn:  # else this is no longer its place
                self._board(flight, line)
        self._ops -= flight.ops
        for line in flight.lines:
            self._ops -= line.ops
        self._under_way += 1
        return flight

    def _board(self, flight: Flight, line: Line) -> None:
        """The first of a lane."""
        if line.aboard is None:
            line.aboard = flight
            flight.lines.append(line)
        submission = line.waiting.popleft()
        line.ops -= submission.ops
        flight.ops += submission.ops
        flight.batch.append(submission)
        self.count -= 1
        self.bytes -= len(submission.message.body)
        if line.waiting:
            number = line.waiting[0].number
            heappush(self._places, (max(number, line.turn), number, line))

    def over(self, flight: Flight) -> None:
        """What waits of its lanes may leave, behind what might have all the while."""
        self._under_way -= 1
        self._number += 1
        for line in flight.lines:
            line.aboard = None
            if line.waiting:
                line.turn = self._number
                self._ops += line.ops
                heappush(self._places, (line.turn, line.waiting[0].number, line))
            else:
                del self._lines[line.lane]

    def take_of(self, lanes: Collection[Lane | None]) -> list[Submission]:
        """All that waits of some lanes, of which nothing is under way."""
        taken: list[Submission] = []
        for lane in lanes:
            line = self._lines.pop(lane, None)
            if line is not None:
                taken += line.waiting
                line.waiting.clear()
                self._ops -= line.ops
        self.count -= len(taken)
        self.bytes -= sum(len(submission.message.body) for submission in taken)
        return taken

    def take_all(self) -> list[Submission]:
        """Everything that waits, when nothing is under way."""
        return self.take_of(list(self._lines))
