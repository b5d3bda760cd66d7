"""Sends over WebSocket to recipients who are away: what the service can store."""

from scripts.bench.measure import Figure, Mark, Result, Stage, rate, under_load
from scripts.bench.subjects.subject import per_cpu
from scripts.bench.ws_load import CONNECTIONS, WsSends

OFFLINE_MARK = Mark(40_000, at_least=True)
ONE_WORKER_MARK = Mark(8_000, at_least=True)


def sends(name: str, stage: Stage) -> Result:
    return _measured(name, stage, None)


def offline_store(name: str, stage: Stage) -> Result:
    return _measured(name, stage, OFFLINE_MARK)


def one_worker(name: str, stage: Stage) -> Result:
    return _measured(name, stage, ONE_WORKER_MARK)


def _measured(name: str, stage: Stage, mark: Mark | None) -> Result:
    endpoint, sizes = stage.service.endpoint, stage.sizes
    share = max(1, CONNECTIONS // stage.loads)
    loads = [WsSends(endpoint, tag, sizes.seconds, sizes.warm_up, stage.manners, share) for tag in stage.tags(name)]
    seen = under_load(stage, loads)
    return seen.result(Figure("accepted", "sends/s", rate(seen.outcome), "rate", mark), *per_cpu(seen.cost))
