"""Sizes that take turns: their order, what is set against what, and costs that are put together."""

import math

import pytest

from scripts.bench.crew import Outcome
from scripts.bench.measure import Cost, Mark, Seen
from scripts.bench.redis_info import CallStat
from scripts.bench.series import FLAT, figures, in_turns, per_message, result, total, without


def seen(micros: float, *, remarks: tuple[str, ...] = (), refused: bool = False) -> Seen:
    """1,000 messages in a second, each of which cost so much, half of it the server's."""
    half = 1000 * micros / 1e6 / 2
    cost = Cost(1000, 1000, 1.0, half, math.nan, half, 0.1, {"xadd": CallStat(1000, 2000.0)})
    return Seen(Outcome(0.0, 1.0, 1000, 1000, 0.1, 1.0), cost, remarks, refused)


def test_every_second_round_goes_backwards() -> None:
    order: list[str] = []

    def noted(name: str, number: int) -> Seen:
        order.append(f"{name}{number}")
        return seen(1.0)

    sizes = {name: lambda number, name=name: noted(name, number) for name in "abc"}
    measured = in_turns(3, sizes)
    assert order == ["a0", "b0", "c0", "c1", "b1", "a1", "a2", "b2", "c2"]
    assert [len(rounds) for rounds in measured.values()] == [3, 3, 3]


def test_a_size_is_set_against_the_first_of_its_own_round() -> None:
    # The second round ran on a machine twice as slow: the ratios do not know.
    measured = {"small": [seen(50), seen(100), seen(50)], "large": [seen(60), seen(120), seen(65)]}
    small, large, ratio = figures(measured, "CPU", "µs", per_message)
    assert (small.name, round(small.value)) == ("CPU, small", 50)
    assert (large.name, round(large.value)) == ("CPU, large", 65)
    assert ratio.name == "  of small"
    assert ratio.value == pytest.approx(1.2)
    assert ratio.mark == FLAT
    assert not FLAT.met(ratio.value)
    assert figures(measured, "CPU", "µs", per_message, Mark(1.3, at_least=False))[2].mark != FLAT


def test_a_result_has_the_cost_of_each_size_and_is_refused_with_any_of_them() -> None:
    measured = {"small": [seen(50), seen(50)], "large": [seen(60, remarks=("full",)), seen(60, remarks=("full",))]}
    made = result(measured)
    assert made.cost is None
    assert made.remarks == ("large: full",)
    assert made.parts["large"].messages == 2000
    assert made.parts["large"].per_message == pytest.approx(60)
    assert made.parts["large"].calls == {"xadd": CallStat(2000, 4000.0)}
    assert not made.refused
    assert result({"small": [seen(1, refused=True)]}).refused


def test_what_goes_on_anyway_is_taken_away_at_its_rate() -> None:
    load = total([seen(100).cost, seen(100).cost])  # 2 s, 0.1 s of workers and of the server
    idle = Cost(0, 0, 4.0, 0.04, math.nan, 0.02, 0.0, {})
    less = without(load, idle)
    assert less.workers == pytest.approx(0.1 - 0.02)
    assert less.server == pytest.approx(0.1 - 0.01)
    assert without(load, Cost(0, 0, 0.0, 0, 0, 0, 0, {})) == load
