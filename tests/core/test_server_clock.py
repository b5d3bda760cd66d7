"""The server's clock as a worker knows it: it goes on between two looks, and never back."""

from service.core.server_clock import MOST_AHEAD, ServerClock

HOUR = 3600 * 1000


def test_before_it_was_read_it_says_nothing() -> None:
    clock = ServerClock()
    assert (clock.now(5.0), clock.least(5.0)) == (0, 0)


def test_it_goes_on_between_two_looks() -> None:
    clock = ServerClock()
    clock.read(1_000_000, 10.0)
    assert (clock.now(12.5), clock.least(12.5)) == (1_002_500, 1_002_500)


def test_a_clock_that_is_ahead_is_followed() -> None:
    clock = ServerClock()
    clock.read(1_000_000, 10.0)
    clock.read(1_000_000 + HOUR, 11.0)
    assert clock.now(11.0) == clock.least(11.0) == 1_000_000 + HOUR


def test_after_a_clock_that_is_behind_no_entry_is_older_than_what_was_reached() -> None:
    clock = ServerClock()
    clock.read(10 * HOUR, 10.0)
    clock.read(9 * HOUR, 20.0)
    assert clock.now(20.0) == 9 * HOUR, "deadlines are by the clock as it is"
    assert clock.least(20.0) == 10 * HOUR + 10_000
    assert clock.least(21.0) == 10 * HOUR + 10_000, "it waits there"
    assert clock.least(20.0 + 3600 + 11) == 10 * HOUR + 11_000, "until the clock has come so far"


def test_what_was_reached_outlives_several_looks_and_further_steps_back() -> None:
    clock = ServerClock()
    clock.read(10 * HOUR, 0.0)
    clock.read(9 * HOUR, 1.0)
    clock.read(9 * HOUR + 1000, 2.0)
    clock.read(8 * HOUR, 3.0)
    assert clock.least(3.0) == 10 * HOUR + 1000


def test_a_clock_that_was_wrong_by_more_than_a_day_binds_nobody() -> None:
    clock = ServerClock()
    clock.read(10 * HOUR + MOST_AHEAD, 0.0)
    clock.read(9 * HOUR, 1.0)
    assert clock.least(1.0) == 9 * HOUR
