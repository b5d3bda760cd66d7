"""What processes cost, and when a load is refused."""

import math
import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.crew import Outcome
from scripts.bench.peers import reading
from scripts.bench.peers.reading import Found, Loaded, none, shares, tally


def outcome(**changes: object) -> Outcome:
    values: dict[str, object] = {"started": 1.0, "ended": 3.0, "done": 100, "total": 200, "cpu": 1.0, "wall": 2.0}
    return Outcome(**(values | changes))  # type: ignore[arg-type]


@given(st.integers(0, 500), st.integers(1, 9))
def test_shares_are_everything_once_and_as_even_as_can_be(count: int, parts: int) -> None:
    dealt = shares(count, parts)
    assert [number for share in dealt for number in share] == list(range(count))
    assert len(dealt) == min(count, parts)
    assert max(map(len, dealt), default=0) - min(map(len, dealt), default=0) <= 1


def test_the_rate_is_of_the_window_and_the_cost_of_all_that_was_sent() -> None:
    loaded = Loaded(outcome(), cpu=0.5, share=0.4)
    assert loaded.rate == 50
    assert loaded.cpu_per_100k == 250


def test_a_load_that_had_nine_tenths_of_a_core_is_refused() -> None:
    assert Loaded(outcome(), 0.5, 0.9).found(x=1.0).refused
    assert not Loaded(outcome(), 0.5, 0.89).found(x=1.0).refused
    assert not none("x").refused
    assert math.isnan(none("x").figures["x"])


def test_a_load_that_was_late_is_said_and_so_are_faults() -> None:
    late = outcome(late=[0.02] * 100, faults=Counter(repeated=3))
    found = Loaded(late, 0.5, 0.4).found(x=1.0)
    words = ("the load itself was late by 20.0 ms at p99",)
    assert found == Found({"x": 1.0}, 0.4, {"repeated": 3}, words, messages=200)


def test_a_machine_that_others_worked_on_is_said() -> None:
    assert Loaded(outcome(), 0.5, 0.4, others=0.05).found(x=1.0).remarks == ()
    [words] = Loaded(outcome(), 0.5, 0.4, others=0.25).found(x=1.0).remarks
    assert words.startswith("others took 25% of the machine")


def test_cpu_and_memory_of_processes_that_are_gone_count_as_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert set(reading.cpu([os.getpid(), gone.pid])) == {os.getpid()}
    assert reading.resident([os.getpid(), gone.pid]) > reading.resident([gone.pid]) == 0


def test_tallies_add_up() -> None:
    assert tally([{"a": 1}, {"a": 2, "b": 1}]) == {"a": 3, "b": 1}
