"""One thing in several sizes, measured in turns within one run, so that the machine's moods fall on all of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from scripts.bench.measure import Cost, Figure, Mark, Result, Seen, rate
from scripts.bench.redis_info import NONE, CallStat, CallStats
from scripts.bench.stats import ratio, spread

FLAT = Mark(1.15, at_least=False)
"""A figure may grow by so much and still count as flat."""

Measured = Mapping[str, Sequence[Seen]]
"""For each size what was seen in each round. The first size is what the others are set against."""

Per = Callable[[Seen], float]


def in_turns(rounds: int, sizes: Mapping[str, Callable[[int], Seen]]) -> Measured:
    """Each size is given the number of the round. Every second round goes backwards: what was before may matter."""
    seen: dict[str, list[Seen]] = {name: [] for name in sizes}
    for number in range(rounds):
        order = list(sizes.items())
        for name, measure in order[:: -1 if number % 2 else 1]:
            seen[name].append(measure(number))
    return seen


def per_message(seen: Seen) -> float:
    return seen.cost.per_message


def figures(measured: Measured, what: str, unit: str, per: Per, mark: Mark | None = FLAT) -> list[Figure]:
    """The figure of each size, and how much it is of the first size's: the median over the rounds."""
    first = next(iter(measured))
    made = []
    for name, seen in measured.items():
        made.append(Figure(f"{what}, {name}", unit, spread([per(one) for one in seen]).median))
        if name != first:
            ratios = [ratio(per(one), per(base)) for one, base in zip(seen, measured[first], strict=True)]
            made.append(Figure(f"  of {first}", "times", spread(ratios).median, None, mark))
    return made


def result(measured: Measured, *made: Figure) -> Result:
    """With the costs of each size, and all remarks once."""
    every = list(chain.from_iterable(measured.values()))
    said = [f"{name}: {remark}" for name, seen in measured.items() for one in seen for remark in one.remarks]
    costs = {name: total([one.cost for one in seen]) for name, seen in measured.items()}
    return Result(made, None, tuple(dict.fromkeys(said)), costs, refused=any(one.refused for one in every))


def rate_of(seen: Seen) -> float:
    return rate(seen.outcome)


def total(costs: Sequence[Cost]) -> Cost:
    """Several costs as one."""
    return Cost(
        messages=sum(cost.messages for cost in costs),
        appends=sum(cost.appends for cost in costs),
        wall=sum(cost.wall for cost in costs),
        workers=sum(cost.workers for cost in costs),
        parent=sum(cost.parent for cost in costs),
        server=sum(cost.server for cost in costs),
        load=sum(cost.load for cost in costs),
        calls=_all_calls([cost.calls for cost in costs]),
        others=sum(cost.others for cost in costs) / len(costs),
    )


def _all_calls(each: Sequence[CallStats]) -> CallStats:
    sums: dict[str, CallStat] = {}
    for name, stat in chain.from_iterable(calls.items() for calls in each):
        sums[name] = sums.get(name, NONE).plus(stat)
    return sums


def without(cost: Cost, idle: Cost) -> Cost:
    """What of a cost is left when what went on anyway, at the rate seen while idle, is taken away."""
    share = ratio(cost.wall, idle.wall)
    if math.isnan(share):
        return cost
    return replace(cost, workers=cost.workers - idle.workers * share, server=cost.server - idle.server * share)
