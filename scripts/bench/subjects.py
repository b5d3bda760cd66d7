"""The subjects of the benchmark: for each, its load and the figures it gives."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from scripts.bench.crew import Crew
from scripts.bench.http_load import HttpSends
from scripts.bench.idle import IdleLoad
from scripts.bench.latency import LatencyLoad
from scripts.bench.measure import (
    LATE,
    MICRO,
    SETTLE,
    Cost,
    Figure,
    Mark,
    Result,
    Stage,
    rate,
    together,
    under_load,
)
from scripts.bench.pairs import IN_FLIGHT, PAIRS, PairsLoad
from scripts.bench.replay import ReplayLoad
from scripts.bench.server import EVERYSEC, REPLICAS, Setup
from scripts.bench.stats import percentile, ratio
from scripts.bench.usage import resident
from scripts.bench.ws_load import CONNECTIONS, WsSends

HTTP_CONNECTIONS = 64
BATCH_CONNECTIONS = 8
BATCH = 100
KIB = 1024
MILLI = 1e3

SENDS_MARK = Mark(8_000, at_least=True)
REPLAY_MARK = Mark(20_000, at_least=True)
IDLE_MARK = Mark(40, at_least=False)
APPEND_MARK = Mark(35, at_least=False)


@dataclass(frozen=True)
class Subject:
    """A name for `--only`, the server it needs, and the measurement."""

    name: str
    setup: Setup
    measure: Callable[[str, Stage], Result]


def http_single(name: str, stage: Stage) -> Result:
    return _http(name, stage, HTTP_CONNECTIONS, 1)


def http_batch(name: str, stage: Stage) -> Result:
    return _http(name, stage, BATCH_CONNECTIONS, BATCH)


def _http(name: str, stage: Stage, connections: int, per_request: int) -> Result:
    endpoint, sizes = stage.service.endpoint, stage.sizes
    share = max(1, connections // stage.loads)
    loads = [HttpSends(endpoint, tag, sizes.seconds, sizes.warm_up, share, per_request) for tag in stage.tags(name)]
    outcome, cost, found = under_load(stage, loads)
    figures = (Figure("accepted", "sends/s", rate(outcome), "rate"), *_per_cpu(cost))
    return Result(figures, cost, found)


def ws_sends(name: str, stage: Stage) -> Result:
    return _ws(name, stage, None)


def ws_sends_one_worker(name: str, stage: Stage) -> Result:
    return _ws(name, stage, SENDS_MARK)


def _ws(name: str, stage: Stage, mark: Mark | None) -> Result:
    endpoint, sizes = stage.service.endpoint, stage.sizes
    share = max(1, CONNECTIONS // stage.loads)
    loads = [WsSends(endpoint, tag, sizes.seconds, sizes.warm_up, stage.manners, share) for tag in stage.tags(name)]
    outcome, cost, found = under_load(stage, loads)
    figures = (Figure("accepted", "sends/s", rate(outcome), "rate", mark), *_per_cpu(cost))
    return Result(figures, cost, found)


def _per_cpu(cost: Cost) -> tuple[Figure, ...]:
    """What does not depend on how the load shares the cores: per CPU second, and per append."""
    return (
        Figure("per CPU-s of the service", "msgs", ratio(cost.messages, cost.service)),
        Figure("server CPU per append", "µs", ratio(cost.server, cost.appends) * MICRO, "cpu", APPEND_MARK),
    )


def pairs(name: str, stage: Stage) -> Result:
    endpoint, sizes = stage.service.endpoint, stage.sizes
    share = PAIRS // stage.loads
    loads = [
        PairsLoad(endpoint, tag, sizes.seconds, sizes.warm_up, stage.manners, share, IN_FLIGHT // stage.loads)
        for tag in stage.tags(name)
    ]
    outcome, cost, found = under_load(stage, loads)
    figures = (
        Figure("delivered", "msgs/s", rate(outcome), "rate"),
        Figure("per CPU-s of the service", "msgs", ratio(cost.messages, cost.service)),
        *_percentiles(outcome.samples, {"p50": 0.5, "p99": 0.99}),
    )
    return Result(figures, cost, found)


def latency(name: str, stage: Stage) -> Result:
    tag, sizes = stage.tags(name)[0], stage.sizes
    load = LatencyLoad(stage.service.endpoint, tag, sizes.latency_seconds, sizes.warm_up, stage.manners, stage.seed)
    outcome, cost, found = under_load(stage, [load])
    late = percentile(outcome.late, 0.99)
    if late > LATE:
        found = (*found, f"the load itself was late by {late * MILLI:.1f} ms at p99")
    return Result(_percentiles(outcome.samples, {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}), cost, found)


def _percentiles(samples: list[float], shares: dict[str, float]) -> tuple[Figure, ...]:
    return tuple(Figure(name, "ms", percentile(samples, share) * MILLI) for name, share in shares.items())


def replay(name: str, stage: Stage) -> Result:
    load = ReplayLoad(stage.service.endpoint, stage.tags(name)[0], stage.sizes.replays)
    outcome, cost, found = under_load(stage, [load])
    rates = [load.backlog / seconds for seconds in outcome.samples]
    figures = (
        Figure("entries", "entries/s", percentile(rates, 0.5), "rate", REPLAY_MARK),
        Figure("per CPU-s of the service", "entries", ratio(cost.messages, cost.service)),
    )
    return Result(figures, cost, found)


def idle(name: str, stage: Stage) -> Result:
    """Three readings, two phases: this one has its own way through the gates."""
    workers = stage.service.pids.workers
    load = IdleLoad(stage.service.endpoint, stage.tags(name)[0], stage.sizes.idle)
    with Crew([load]) as crew:
        crew.arrived()
        time.sleep(SETTLE)
        before = resident(workers)
        crew.go()
        crew.arrived()
        time.sleep(SETTLE)
        after = resident(workers)
        crew.go()
        outcome = together(crew.finished())
    each = ratio(after - before, load.connections) / KIB if workers else float("nan")
    figures = (
        Figure("memory of a connection", "KiB", each, None, IDLE_MARK),
        Figure("connected to live", "conns/s", rate(outcome)),
    )
    faults = tuple(f"fault: {fault} {count}" for fault, count in outcome.faults.items())
    return Result(figures, remarks=faults)


BOTH = Setup(workers=2)
ONE = Setup(workers=1)
NO_COPY = Setup(workers=2, own_copy=False)

# `idle` first: the workers' memory is then still untouched by other loads.
SUBJECTS = (
    Subject("idle", BOTH, idle),
    Subject("http", BOTH, http_single),
    Subject("batch", BOTH, http_batch),
    Subject("ws", BOTH, ws_sends),
    Subject("pairs", BOTH, pairs),
    Subject("latency", BOTH, latency),
    Subject("replay", BOTH, replay),
    Subject("ws-one-worker", ONE, ws_sends_one_worker),
    Subject("ws-no-copy", NO_COPY, ws_sends),
    Subject("pairs-no-copy", NO_COPY, pairs),
    # What each durability costs, beside `ws` and `latency` on the embedded server (fsynced without waiting).
    *(
        Subject(f"{load.__name__.partition('_')[0]}-{name}", Setup(durability=durability, store=store), load)
        for name, durability, store in (
            ("appended", "appended", EVERYSEC),
            ("waitaof", "fsynced", EVERYSEC),
            ("replicated-1", "replicated:1", REPLICAS),
            ("replicated-2", "replicated:2", REPLICAS),
        )
        for load in (ws_sends, latency)
    ),
)
