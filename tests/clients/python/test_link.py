"""When to connect, decided without a clock: fed with times."""

import pytest
from inboxd_client.link import Changed, Drop, Effect, Link, Open, Ping
from inboxd_client.states import State
from inboxd_client.timing import Timing

TIMING = Timing()


def longest(low: float, high: float) -> float:
    return high


def link(*, renews: bool = False) -> Link:
    return Link(TIMING, longest, renews=renews)


def live(at: float = 0.0, *, renews: bool = False) -> Link:
    made = link(renews=renews)
    made.connect(at)
    made.welcomed(1, 20.0, at)
    made.went_live(1)
    assert made.state is State.LIVE
    return made


def wait_of(effects: list[Effect]) -> float | None:
    (wait,) = [effect.wait for effect in effects if isinstance(effect, Changed)]
    return wait


def opened(effects: list[Effect]) -> list[Open]:
    return [effect for effect in effects if isinstance(effect, Open)]


def test_it_goes_from_idle_over_connecting_and_replaying_to_live() -> None:
    made = link()
    assert made.connect(0) == [Changed(State.CONNECTING, State.IDLE), Open(1)]
    assert made.welcomed(1, 20, 1) == [Changed(State.REPLAYING, State.CONNECTING)]
    assert made.went_live(1) == [Changed(State.LIVE, State.REPLAYING)]


def test_the_wait_doubles_with_each_try_up_to_twenty_seconds() -> None:
    made = link()
    made.connect(0)
    waits = []
    for number in range(1, 9):
        waits.append(wait_of(made.ended(number, None, "refused", 0)))
        assert made.deadline is not None
        assert opened(made.tick(made.deadline)) == [Open(number + 1)]
    assert waits == [1, 2, 4, 8, 16, 20, 20, 20]


def test_the_wait_is_anything_below_its_ceiling() -> None:
    asked: list[tuple[float, float]] = []

    def quarter(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.25

    made = Link(TIMING, quarter)
    made.connect(0)
    assert wait_of(made.ended(1, None, "", 0)) == 0.25
    assert asked == [(0.0, 1.0)]


def test_a_connection_that_lasted_starts_the_waits_anew() -> None:
    made = live(0)
    assert wait_of(made.ended(1, 1012, "", 5)) == 0.5


def test_a_connection_that_ended_at_once_does_not() -> None:
    made = live(0)
    assert wait_of(made.ended(1, 1012, "", 4.9)) == 1


def test_the_service_says_when_to_come_back() -> None:
    made = live(0)
    made.closing(1, 3.5)
    assert wait_of(made.ended(1, 1012, "", 1)) == 3.5
    assert opened(made.tick(4.5))
    assert wait_of(made.ended(2, None, "", 5)) == 2  # once


@pytest.mark.parametrize("code", (None, 1000, 1006, 1011, 1012, 1013, 4000, 4001, 4003, 4499))
def test_it_comes_back_after_every_code_below_4500(code: int | None) -> None:
    made = live()
    made.ended(1, code, "", 1)
    assert made.state is State.RECONNECTING


@pytest.mark.parametrize("code", (4500, 4501, 4503, 4509, 4510, 4999))
@pytest.mark.parametrize("when", ("connecting", "live"))
def test_it_stays_away_after_4500_and_beyond_until_it_is_told_to_connect(code: int, when: str) -> None:
    made = live() if when == "live" else link()
    made.connect(0)
    assert made.ended(1, code, "why", 1)[-1] == Changed(State.FAILED, State(when), code=code, reason="why")
    assert made.deadline is None
    assert made.failure is not None
    assert (made.failure.code, made.failure.reason) == (code, "why")
    assert made.wake(2) == made.set_online(True, 2) == made.tick(99) == []
    assert opened(made.connect(3)) == [Open(2)]
    assert made.failure is None


def test_a_refused_token_gets_one_more_try_with_another() -> None:
    made = link(renews=True)
    made.connect(0)
    assert made.ended(1, 4501, "", 1) == [Open(2, fresh=True)]
    made.ended(2, 4501, "", 2)
    assert made.state is State.FAILED


def test_a_token_that_is_over_is_replaced_at_once() -> None:
    made = live(0, renews=True)
    assert opened(made.ended(1, 4002, "", 1)) == [Open(2, fresh=True)]


def test_a_token_that_is_over_before_it_was_taken_is_replaced_after_a_wait() -> None:
    made = link(renews=True)
    made.connect(0)
    assert wait_of(made.ended(1, 4002, "", 0)) == 1
    assert opened(made.tick(1)) == [Open(2, fresh=True)]


def test_a_silent_service_is_pinged_then_dropped() -> None:
    made = live(0)
    assert made.tick(19.9) == []
    assert made.tick(20) == [Ping()]
    assert made.tick(29.9) == []
    assert made.tick(30) == [Drop(1), Changed(State.RECONNECTING, State.LIVE, 0.5, reason="silent")]


def test_anything_that_comes_counts_as_life() -> None:
    made = live(0)
    made.tick(20)
    made.heard(1, 25)
    assert made.deadline == 45
    assert made.tick(45) == [Ping()]


def test_a_try_without_welcome_is_given_up() -> None:
    made = link()
    made.connect(0)
    made.heard(1, 9)  # an error frame, say: no welcome
    assert made.tick(10)[0] == Drop(1)
    assert made.state is State.RECONNECTING


def test_what_an_older_connection_says_does_nothing() -> None:
    made = live(0)
    made.drop(1)
    made.tick(made.deadline or 0)
    before = (made.state, made.deadline)
    assert made.ended(1, 4509, "late", 2) == made.welcomed(1, 20, 2) == made.went_live(1) == []
    made.heard(1, 2)
    made.closing(1, 100)
    assert (made.state, made.deadline) == before


def test_without_a_network_nothing_is_tried_and_with_it_at_once() -> None:
    made = live(0)
    assert made.set_online(False, 1) == [Drop(1), Changed(State.OFFLINE, State.LIVE, reason="offline")]
    assert made.deadline is None
    assert made.connect(2) == []
    assert opened(made.set_online(True, 3)) == [Open(2)]


def test_whoever_is_told_to_connect_without_a_network_waits_for_it() -> None:
    made = link()
    made.set_online(False, 0)
    assert made.connect(0) == [Changed(State.OFFLINE, State.IDLE)]
    assert opened(made.set_online(True, 1)) == [Open(1)]


@pytest.mark.parametrize("act", ("online", "wake", "connect"))
def test_a_network_that_is_back_and_somebody_who_looks_cut_a_wait_short(act: str) -> None:
    made = live(0)
    made.ended(1, 1012, "", 1)
    effects = {"online": lambda: made.set_online(True, 2), "wake": lambda: made.wake(2)}
    assert opened(effects.get(act, lambda: made.connect(2))()) == [Open(2)]


def test_closed_is_for_good() -> None:
    made = live(0)
    assert made.close() == [Changed(State.CLOSED, State.LIVE)]
    assert made.ended(1, 1000, "", 1) == made.tick(99) == made.wake(3) == made.drop(3) == made.fail(None, "") == []
    assert made.close() == []
