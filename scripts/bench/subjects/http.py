"""`POST /v1/messages` and batches, one worker; and beside it a plain route in the same minute."""

from contextlib import closing
from dataclasses import replace

from scripts.bench.http_load import HttpSends
from scripts.bench.measure import MICRO, Figure, Mark, Result, Seen, Stage, rate, under_load
from scripts.bench.plain import plain
from scripts.bench.redis_info import RedisView
from scripts.bench.series import figures, in_turns, per_message, rate_of, result
from scripts.bench.stats import ratio
from scripts.bench.subjects.subject import per_cpu

CONNECTIONS = 64
BATCH_CONNECTIONS = 8
BATCH = 100

SINGLE_MARK = Mark(9_000, at_least=True)
BATCH_MARK = Mark(40_000, at_least=True)
PLAIN_MARK = Mark(2.5, at_least=True)


def single(name: str, stage: Stage) -> Result:
    return _measured(name, stage, CONNECTIONS, 1, SINGLE_MARK)


def batches(name: str, stage: Stage) -> Result:
    return _measured(name, stage, BATCH_CONNECTIONS, BATCH, BATCH_MARK)


def _measured(name: str, stage: Stage, connections: int, per_request: int, mark: Mark) -> Result:
    sizes = stage.sizes
    share = max(1, connections // stage.loads)
    loads = [
        HttpSends(stage.service.endpoint, tag, sizes.seconds, sizes.warm_up, share, per_request)
        for tag in stage.tags(name)
    ]
    seen = under_load(stage, loads)
    return seen.result(Figure("accepted", "sends/s", rate(seen.outcome), "rate", mark), *per_cpu(seen.cost))


def beside_plain(name: str, stage: Stage) -> Result:
    """In turns with a plain FastAPI route that does the same append (`plain_app`), tokens and all the rest left out."""
    with plain(stage.data_root) as service, closing(RedisView(*service.redis_urls)) as view:
        there = replace(stage, service=service, view=view)
        measured = in_turns(
            stage.sizes.rounds,
            {
                "plain route": lambda number: _turn(f"{name}-{number}", there),
                "inboxd": lambda number: _turn(f"{name}-{number}", stage),
            },
        )
    return result(
        measured,
        *figures(measured, "accepted", "sends/s", rate_of, PLAIN_MARK),
        *figures(measured, "CPU per message", "µs", per_message, None),
        *figures(measured, "the worker's CPU", "µs", _worker, None),  # what decides where it has a core of its own
    )


def _worker(seen: Seen) -> float:
    return ratio(seen.cost.workers, seen.cost.messages) * MICRO


def _turn(name: str, stage: Stage) -> Seen:
    [tag, *_] = stage.tags(name)
    load = HttpSends(stage.service.endpoint, tag, stage.sizes.turn, stage.sizes.warm_up, CONNECTIONS)
    return under_load(stage, [load])
