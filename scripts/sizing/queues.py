"""A clock that jumps from event to event, cores, and processes that work off their queues on them."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

Do = Callable[[], None]


class Clock:
    """Time in seconds; what is due is done in order, and at one time in the order it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Do]] = []
        self._number = count()

    def after(self, seconds: float, do: Do) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._number), do))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = until


class Cores:
    """Shared by processes: who is ready waits for a free one, in turn. 0: each process has its own."""

    def __init__(self, cores: int = 0) -> None:
        self._shared = cores > 0
        self._free = cores
        self._waiting: deque[Process] = deque()

    def want(self, process: "Process") -> None:
        if self._shared and self._free == 0:
            self._waiting.append(process)
            return
        self._free -= 1
        process.run()

    def give_back(self) -> None:
        self._free += 1
        if self._waiting:
            self._free -= 1
            self._waiting.popleft().run()


class Process:
    """Works off jobs in order: each a cost in seconds of a core, and what is done then. `most`: jobs taken at once;
    `sync`: seconds it then waits, without a core, before any of them counts as done (an fsync for all of them).
    """

    def __init__(self, clock: Clock, cores: Cores, most: int = 1, sync: float = 0.0) -> None:
        self._clock = clock
        self._cores = cores
        self._most = most
        self._sync = sync
        self._jobs: deque[tuple[float, Do]] = deque()
        self._busy = False
        self.alive = True
        self.waiting = 0.0  # seconds of work in the queue
        self.deepest = 0.0  # the most there was of it
        self.worked = 0.0

    def give(self, cost: float, do: Do) -> None:
        """Nothing, where it is dead."""
        if not self.alive:
            return
        self._jobs.append((cost, do))
        self.waiting += cost
        self.deepest = max(self.deepest, self.waiting)
        if not self._busy:
            self._busy = True
            self._cores.want(self)

    def die(self) -> None:
        """What it was doing is lost."""
        self.alive = False
        self._jobs.clear()
        self.waiting = 0.0

    def revive(self) -> None:
        self.alive = True

    def run(self) -> None:
        """On a core."""
        jobs = [self._jobs.popleft() for _ in range(min(self._most, len(self._jobs)))]
        cost = sum(job[0] for job in jobs)
        self.waiting -= cost if self.alive else 0.0
        self.worked += cost
        self._clock.after(cost, lambda: self._ran([do for _, do in jobs]))

    def _ran(self, done: list[Do]) -> None:
        self._cores.give_back()
        if self._sync:
            self._clock.after(self._sync, lambda: self._done(done))
        else:
            self._done(done)

    def _done(self, done: list[Do]) -> None:
        if self.alive:
            for do in done:
                do()
        if self._jobs:
            self._cores.want(self)
        else:
            self._busy = False
