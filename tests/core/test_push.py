"""Whether a user is told, under which id, and when it is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import START, Cursor
from service.core.push import (
    PARTITIONS,
    Pending,
    Told,
    Verdict,
    judge,
    partition_of,
    push_id,
    retry_after,
    wait_after,
)

FIRST, MOST = 5.0, 600.0


def told(best: Cursor, newest_ms: int = 1000) -> Told:
    return Told(best, Cursor(newest_ms, 6))


def waiting(first_ms: int, told: Told | None = None, best: Cursor = START) -> Pending:
    return Pending(best, told, Cursor(first_ms, 6))


def test_what_waits_for_long_enough_is_told() -> None:
    assert judge(waiting(1000), 11_000, 10_000) == (Verdict.PUSH, 0)


def test_what_waits_for_less_is_looked_at_again_when_it_is_due() -> None:
    assert judge(waiting(1000), 10_999, 10_000) == (Verdict.LATER, 11_000)


def test_where_nothing_waits_there_is_nothing_to_do() -> None:
    assert judge(Pending(START, None), 10_000, 0) == (Verdict.NOTHING, 0)


def test_a_burst_is_told_once_and_the_next_one_again() -> None:
    best = Cursor(900, 5)
    assert judge(waiting(1000, told=told(best), best=best), 99_000, 0) == (Verdict.NOTHING, 0)
    assert judge(waiting(1000, told=told(START), best=best), 99_000, 0) == (Verdict.PUSH, 0)


def test_a_user_who_has_never_acked_is_told_once() -> None:
    assert judge(waiting(1000, told=told(START)), 99_000, 0) == (Verdict.NOTHING, 0)
    assert judge(waiting(1000, told=None), 99_000, 0) == (Verdict.PUSH, 0)


def test_once_all_that_was_told_of_is_gone_what_came_after_is_told() -> None:
    assert judge(waiting(1001, told=told(START, 1000)), 99_000, 0) == (Verdict.PUSH, 0)
    assert judge(waiting(999, told=told(START, 1000)), 99_000, 0) == (Verdict.NOTHING, 0), "some of it is there"


@pytest.mark.parametrize("raw", (None, b"", b"1-1", b"1-1 x", b"1-1 2-2 3-3", b"no cursor"))
def test_a_note_that_cannot_be_read_tells_of_nothing(raw: bytes | None) -> None:
    assert Told.of(raw) is None
    assert Told.of(str(told(START)).encode()) == told(START)


def test_a_push_keeps_its_id_over_tries_and_no_two_rings_share_one() -> None:
    one, other = Cursor(1, 1), Cursor(1, 2)
    assert push_id("bob", one, other) == push_id("bob", one, other)
    ids = {push_id(user, best, first) for user in ("bob", "carol") for best in (START, one) for first in (one, other)}
    assert len(ids) == 8
    assert not any("." in id for id in ids)  # which the signature separates by


def test_users_are_spread_in_a_way_that_may_never_change() -> None:
    assert [partition_of(user) for user in ("alice", "bob", "carol")] == [11, 1, 12]
    assert {partition_of(f"u{n}") for n in range(500)} == set(range(PARTITIONS))


@given(st.integers(1, 100), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_at_least_what_was_asked_for_and_never_beyond_the_most(
    failures: int, asked: float, chance: float
) -> None:
    wait = wait_after(failures, asked, FIRST, MOST, chance)
    assert 0 < wait <= MOST
    assert wait >= min(asked, MOST)


def test_waits_grow_with_the_failures_and_no_two_are_alike() -> None:
    assert [wait_after(n, 0, FIRST, MOST, 0.0) for n in (1, 2, 3, 20)] == [5, 10, 20, 600]
    assert wait_after(2, 0, FIRST, MOST, 0.999) == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize(
    ("value", "seconds"),
    (
        (None, 0), ("120", 120), ("0", 0), ("-1", 0), ("1.5", 0), ("soon", 0), ("9" * 400, 0), ("¹", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
    ),
)  # fmt: skip
def test_a_retry_after_that_is_no_number_of_seconds_counts_for_nothing(value: str | None, seconds: float) -> None:
    assert retry_after(value) == seconds
