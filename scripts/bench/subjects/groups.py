"""Groups of 10, 100 and 1,000 members, all connected."""

from functools import partial

from scripts.bench.group_load import GroupLoad
from scripts.bench.measure import Figure, Result, Stage, rate, under_load
from scripts.bench.stats import ratio
from scripts.bench.subjects.subject import MEDIAN, NO_COPY, Subject, per_cpu, percentiles


def fan_out(members: int, name: str, stage: Stage) -> Result:
    sizes = stage.sizes
    load = GroupLoad(
        *(stage.service.endpoint, stage.tags(name)[0], sizes.seconds, sizes.warm_up, stage.manners),
        members=members,
        timed=sizes.timed,
    )
    seen = under_load(stage, [load])
    return seen.result(
        Figure("accepted", "msgs/s", rate(seen.outcome), "rate"),
        Figure("appended", "entries/s", rate(seen.outcome) * members, "rate"),
        Figure("CPU per member", "µs", ratio(seen.cost.per_message, members)),
        *percentiles(seen.outcome.samples, MEDIAN),
        per_cpu(seen.cost)[1],
    )


GROUPS = tuple(
    Subject(f"group-{members}", NO_COPY, partial(fan_out, members), anywhere=True) for members in (10, 100, 1000)
)
