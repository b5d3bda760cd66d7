"""One subject, once: the load runs, the readings are taken around it, figures come out."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import psutil

from scripts.bench import redis_load, usage
from scripts.bench.crew import Crew, Load, Outcome
from scripts.bench.redis_info import CallStats, RedisView, calls_between
from scripts.bench.server import Service
from scripts.bench.stats import ratio
from scripts.bench.ws_client import Manners

SETTLE = 0.3  # s: what the service does after its last answer (acks, trims) belongs to the load's cost
FULL_CORE = 0.9  # from this share of one core on, a load process may have been the limit
FULL_MACHINE = 0.95
UNEVEN = 1.3  # from this multiple of its fair share on, one worker has too many connections
CROWDED = 0.1  # from this share of the machine on, what else ran had its say in every rate
LATE = 0.005  # s: a load later than this at p99 has measured itself
MICRO = 1e6
CORES = psutil.cpu_count() or 1


@dataclass(frozen=True)
class Sizes:
    """How long, how many."""

    seconds: float
    warm_up: float
    latency_seconds: float
    replays: int
    idle: int  # connections, for what one of them weighs
    crowd: int  # connections that are open beside a load
    xadd_seconds: float
    rounds: int  # in which several sizes of one thing take turns
    turn: float  # s
    timed: int  # messages to a group, for its latency
    backlogs: int  # entries in all, for each length of a backlog


FULL = Sizes(
    *(8, 2, 20, 3),
    idle=5000, crowd=10_000, xadd_seconds=4, rounds=3, turn=4, timed=60, backlogs=200_000,
)  # fmt: skip
QUICK = Sizes(
    *(2.5, 0.5, 4, 1),
    idle=1500, crowd=3000, xadd_seconds=1, rounds=2, turn=1.5, timed=20, backlogs=50_000,
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """What a figure should reach. It is printed, never enforced: the machine has its say in every figure."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One number of one run. `base` names what it is set against: XADDs/s, or the server's µs for an XADD."""

    name: str
    unit: str
    value: float
    base: Literal["rate", "cpu"] | None = None
    mark: Mark | None = None


@dataclass(frozen=True)
class Cost:
    """What a load cost, in CPU seconds (nan where unknown), and what the server was asked to do for it."""

    messages: int
    appends: int
    wall: float
    workers: float
    parent: float
    server: float  # with its replicas
    load: float
    calls: CallStats
    others: float = 0.0  # the share of the machine, while this ran, that worked for something else

    @property
    def service(self) -> float:
        """Workers and server. The parent only waits; where it is out of reach nothing is missed."""
        return self.workers + self.server + (0.0 if math.isnan(self.parent) else self.parent)

    @property
    def per_message(self) -> float:
        """µs of workers and server."""
        return ratio(self.service, self.messages) * MICRO


@dataclass(frozen=True)
class Result:
    """What one subject gave in one run. `parts`: the costs of its sizes, where it has several.

    `refused`: the load was the limit, so that the figures say nothing of the service and no mark is judged.
    """

    figures: tuple[Figure, ...]
    cost: Cost | None = None
    remarks: tuple[str, ...] = ()
    parts: Mapping[str, Cost] = field(default_factory=dict)
    refused: bool = False


@dataclass(frozen=True)
class Seen:
    """What loads saw together, what it cost, and what a reader should know of it."""

    outcome: Outcome
    cost: Cost
    remarks: tuple[str, ...] = ()
    refused: bool = False

    def result(self, *figures: Figure) -> Result:
        return Result(figures, self.cost, self.remarks, refused=self.refused)


@dataclass(frozen=True)
class Reference:
    """The yardstick of one started server."""

    rate: float  # plain XADDs per second
    cpu: float  # µs of the server for one of them
    real: float | None  # the same by a real redis-benchmark


@dataclass(frozen=True)
class Stage:
    """A service under test, and how it is to be loaded."""

    service: Service
    view: RedisView
    sizes: Sizes
    manners: Manners
    seed: int
    loads: int
    tag: str  # the beginning of every user id, of this run's own
    data_root: Path | None = None  # where what is started beside the service keeps its data

    def tags(self, subject: str) -> list[str]:
        """One prefix of user ids for each load process."""
        return [f"{self.tag}-{subject}-{part}" for part in range(self.loads)]


@dataclass(frozen=True)
class Readings:
    """The processes and the server at one moment."""

    usage: usage.Reading
    server: float | None
    calls: CallStats
    busy: float = 0.0  # CPU seconds of the whole machine
    at: float = 0.0  # s, monotonic


def read(stage: Stage) -> Readings:
    return Readings(
        usage.read(stage.service.pids), stage.view.cpu(), stage.view.calls(), usage.busy(), time.monotonic()
    )


def under_load(stage: Stage, loads: Sequence[Load]) -> Seen:
    """Runs the loads together, and takes the readings around them."""
    with Crew(loads) as crew:
        crew.arrived()
        held = usage.descriptors(stage.service.pids.workers)
        before = read(stage)
        crew.go()
        outcomes = crew.finished()
        time.sleep(SETTLE)
        after = read(stage)
    outcome = together(outcomes)
    cost = cost_between(before, after, outcome)
    said = (*remarks(outcomes, cost), *uneven(held))
    return Seen(outcome, cost, said, share_of_a_core(outcomes) >= FULL_CORE)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Several load processes as one."""
    return Outcome(
        started=min(one.started for one in outcomes),
        ended=max(one.ended for one in outcomes),
        done=sum(one.done for one in outcomes),
        total=sum(one.total for one in outcomes),
        cpu=sum(one.cpu for one in outcomes),
        wall=max(one.wall for one in outcomes),
        appends=sum(one.appends for one in outcomes),
        faults=sum((one.faults for one in outcomes), Counter[str]()),
        samples=[sample for one in outcomes for sample in one.samples],
        late=[late for one in outcomes for late in one.late],
    )


def rate(outcome: Outcome) -> float:
    return ratio(outcome.done, outcome.ended - outcome.started)


def cost_between(before: Readings, after: Readings, outcome: Outcome) -> Cost:
    used = usage.between(before.usage, after.usage)
    server = used.server
    if before.server is not None and after.server is not None:
        server = after.server - before.server  # finer than the system's ticks
    server += used.replicas
    cost = Cost(
        *(outcome.total, outcome.appends, outcome.wall, used.workers, used.parent, server, outcome.cpu),
        calls=calls_between(before.calls, after.calls),
    )
    others = after.busy - before.busy - cost.service - cost.load
    return replace(cost, others=ratio(others, (after.at - before.at) * CORES))


def remarks(outcomes: Sequence[Outcome], cost: Cost) -> tuple[str, ...]:
    """Whether the load was the limit, and what went wrong."""
    found = []
    share = share_of_a_core(outcomes)
    if share >= FULL_CORE:
        found.append(f"refused, the load generator was the limit: {share:.0%} of a core")
    machine = ratio(cost.service + cost.load, cost.wall * CORES)
    if machine >= FULL_MACHINE:
        found.append(f"all {CORES} cores were full, {ratio(cost.load, cost.wall):.0%} of one with the load itself")
    if cost.others >= CROWDED:
        found.append(f"others took {cost.others:.0%} of the machine: rates are too low, latencies too high")
    faults = sum((one.faults for one in outcomes), Counter[str]())
    if faults:
        found.append("faults: " + ", ".join(f"{name} {count}" for name, count in faults.most_common()))
    return tuple(found)


def uneven(held: Sequence[int]) -> tuple[str, ...]:
    """Whether one of several workers has most of what is open: it is full while others rest, and hints are few."""
    if len(held) > 1 and max(held) * len(held) >= UNEVEN * sum(held):
        return (
            f"connections lie unevenly on the workers: {' : '.join(map(str, sorted(held, reverse=True)))} open files",
        )
    return ()


def share_of_a_core(outcomes: Sequence[Outcome]) -> float:
    """Of the busiest load process."""
    return max(ratio(one.cpu, one.wall) for one in outcomes)


def reference(stage: Stage) -> Reference | None:
    """The yardstick for this server; None where there is not one, or it is out of reach."""
    url = stage.view.yardstick
    if url is None:
        return None
    before = stage.view.cpu()
    outcome = redis_load.measure(url, stage.sizes.xadd_seconds)
    after = stage.view.cpu()
    real = redis_load.real_benchmark(url, outcome.total)
    stage.view.remove(redis_load.streams())
    assert before is not None
    assert after is not None
    return Reference(rate(outcome), ratio(after - before, outcome.total) * MICRO, real)
