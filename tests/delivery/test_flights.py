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
    assert flights.may_leave, "nothing leaves"
    return flights.next(most)


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


def test_what_was_too_little_to_leave_beside_another_leaves_next_and_in_front_of_what_was_behind() -> None:
    flights, lane = Flights(), Lane()
    filled(flights, 1, lane, "first")
    first = left(flights)
    behind = filled(flights, FULL - 1, lane, "behind")
    few = filled(flights, 1, Lane(), "few")
    assert not flights.may_leave
    assert flights.count == FULL
    flights.over(first)
    since = filled(flights, 1, Lane(), "since")
    second = left(flights)
    assert ids(second.batch) == [*few, *behind]
    flights.over(second)
    assert ids(left(flights).batch) == since


def test_messages_of_many_lanes_leave_in_the_order_they_came() -> None:
    flights, lanes = Flights(), [None, Lane(), Lane()]
    sent = []
    for turn in range(3 * FULL):
        sent += filled(flights, 1, lanes[turn * turn % 3], f"{turn}-")
    first = left(flights)
    assert ids(first.batch) == sent[:FULL]
    flights.over(first)
    assert ids(left(flights).batch) == sent[FULL : 2 * FULL]


@pytest.mark.parametrize("lane", (Lane(), None))
@pytest.mark.parametrize("waiting", (2 * FULL, 400, 9_900))
def test_a_lane_that_is_never_empty_keeps_no_other_waiting(lane: Lane | None, waiting: int) -> None:
    """Each that has its answer sends the next. Whoever else sends one while a flight is under way is in the next."""
    flights = Flights()
    filled(flights, waiting, lane, "busy")
    going = left(flights)
    for round in range(20):
        [other] = filled(flights, 1, Lane(), f"other{round}-")
        flights.over(going)
        filled(flights, len(going.batch), lane, f"since{round}-")
        going = left(flights)
        assert other in ids(going.batch)
        assert not flights.may_leave


def test_a_lane_among_many_that_are_never_empty_is_not_kept_waiting_either() -> None:
    flights, lanes = Flights(), [Lane() for _ in range(20)]
    for lane in lanes:
        filled(flights, 60, lane, "busy")
    going = [left(flights)]
    calm, waited = Lane(), 0
    sent = filled(flights, 3, calm, "calm")
    while sent:
        while flights.may_leave:
            going.append(flights.next(FULL))
        flight = going.pop(0)
        flights.over(flight)
        for one in flight.batch:
            if one.lane is not calm:
                filled(flights, 1, one.lane, "since")
        sent = [id for id in sent if id not in ids(flight.batch)]
        waited += 1
    assert waited <= 20 * 60 // FULL + 2, "more than waited in front of it"


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
    filled(flights, 1)
    left(flights)
    filled(flights, FULL - 1, Lane())
    assert not flights.may_leave, "what was taken back fills a call"


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
        while flights.may_leave:
            flight = flights.next(dice.choice((FULL, 4 * FULL)))
            assert not under_way or sum(one.ops for one in flight.batch) >= FULL
            busy = {one.lane for other in under_way for one in other.batch}
            assert not busy & {one.lane for one in flight.batch}
            under_way.append(flight)
            for one in flight.batch:
                gone[one.lane].append(one.message.id)
        if under_way:
            flights.over(under_way.pop(dice.randrange(len(under_way))))
    assert (flights.count, flights.bytes) == (0, 0)
    assert gone == sent
