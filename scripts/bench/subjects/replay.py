"""What one connection gets of a backlog, and what an open connection weighs."""

import time

from scripts.bench.crew import Crew
from scripts.bench.idle import IdleLoad
from scripts.bench.measure import MICRO, SETTLE, Figure, Mark, Result, Stage, rate, together, under_load
from scripts.bench.replay import BACKLOG, ReplayLoad
from scripts.bench.stats import percentile, ratio
from scripts.bench.usage import resident

REPLAY_MARK = Mark(150_000, at_least=True)
IDLE_MARK = Mark(12, at_least=False)
LONG = 100_000  # entries
KIB = 1024


def replay(name: str, stage: Stage) -> Result:
    return _replayed(name, stage, BACKLOG)


def long_replay(name: str, stage: Stage) -> Result:
    return _replayed(name, stage, LONG)


def _replayed(name: str, stage: Stage, backlog: int) -> Result:
    load = ReplayLoad(stage.service.endpoint, stage.tags(name)[0], stage.sizes.replays, backlog)
    seen = under_load(stage, [load])
    rates = [backlog / seconds for seconds in seen.outcome.samples]
    return seen.result(
        Figure("entries", "entries/s", percentile(rates, 0.5), "rate", REPLAY_MARK),
        Figure("CPU per entry", "µs", seen.cost.per_message),
        Figure("server CPU per entry", "µs", ratio(seen.cost.server, seen.cost.messages) * MICRO),
    )


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
