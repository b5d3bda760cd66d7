"""Flights: what may leave beside what is under way, and in which order what may not comes."""

import random
from collections import defaultdict
from collections.abc import Sequence

import pytest

from service.core.lane import Lane
from service.delivery.flights import FULL, MOST_FLIGHTS, Flight, Flights, Submission
from tests.delivery.rig import a_message


def a_submission(id: str, lane: Lane | None = None, ops: int = 1) -> Submission:
    return Submission(a_message(id), lambda _: None, lane, ops)


def filled(flights: Flights, count: int, lane: Lane | None = None, begin: str = "m") -> list[str]:
    ids = [f"{begin}{n}" for n in range(count)]
    for id in ids:
        flights.add(a_submission(id, lane))
    return ids


def left(flights: Flights, most: int = FULL) -> Flight:
    flight = flights.next(most) if flights.may_leave else None
    assert flight is not None, "nothing leaves"
    return flight


def ids(submissions: Sequence[Submission]) -> list[str]:
    return [submission.message.id for submission in submissions]


def test_alone_a_single_message_leaves_and_of_many_what_fits() -> None:
    flights = Flights()
    assert not flights.may_leave
    sent = filled(flights, FULL + 1)
    first = left(flights)
    flights.over(first)
    assert ids(first.batch) == sent[:-1]
    second = left(flights)
    assert ids(second.batch) == sent[-1:]
    flights.over(second)
    assert flights.idle


def test_a_message_is_never_split_and_so_the_last_may_pass_the_bound() -> None:
    flights = Flights()
    for id, ops in (("m0", FULL - 1), ("m1", 100), ("m2", 1)):
        flights.add(a_submission(id, ops=ops))
    assert ids(left(flights).batch) == ["m0", "m1"]


def test_beside_another_only_a_full_call_leaves_and_no_more_than_two_are_under_way() -> None:
    flights = Flights()
    filled(flights, 1)
    left(flights)
    filled(flights, FULL - 1, Lane())
    assert not flights.may_leave
    filled(flights, 1, Lane())
    assert len(left(flights).batch) == FULL
    filled(flights, 3 * FULL)
    assert MOST_FLIGHTS == 2
    assert not flights.may_leave


def test_appends_fill_a_call_not_messages() -> None:
    flights = Flights()
    filled(flights, 1)
    left(flights)
    flights.add(a_submission("many", Lane(), ops=FULL))
    assert ids(left(flights).batch) == ["many"]


@pytest.mark.parametrize("lane", (Lane(), None))
def test_what_is_of_a_lane_under_way_waits_behind_it_and_comes_before_what_the_lane_sent_since(
    lane: Lane | None,
) -> None:
    flights = Flights()
    filled(flights, 1, lane, "first")
    first = left(flights)
    behind = filled(flights, 3, lane, "behind")
    others = filled(flights, FULL, Lane(), "other")
    second = left(flights)
    assert ids(second.batch) == others
    since = filled(flights, 2, lane, "since")
    flights.over(second)
    assert not flights.may_leave
    flights.over(first)
    third = left(flights)
    assert ids(third.batch) == [*behind, *since]
    flights.over(third)
    assert flights.idle


def test_where_too_little_is_left_beside_another_it_stays_and_leaves_with_what_comes() -> None:
    flights, lane = Flights(), Lane()
    filled(flights, 1, lane, "first")
    first = left(flights)
    behind = filled(flights, FULL - 1, lane, "behind")
    few = filled(flights, 1, Lane(), "few")
    assert flights.next(FULL) is None
    assert flights.count == FULL
    assert not flights.may_leave, "it would be looked through again for every message that comes"
    flights.over(first)
    assert ids(left(flights).batch) == [*behind, *few]


def test_what_is_taken_back_is_counted_out() -> None:
    flights, lane, other = Flights(), Lane(), Lane()
    mine, theirs = filled(flights, 3, lane), filled(flights, 2, other, "their")
    each = len(a_message("m").body)
    assert (flights.count, flights.bytes) == (5, 5 * each)
    assert ids(flights.take_of({lane})) == mine
    assert (flights.count, flights.bytes) == (2, 2 * each)
    assert ids(flights.take_all()) == theirs
    assert flights.idle
    assert flights.bytes == 0
    assert not flights.may_leave


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_message_leaves_once_and_those_of_a_lane_one_behind_the_other(seed: int) -> None:
    dice, flights = random.Random(seed), Flights()
    lanes = [None, *(Lane() for _ in range(dice.choice((1, 3, 200))))]
    sent: defaultdict[Lane | None, list[str]] = defaultdict(list)
    gone: defaultdict[Lane | None, list[str]] = defaultdict(list)
    under_way: list[Flight] = []
    todo = 3000
    while todo or not flights.idle:
        for _ in range(min(todo, dice.choice((0, 1, 50, 400)))):
            todo -= 1
            lane = dice.choice(lanes)
            sent[lane].append(str(todo))
            flights.add(a_submission(str(todo), lane, dice.choice((1, 2))))
        while flights.may_leave and (flight := flights.next(dice.choice((FULL, 4 * FULL)))) is not None:
            busy = {one.lane for other in under_way for one in other.batch}
            assert not busy & {one.lane for one in flight.batch}
            under_way.append(flight)
            for one in flight.batch:
                gone[one.lane].append(one.message.id)
        if under_way:
            flights.over(under_way.pop(dice.randrange(len(under_way))))
    assert (flights.count, flights.bytes) == (0, 0)
    assert gone == sent
