"""Gaps, and a server that lost its tail: what cannot come is told, and nothing that is there is skipped."""

import pytest

from service.core.cursor import START, Cursor
from service.core.session import State
from tests.core.inbox_model import Inbox
from tests.core.rig import Rig


@pytest.fixture
def inbox() -> Inbox:
    inbox = Inbox()
    inbox.claim()
    return inbox


@pytest.fixture
def rig(inbox: Inbox) -> Rig:
    return Rig(inbox)


def filled(inbox: Inbox, count: int) -> list[Cursor]:
    return [inbox.append().cursor for _ in range(count)]


def connected(rig: Rig, window: int = 256) -> Rig:
    rig.connect(window)
    rig.pages()
    rig.frames.clear()
    return rig


# Gaps.


def test_trimmed_entries_are_told_with_their_number(inbox: Inbox, rig: Rig) -> None:
    cursors = filled(inbox, 5)
    inbox.trim(3)
    rig.connect()
    rig.pages()
    gap = rig.frames[1]
    assert gap == {
        "type": "gap",
        "after": str(START),
        "cursor": f"{cursors[3].ms}-3",
        "missing": 3,
        "reason": "trimmed",
    }
    assert rig.told() == ["welcome", "gap trimmed 3", "m4", "m5", "live"]


def test_expired_and_deleted_entries_are_told_in_their_places(inbox: Inbox, rig: Rig) -> None:
    cursors = filled(inbox, 6)
    inbox.expire(cursors[1])
    inbox.delete(cursors[3])
    inbox.delete(cursors[4])
    rig.connect()
    rig.pages()
    assert rig.told() == ["welcome", "m1", "gap expired 1", "m3", "gap deleted 2", "m6", "live"]


def test_an_inbox_that_retention_has_dropped_is_told_as_trimmed(inbox: Inbox, rig: Rig) -> None:
    cursors = filled(inbox, 4)
    inbox.ack(cursors[1])
    inbox.drop()
    rig.connect()
    rig.pages()
    assert rig.told() == ["welcome", "gap trimmed 2", "live"]
    assert rig.session.cursor == inbox.last


def test_a_gap_can_be_acked_and_resumed_from(inbox: Inbox, rig: Rig) -> None:
    cursors = filled(inbox, 4)
    inbox.delete(cursors[1])
    inbox.delete(cursors[2])
    rig.connect(window=2)
    rig.pages()
    rig.ack()
    rig.store_ack()
    rig.connect()
    rig.pages()
    assert rig.told() == ["welcome", "m4", "live"]


def test_a_deleted_entry_at_the_cursor_is_no_rewind(inbox: Inbox, rig: Rig) -> None:
    cursors = filled(inbox, 3)
    inbox.ack(cursors[1])
    inbox.delete(cursors[1])
    rig.connect()
    rig.pages()
    assert rig.told() == ["welcome", "m3", "live"]


def test_a_live_hint_after_a_deleted_entry_is_found_by_its_page(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 1)
    connected(rig)
    lost = inbox.append()
    inbox.delete(lost.cursor)
    rig.hint(inbox.append())
    rig.settle()
    rig.pages()
    assert rig.told() == ["gap deleted 1", "m3"]


# Rewound while the device was away.


@pytest.mark.parametrize("clock", (0, 40, -500))
def test_a_device_that_comes_back_with_a_lost_cursor_is_told_and_gets_everything(
    inbox: Inbox, rig: Rig, clock: int
) -> None:
    cursors = filled(inbox, 3)
    inbox.ack(cursors[0])
    lost = filled(inbox, 2)[-1]
    inbox.rewind(4, clock)  # the last four: the ack stays
    inbox.ack(cursors[0])
    new = filled(inbox, 6)
    rig.connect(start=lost)
    rig.pages()
    assert rig.frames[1]["type"] == "gap"
    assert rig.frames[1]["after"] == str(lost)
    assert rig.frames[0]["cursor"] == rig.frames[1]["cursor"]
    assert rig.frames[1]["missing"] is None
    told = rig.told()
    assert told[:2] == ["welcome", "gap rewound"]
    assert told[-1] == "live"
    for cursor in new:
        assert inbox.ever[cursor] in told


def test_the_cursor_a_device_named_is_not_stored_when_it_is_lost(inbox: Inbox, rig: Rig) -> None:
    lost = filled(inbox, 3)[-1]
    inbox.rewind(1)
    rig.connect(start=lost)
    rig.pages()
    assert rig.unstored is None


def test_a_lost_stored_cursor_is_replayed_from_the_oldest_entry(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 3)
    inbox.truth.stored = Cursor(inbox.last.ms + 3, 4)
    rig.connect()
    rig.pages()
    assert rig.told() == ["welcome", "gap rewound", "m1", "m2", "m3", "live"]


def test_a_cursor_of_the_future_is_rewound(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2)
    rig.connect(start=Cursor(9_999_999, 2))
    rig.pages()
    assert rig.told() == ["welcome", "gap rewound", "m1", "m2", "live"]


def test_a_number_before_the_first_is_where_it_begins(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2)
    rig.connect(start=Cursor(5, 0))
    rig.pages()
    assert rig.told() == ["welcome", "m1", "m2", "live"]


# Rewound under a live session.


@pytest.mark.parametrize("clock", (0, 40, -500))
def test_a_live_session_finds_the_rewind_by_its_audit(inbox: Inbox, rig: Rig, clock: int) -> None:
    cursors = filled(inbox, 2)
    connected(rig)
    rig.ack()
    rig.store_ack()
    for _ in range(3):
        rig.hint(inbox.append())
    rig.frames.clear()
    inbox.rewind(3, clock)
    filled(inbox, 4)
    rig.audit()
    rig.settle()
    rig.pages()
    assert rig.frames[0]["after"] == str(rig.device.earlier[-1])
    assert rig.frames[0]["cursor"] == str(cursors[1])
    assert rig.told() == ["gap rewound", "m6", "m7", "m8", "m9"]
    assert rig.session.state is State.LIVE


def test_a_session_whose_lost_tail_was_not_replaced_yet_goes_back_by_its_audit(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2)
    connected(rig)
    rig.ack()
    rig.store_ack()
    rig.hint(inbox.append())
    rig.frames.clear()
    inbox.rewind(1)
    rig.audit()
    rig.pages()
    assert rig.told() == ["gap rewound"]
    rig.hint(inbox.append())
    assert rig.told() == ["m4"]


def test_live_is_not_said_again_after_a_rewind(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 3)
    connected(rig)
    inbox.rewind(1, -5)
    filled(inbox, 1)
    rig.audit()
    rig.settle()
    rig.pages()
    assert "live" not in rig.told()


def test_a_session_without_a_stored_cursor_goes_back_to_the_oldest_entry(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 3)
    connected(rig)
    inbox.rewind(1, 10)
    inbox.truth.stored = None
    filled(inbox, 1)
    rig.audit()
    rig.settle()
    rig.pages()
    assert rig.told() == ["gap rewound", "m1", "m2", "m4"]


def test_held_hints_of_the_lost_history_are_dropped(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2)
    connected(rig)
    rig.ack()
    rig.store_ack()
    inbox.clock += 100
    third, _, fifth = inbox.append(), inbox.append(), inbox.append()
    rig.hint(third)
    rig.hint(fifth)  # held
    inbox.rewind(3, -100)
    filled(inbox, 1)
    rig.audit()
    rig.pages()
    assert rig.session._held == {}
    assert rig.session._held_bytes == 0


def test_a_hint_heard_while_the_rewind_is_found_is_not_forgotten(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 1)
    connected(rig, window=1)
    rig.ack()
    rig.store_ack()
    rig.hint(inbox.append())
    rig.ack()
    inbox.rewind(1, -500)
    rig.audit()
    for _ in range(3):
        rig.step()  # all is read; then an entry comes, whose hint arrives before the page does
    rig.hint(inbox.append(), carried=False)
    rig.page()
    rig.ack()
    rig.settle()
    rig.pages()
    assert "m3" in rig.told()


def test_a_small_window_becomes_live_again_after_a_rewind(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 1)
    rig.connect(window=1)
    rig.pages()
    rig.ack()
    rig.pages()
    rig.store_ack()
    rig.hint(inbox.append())
    inbox.rewind(1)
    rig.audit()
    rig.pages()
    rig.ack()  # of the gap, which filled the window
    rig.pages()
    assert rig.session.state is State.LIVE


# Acks after a rewind.


@pytest.fixture
def rewound(inbox: Inbox, rig: Rig) -> Rig:
    """Entries 1 and 2 acked, 3 to 5 sent and lost; 3' sent instead."""
    filled(inbox, 2)
    connected(rig)
    rig.ack()
    rig.store_ack()
    for _ in range(3):
        rig.hint(inbox.append())
    inbox.rewind(3, -500)
    filled(inbox, 1)
    rig.audit()
    rig.settle()
    rig.pages()
    return rig


def test_acks_of_what_was_sent_before_the_rewind_are_ignored(rewound: Rig) -> None:
    in_flight = rewound.session.in_flight
    for cursor in set(rewound.device.earlier) - set(rewound.device.sent):
        rewound.ack(cursor)
    assert rewound.session.in_flight == in_flight
    assert rewound.unstored is None
    assert rewound.closed is None


def test_acks_of_what_was_sent_since_the_rewind_count(inbox: Inbox, rewound: Rig) -> None:
    rewound.ack()
    assert rewound.session.in_flight == 0
    assert rewound.unstored == inbox.last


def test_the_gap_itself_can_be_acked(rewound: Rig) -> None:
    rewound.ack(rewound.device.sent[0])
    assert rewound.session.in_flight == 1
    assert rewound.unstored is None, "the stored cursor is already there"


def test_a_second_rewind_is_told_as_well(inbox: Inbox, rewound: Rig) -> None:
    rewound.frames.clear()
    inbox.rewind(1, -50)
    filled(inbox, 2)
    rewound.audit()
    rewound.settle()
    rewound.pages()
    told = rewound.told()
    assert told[0] == "gap rewound"
    assert inbox.ever[inbox.last] == told[-1]
