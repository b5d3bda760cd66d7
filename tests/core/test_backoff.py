"""Back-off: longer and longer, up to a bound, never the same for everybody."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.backoff import Backoff

CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.lists(CHANCES, min_size=1, max_size=60))
def test_a_wait_is_longer_than_nothing_and_within_its_span(chances: list[float]) -> None:
    backoff = Backoff(first=0.2, most=5.0)
    for tries, chance in enumerate(chances):
        assert 0 < backoff.wait(chance) <= min(5.0, 0.2 * 2.0**tries)


def test_spans_double_up_to_the_most() -> None:
    backoff = Backoff(first=0.2, most=1.0)
    assert [backoff.wait(0.0) for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_chance_spreads_the_waits_over_the_whole_span() -> None:
    assert Backoff(first=1.0, most=1.0).wait(0.75) == 0.25


def test_a_success_begins_anew() -> None:
    backoff = Backoff(first=0.2, most=5.0)
    for _ in range(4):
        backoff.wait(0.0)
    backoff.reset()
    assert backoff.wait(0.0) == 0.2


def test_thousands_of_failures_are_no_overflow() -> None:
    backoff = Backoff(first=0.2, most=5.0, tries=10**6)
    assert backoff.wait(0.0) == 5.0
