"""A load against one system: what it saw, what the system's processes and the load itself cost."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import psutil

from scripts.bench.crew import Crew, Load, Outcome
from scripts.bench.measure import FULL_CORE, LATE, SETTLE, together
from scripts.bench.peers.peer import Peer
from scripts.bench.peers.sizes import Sizes
from scripts.bench.stats import percentile, ratio

PER = 100_000  # messages, of a cost
MILLI = 1e3


@dataclass(frozen=True)
class Stage:
    """A system that runs, and how it is to be loaded."""

    peer: Peer
    sizes: Sizes
    loads: int = 2
    seed: int = 1
    tag: str = "b"  # in front of every user's name


@dataclass(frozen=True)
class Found:
    """What one measure gave. A figure that a system cannot have is nan. `load`: a share of a core, per process."""

    figures: Mapping[str, float]
    load: float = math.nan
    faults: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """The load was the limit: the figures say how fast the load is, not the system."""
        return self.load >= FULL_CORE


def none(*names: str) -> Found:
    """The system has nothing of this kind."""
    return Found(dict.fromkeys(names, math.nan))


@dataclass(frozen=True)
class Loaded:
    """A load that has run. `cpu`: s, of all processes of the system."""

    outcome: Outcome
    cpu: float
    share: float  # of a core, of the busiest load process

    @property
    def rate(self) -> float:
        return ratio(self.outcome.done, self.outcome.ended - self.outcome.started)

    @property
    def cpu_per_100k(self) -> float:
        return ratio(self.cpu, self.outcome.total) * PER

    def found(self, **figures: float) -> Found:
        late = percentile(self.outcome.late, 0.99)
        words = (f"the load itself was late by {late * MILLI:.1f} ms at p99",) if late > LATE else ()
        return Found(figures, self.share, dict(self.outcome.faults), words)


def under_load(stage: Stage, loads: Sequence[Load]) -> Loaded:
    """Runs the loads together, from their gate to their end."""
    with Crew(loads) as crew:
        crew.arrived()
        before = cpu(stage.peer.pids)
        crew.go()
        outcomes = crew.finished()
        time.sleep(SETTLE)  # what a system does after its last answer belongs to the cost
        after = cpu(stage.peer.pids)
    spent = sum(after.values()) - sum(before.get(pid, 0.0) for pid in after)
    return Loaded(together(outcomes), spent, max(ratio(one.cpu, one.wall) for one in outcomes))


def cpu(pids: Iterable[int]) -> dict[int, float]:
    """User and system seconds of each process, all its threads."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            found[pid] = times.user + times.system
    return found


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory that the processes hold together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total


def shares(count: int, parts: int) -> list[range]:
    """`count` things dealt to `parts` processes, each a run of numbers."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return [range(first, end) for first, end in pairwise(bounds) if end > first]


def tally(found: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(one) for one in found), Counter[str]())
