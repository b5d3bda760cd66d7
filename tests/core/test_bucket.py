"""Buckets hold a rate over any sequence of draws, and their number is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.bucket import Bucket, Buckets, Rate

RATE = Rate(50.0, 200)


def test_a_new_bucket_holds_a_burst_and_no_more() -> None:
    bucket = Bucket(RATE, 0.0)
    assert (bucket.left(0.0), bucket.wait(0.0), bucket.full(0.0)) == (200, 0.0, True)
    assert bucket.left(1000.0) == 200


def test_it_fills_at_its_rate() -> None:
    bucket = Bucket(RATE, 0.0)
    bucket.draw(200, 0.0)
    assert bucket.left(0.0) == 0
    assert bucket.wait(0.0) == pytest.approx(0.02)
    assert bucket.left(1.0) == 50
    assert bucket.left(4.0) == 200


def test_a_draw_of_more_than_it_holds_leaves_a_debt_that_is_paid_first() -> None:
    bucket = Bucket(RATE, 0.0)
    bucket.draw(199, 0.0)
    assert bucket.wait(0.0) == 0.0, "not empty: a batch is served"
    bucket.draw(1000, 0.0)
    assert bucket.wait(0.0) == pytest.approx(20.0)
    assert bucket.left(19.9) == 0
    assert bucket.left(20.1) > 0


def test_those_who_wait_take_their_turns() -> None:
    bucket = Bucket(Rate(10.0, 1), 0.0)
    assert [bucket.reserve(0.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket = Bucket(RATE, 10.0)
    bucket.draw(200, 10.0)
    assert bucket.left(5.0) == 0
    assert bucket.left(11.0) == 50


def test_a_window_is_the_time_in_which_it_fills() -> None:
    assert (RATE.window, Rate(50.0, 1).window, Rate(3.0, 10).window) == (4, 1, 4)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), max_size=60))
def test_over_any_time_no_more_is_sent_than_the_rate_and_one_burst_and_one_batch(
    tries: list[tuple[float, int]],
) -> None:
    now, sent, largest = 0.0, 0, 0
    bucket = Bucket(RATE, now)
    for pause, count in tries:
        now += pause
        if bucket.wait(now) <= 0:
            bucket.draw(count, now)
            sent += count
            largest = max(largest, count)
    assert sent <= RATE.burst + RATE.rate * now + largest + 1e-6


@given(st.lists(st.floats(0, 0.2), max_size=100))
def test_reserved_sends_keep_the_rate(pauses: list[float]) -> None:
    now, times = 0.0, []
    bucket = Bucket(Rate(10.0, 5), now)
    for pause in pauses:
        now += pause
        times.append(now + bucket.reserve(now))
    for place, at in enumerate(times):
        within = [other for other in times[: place + 1] if other > at - 1.0]
        assert len(within) <= 5 + 10 + 1


def test_a_name_keeps_its_bucket_while_it_is_not_full() -> None:
    buckets = Buckets(RATE, 10)
    buckets.of("bob", 0.0).draw(100, 0.0)
    assert buckets.of("bob", 1.0).left(1.0) == 150
    assert buckets.of("eve", 1.0).left(1.0) == 200


def test_full_buckets_are_dropped_when_others_come() -> None:
    buckets = Buckets(RATE, 1000)
    for number in range(100):
        buckets.of(f"user{number}", 0.0).draw(1, 0.0)
    assert len(buckets) == 100
    buckets.of("late", 10.0)
    assert len(buckets) == 1


def test_their_number_is_bounded_and_those_used_last_stay() -> None:
    buckets = Buckets(RATE, 10)
    buckets.of("bob", 0.0).draw(200, 0.0)
    for number in range(1000):
        buckets.of(f"user{number}", 0.0).draw(1, 0.0)
        assert buckets.of("bob", 0.0).left(0.0) == 0, "in use all the time"
    assert len(buckets) == 10
