"""A load against one system: what it saw, what the system's processes and the load itself cost."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import psutil

from scripts.bench import usage
from scripts.bench.crew import Crew, Load, Outcome
from scripts.bench.measure import CORES, CROWDED, FULL_CORE, LATE, SETTLE, together
from scripts.bench.peers.peer import Peer
from scripts.bench.peers.sizes import Sizes
from scripts.bench.redis_info import CallStats, RedisView, calls_between
from scripts.bench.stats import percentile, ratio
from scripts.bench.usage import SERVER_NAMES

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
    calls: CallStats = field(default_factory=dict)  # of its Redis
    messages: int = 0  # that the calls were for

    @property
    def refused(self) -> bool:
        """The load was the limit: the figures say how fast the load is, not the system."""
        return self.load >= FULL_CORE


def none(*names: str) -> Found:
    """The system has nothing of this kind."""
    return Found(dict.fromkeys(names, math.nan))


@dataclass(frozen=True)
class Loaded:
    """A load that has run. `cpu`: s, of all processes of the system; `server`: of its Redis alone, nan without one."""

    outcome: Outcome
    cpu: float
    share: float  # of a core, of the busiest load process
    server: float = math.nan
    calls: CallStats = field(default_factory=dict)
    others: float = 0.0  # the share of the machine, while this ran, that worked for something else

    @property
    def rate(self) -> float:
        return ratio(self.outcome.done, self.outcome.ended - self.outcome.started)

    @property
    def cpu_per_100k(self) -> float:
        return self.per_100k(self.cpu)

    def per_100k(self, seconds: float) -> float:
        return ratio(seconds, self.outcome.total) * PER

    def found(self, **figures: float) -> Found:
        late = percentile(self.outcome.late, 0.99)
        words: tuple[str, ...] = (f"the load itself was late by {late * MILLI:.1f} ms at p99",) if late > LATE else ()
        if self.others >= CROWDED:
            words += (f"others took {self.others:.0%} of the machine: rates are too low, latencies too high",)
        return Found(figures, self.share, dict(self.outcome.faults), words, self.calls, self.outcome.total)


def under_load(stage: Stage, loads: Sequence[Load]) -> Loaded:
    """Runs the loads together, from their gate to their end."""
    with Crew(loads) as crew:
        crew.arrived()
        before, asked = cpu(stage.peer.pids), calls(stage.peer)
        began, busy = time.monotonic(), usage.busy()
        crew.go()
        outcomes = crew.finished()
        time.sleep(SETTLE)  # what a system does after its last answer belongs to the cost
        after = cpu(stage.peer.pids)
        wall, worked = time.monotonic() - began, usage.busy() - busy
    spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}
    servers = [seconds for pid, seconds in spent.items() if is_server(pid)]
    return Loaded(
        *(together(outcomes), sum(spent.values()), max(ratio(one.cpu, one.wall) for one in outcomes)),
        server=sum(servers) if servers else math.nan,
        calls=calls_between(asked, calls(stage.peer)),
        others=ratio(worked - sum(spent.values()) - sum(one.cpu for one in outcomes), wall * CORES),
    )


def calls(peer: Peer) -> CallStats:
    """What its Redis has been asked since it began; nothing where it has none."""
    if not peer.redis_url:
        return {}
    with contextlib.closing(RedisView(peer.redis_url)) as view:
        return view.calls()


def is_server(pid: int) -> bool:
    """Whether this process is a Redis or Valkey."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).name().startswith(SERVER_NAMES)
    return False


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
