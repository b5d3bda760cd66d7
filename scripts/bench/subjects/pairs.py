"""End to end: as much as goes through, and how long it takes when little does."""

from scripts.bench.latency import LatencyLoad
from scripts.bench.measure import LATE, Figure, Result, Stage, rate, under_load
from scripts.bench.pairs import IN_FLIGHT, PAIRS, PairsLoad
from scripts.bench.stats import percentile
from scripts.bench.subjects.subject import MILLI, TAILS, per_message, percentiles


def pairs(name: str, stage: Stage) -> Result:
    endpoint, sizes = stage.service.endpoint, stage.sizes
    share = PAIRS // stage.loads
    loads = [
        PairsLoad(endpoint, tag, sizes.seconds, sizes.warm_up, stage.manners, share, IN_FLIGHT // stage.loads)
        for tag in stage.tags(name)
    ]
    seen = under_load(stage, loads)
    return seen.result(
        Figure("delivered", "msgs/s", rate(seen.outcome), "rate"),
        per_message(seen.cost),
        *percentiles(seen.outcome.samples, {"p50": 0.5, "p99": 0.99}),
    )


def latency(name: str, stage: Stage) -> Result:
    tag, sizes = stage.tags(name)[0], stage.sizes
    load = LatencyLoad(stage.service.endpoint, tag, sizes.latency_seconds, sizes.warm_up, stage.manners, stage.seed)
    seen = under_load(stage, [load])
    late = percentile(seen.outcome.late, 0.99)
    said = (f"the load itself was late by {late * MILLI:.1f} ms at p99",) if late > LATE else ()
    figures = (*percentiles(seen.outcome.samples, TAILS), per_message(seen.cost))
    return Result(figures, seen.cost, (*seen.remarks, *said), refused=seen.refused)
