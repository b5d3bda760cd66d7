"""Lanes: after a send of unknown outcome, a connection's order holds."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.lane import Lane


def failed(*ids: str) -> Lane:
    lane = Lane()
    for id in ids:
        lane.fail(id)
    return lane


def test_without_a_failure_everything_goes_on() -> None:
    lane = Lane()
    assert lane.admits("a")
    assert lane.admits("b")
    lane.settle("a")
    assert lane.admits("c")


def test_after_a_failure_every_other_send_is_refused() -> None:
    lane = failed("a")
    assert not lane.admits("b")
    assert lane.failed == ["a"]


def test_the_failed_one_opens_the_lane_when_it_comes_again() -> None:
    lane = failed("a")
    assert lane.admits("a")
    assert lane.admits("b")


def test_several_that_failed_come_again_in_their_order() -> None:
    lane = failed("a", "b", "c")
    assert not lane.admits("b")
    assert lane.admits("a")
    assert not lane.admits("c")
    assert lane.admits("b")
    assert lane.admits("c")
    assert lane.admits("d")


def test_one_that_fails_again_keeps_its_place() -> None:
    lane = failed("a", "b")
    assert lane.admits("a")
    lane.fail("a")
    assert lane.failed == ["a", "b"]
    assert not lane.admits("b")
    assert lane.admits("a")


def test_one_that_failed_and_then_got_its_answer_has_no_place_left() -> None:
    lane = failed("a")
    lane.admits("a")
    lane.settle("a")
    lane.fail("b")
    lane.fail("a")
    assert lane.failed == ["b", "a"]


def test_places_are_those_of_admission_whatever_fails_first() -> None:
    lane = Lane()
    for id in "abc":
        assert lane.admits(id)
    lane.fail("c")
    lane.fail("a")
    assert lane.failed == ["a", "c"]


def test_one_that_was_not_tried_need_not_come_again() -> None:
    lane = Lane()
    for id in "ab":
        assert lane.admits(id)
    lane.fail("a")
    lane.refuse("b")
    assert lane.failed == ["a"]


def test_one_whose_repeat_was_not_tried_is_still_unknown() -> None:
    lane = failed("a", "b")
    assert lane.admits("a")
    assert lane.admits("b")
    lane.fail("a")
    lane.refuse("b")
    assert lane.failed == ["a", "b"]


def test_skipping_the_failed_one_opens_the_lane() -> None:
    lane = failed("a")
    lane.skip("a")
    assert lane.admits("b")


def test_skipping_one_that_has_not_failed_changes_nothing() -> None:
    lane = failed("a")
    lane.skip("b")
    assert lane.failed == ["a"]


def test_failing_twice_is_failing_once() -> None:
    assert failed("a", "b", "a").failed == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(("admits", "fail", "settle", "refuse", "skip"))), max_size=40
    )
)
def test_whatever_happens_only_the_next_failed_one_may_go_on(steps: list[tuple[str, str]]) -> None:
    lane = Lane()
    for id, what in steps:
        before = lane.failed
        allowed = getattr(lane, what)(id)
        if what == "admits":
            assert allowed == (not before or id == before[0])
        assert len(set(lane.failed)) == len(lane.failed)


class Sending:
    """A connection whose batches fail at random, and a client that sends again what was refused, in order."""

    def __init__(self, total: int) -> None:
        self.lane = Lane()
        self.unsent = list(range(total))
        self.queue: list[int] = []
        self.log: list[int] = []  # what is in the inbox, in the order it came there

    def submit(self, count: int) -> None:
        for _ in range(min(count, len(self.unsent))):
            number = self.unsent.pop(0)
            assert self.lane.admits(str(number)), "the client kept to the order"
            self.queue.append(number)

    def commit(self, size: int, written: int | None) -> None:
        """One batch. `written` None: answered; else unknown, with so many of it in."""
        batch, self.queue = self.queue[:size], self.queue[size:]
        for number in batch[:written]:
            if number not in self.log:
                self.log.append(number)
        if written is None:
            for number in batch:
                self.lane.settle(str(number))
            return
        for number in batch:
            self.lane.fail(str(number))
        for number in self.queue if batch else ():
            self.lane.refuse(str(number))
        if batch:
            self.unsent = sorted({*batch, *self.queue, *self.unsent})
            self.queue = []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.none() | st.integers(0, 4)), max_size=30))
def test_messages_reach_the_inbox_in_the_order_sent_whatever_fails(rounds: list[tuple[int, int, int | None]]) -> None:
    sending = Sending(total=12)
    for submit, size, written in [*rounds, *[(4, 4, None)] * 12]:
        sending.submit(submit)
        sending.commit(size, written)
    assert sending.log == list(range(12))
    assert sending.lane.failed == []
