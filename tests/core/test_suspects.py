"""Suspects: a worker is dead when its counter stood still for as long as oneself was seen alive."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from service.core.suspects import Suspects

PATIENCE, TICK = 10.0, 3.0


def looking(times: Iterable[float], counter: str = "5") -> tuple[Suspects, list[list[tuple[str, str]]]]:
    suspects = Suspects(PATIENCE, TICK)
    return suspects, [suspects.look({"w-1": counter}, now) for now in times]


def test_a_worker_whose_counter_stands_still_is_dead_after_the_patience() -> None:
    _, found = looking((0, 3, 6, 9, 12))
    assert found == [[], [], [], [], [("w-1", "5")]]


def test_it_stays_dead_until_somebody_has_done_something_about_it() -> None:
    suspects, _ = looking((0, 3, 6, 9, 12))
    assert suspects.look({"w-1": "5"}, 15) == [("w-1", "5")]
    assert suspects.look({}, 18) == []


def test_a_counter_that_moves_is_alive() -> None:
    suspects = Suspects(PATIENCE, TICK)
    assert not [dead for n in range(20) for dead in suspects.look({"w-1": str(n)}, 3.0 * n)]


def test_one_beat_begins_the_patience_anew() -> None:
    suspects, _ = looking((0, 3, 6, 9))
    assert suspects.look({"w-1": "6"}, 12) == []
    assert suspects.look({"w-1": "6"}, 15) == []


def test_a_worker_that_has_just_come_is_not_suspected() -> None:
    suspects, _ = looking((0, 3, 6, 9))
    assert suspects.look({"w-1": "5", "w-2": "0"}, 12) == [("w-1", "5")]


def test_a_worker_that_was_away_begins_anew() -> None:
    suspects, _ = looking((0, 3, 6, 9))
    suspects.look({}, 12)
    assert suspects.look({"w-1": "5"}, 15) == []


def test_an_hour_in_which_one_slept_oneself_counts_as_one_tick() -> None:
    _, found = looking((0, 3, 3603, 3606))
    assert found == [[], [], [], []]


def test_time_in_which_ones_own_heartbeat_failed_counts_against_nobody() -> None:
    suspects, _ = looking((0, 3, 6))
    suspects.interrupt()
    assert suspects.look({"w-1": "5"}, 9) == []
    assert suspects.look({"w-1": "5"}, 12) == []
    assert suspects.look({"w-1": "5"}, 15) == [("w-1", "5")]


def test_a_clock_that_stands_still_kills_nobody() -> None:
    _, found = looking([7.0] * 50)
    assert not any(found)


@given(st.lists(st.floats(0.1, 10_000), max_size=30))
def test_nobody_dies_before_one_has_lived_through_the_patience_oneself(pauses: list[float]) -> None:
    suspects, now, lived = Suspects(PATIENCE, TICK), 0.0, 0.0
    suspects.look({"w-1": "5"}, now)
    for pause in pauses:
        now += pause
        lived += min(pause, 2 * TICK)
        if suspects.look({"w-1": "5"}, now):
            assert lived >= PATIENCE - 1e-6
