"""The figures of a history: counts, delays, recovery."""

import pytest

from scripts.chaos.checker import OVER
from scripts.chaos.figures import Figures, figures, recovered
from scripts.chaos.history import Closing, History
from tests.scripts.chaos.runs import BOB, at, ended, frame, gap, got, hello

STEADY = [BOB]


class Told:
    """A history with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.history = History(lambda: self.now)

    def sent(self, now: float, number: int, sender: str = "alice", answered: bool = True) -> None:
        self.now = now
        self.history.attempted(sender, f"m{number}", number, ["bob"])
        if answered:
            self.history.accepted(sender, f"m{number}", "bob", str(at(number)), "fsynced")
        else:
            self.history.refused(sender, f"m{number}", "unavailable")

    def got(self, now: float, number: int, sender: str = "alice") -> None:
        self.now = now
        self.history.delivered(*BOB, frame(number, sender=sender), "s1")

    def over(self, now: float) -> None:
        self.now = now
        self.history.mark(OVER)

    @property
    def figures(self) -> Figures:
        return figures(self.history.records, STEADY)


def test_messages_repeats_and_refusals_are_counted() -> None:
    told = Told()
    told.sent(1, 1, answered=False)
    told.sent(2, 1)
    told.got(3, 1)
    told.got(4, 1)
    gap(told.history, "s1", 1, 2)
    found = told.figures
    assert (found.tried, found.repeated, found.accepted, found.deliveries, found.repeats) == (1, 1, 1, 1, 1)
    assert found.refused == {"unavailable": 1}
    assert found.gaps == {"trimmed": 1}
    assert found.durability == {"fsynced": 1}


def test_the_longest_delay_is_from_acceptance_to_the_first_delivery() -> None:
    told = Told()
    told.sent(1, 1)
    told.sent(2, 2)
    told.got(3, 1)
    told.got(3, 2)
    told.got(9, 2)
    assert told.figures.slowest == 2


def test_delays_of_devices_that_come_and_go_do_not_count() -> None:
    told = Told()
    told.sent(1, 1)
    told.got(9, 1)
    assert figures(told.history.records, []).slowest == 0


def test_recovery_needs_a_new_message_of_every_sender_at_every_steady_device() -> None:
    told = Told()
    told.sent(1, 1, "alice")
    told.sent(1, 2, "carol")
    told.over(10)
    told.got(11, 1)  # sent before: no proof
    told.sent(12, 3, "alice")
    told.got(13, 3)
    assert recovered(told.history.records, STEADY) is None
    told.sent(14, 4, "carol")
    assert recovered(told.history.records, STEADY) == 4


def test_the_longest_of_several_recoveries_counts() -> None:
    told = Told()
    told.sent(1, 1)
    for begin, end in ((10, 15), (20, 22)):
        told.over(begin)
        told.sent(end, begin)
        told.got(end, begin)
    assert told.figures.recovered == 5


def test_without_a_fault_there_is_no_recovery() -> None:
    told = Told()
    told.sent(1, 1)
    assert told.figures.recovered is None


def test_a_reconnection_counts_beyond_what_closing_asked_for() -> None:
    told = Told()
    hello(told.history, "s1", 0)
    got(told.history, "s1", 1)
    told.now = 5
    told.history.note(Closing(told.now, *BOB, "s1", 2.0))
    ended(told.history, "s1", 1012)
    told.now = 7.5
    hello(told.history, "s2", 0)
    assert told.figures.reconnected == pytest.approx(0.5)
    assert told.figures.ends == {1012: 1}
