"""The arithmetic of the report."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least sample that `share` (0 to 1) of all do not exceed."""
    if not samples:
        return math.nan
    ordered = sorted(samples)
    # Rounded first: 0.999 * 1000 is a hair above 999, and its ceiling would be the next rank.
    rank = math.ceil(round(share * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


def ratio(value: float, base: float) -> float:
    """`value / base`; nan without a base."""
    return value / base if base else math.nan


@dataclass(frozen=True)
class Spread:
    """One figure over several runs."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(statistics.median(known), min(known), max(known))
