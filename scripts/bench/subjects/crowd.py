"""Pairs beside thousands of connections that are open and say nothing; before, and while they are open."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scripts.bench.crew import Crew, Outcome
from scripts.bench.idle import WARM, IdleLoad
from scripts.bench.measure import Cost, Figure, Result, Seen, Stage, cost_between, read, under_load
from scripts.bench.pairs import PairsLoad
from scripts.bench.series import figures, per_message, rate_of, result, without
from scripts.bench.stats import ratio
from scripts.bench.subjects.subject import MEDIAN, percentiles

STANDSTILL = 6.0  # s: an audit of all connections, and a third of their pings


def connections(name: str, stage: Stage) -> Result:
    """`idle` is what the open connections cost by themselves: pings, and the audit of every one in five seconds."""
    beside = f"{stage.sizes.crowd:,} open"
    alone = [_pairs(stage, f"{name}-before-{number}") for number in range(stage.sizes.rounds)]
    with crowd(stage, name):
        idle = _standstill(stage)
        together = [_pairs(stage, f"{name}-beside-{number}") for number in range(stage.sizes.rounds)]
    measured = {"none open": alone, beside: together}
    less = {
        "none open": alone,
        f"{beside}, less idle": [replace(one, cost=without(one.cost, idle)) for one in together],
    }
    return result(
        measured,
        *figures(measured, "CPU per message", "µs", per_message),
        *figures(less, "CPU per message", "µs", per_message)[1:],
        *figures(measured, "delivered", "msgs/s", rate_of, None),
        Figure("idle: workers", "% of a core", 100 * ratio(idle.workers, idle.wall)),
        Figure("idle: Redis", "% of a core", 100 * ratio(idle.server, idle.wall)),
        *percentiles([sample for one in together for sample in one.outcome.samples], MEDIAN),
    )


@contextmanager
def crowd(stage: Stage, name: str) -> Iterator[None]:
    """So many connections are open, each of a user of its own."""
    with Crew([IdleLoad(stage.service.endpoint, stage.tags(f"{name}-crowd")[0], stage.sizes.crowd - WARM)]) as crew:
        crew.arrived()
        crew.go()
        crew.arrived()
        yield
        crew.go()
        crew.finished()


def _standstill(stage: Stage) -> Cost:
    before, began = read(stage), time.monotonic()
    time.sleep(STANDSTILL)
    after, wall = read(stage), time.monotonic() - began
    return cost_between(before, after, Outcome(began, began + wall, 0, 0, 0.0, wall))


def _pairs(stage: Stage, name: str) -> Seen:
    [tag, *_] = stage.tags(name)
    return under_load(
        stage, [PairsLoad(stage.service.endpoint, tag, stage.sizes.turn, stage.sizes.warm_up, stage.manners)]
    )
