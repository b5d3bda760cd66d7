"""What a subject is, and figures that several have."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.bench.measure import MICRO, Cost, Figure, Mark, Result, Stage
from scripts.bench.setups import Setup
from scripts.bench.stats import percentile, ratio

MILLI = 1e3
APPEND_MARK = Mark(35, at_least=False)
MEDIAN, TAILS = {"p50": 0.5}, {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

PLAIN = Setup()
NO_COPY = Setup(own_copy=False)
ONE = Setup(workers=1, own_copy=False)


@dataclass(frozen=True)
class Subject:
    """A name for `--only`, the server it needs, and the measurement.

    `beside`: the subject whose figures of the same name its own are set against. `anywhere`: a running service can be
    measured by it, however it was started.
    """

    name: str
    setup: Setup
    measure: Callable[[str, Stage], Result]
    beside: str = ""
    anywhere: bool = False


def per_cpu(cost: Cost) -> tuple[Figure, ...]:
    """What does not depend on how the load shares the cores: for each message, and for each append."""
    return (
        per_message(cost),
        Figure("server CPU per append", "µs", ratio(cost.server, cost.appends) * MICRO, "cpu", APPEND_MARK),
    )


def per_message(cost: Cost) -> Figure:
    return Figure("CPU per message", "µs", cost.per_message)


def percentiles(samples: list[float], shares: dict[str, float]) -> tuple[Figure, ...]:
    return tuple(Figure(name, "ms", percentile(samples, share) * MILLI) for name, share in shares.items())
