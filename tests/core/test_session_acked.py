"""Acks that came elsewhere: over HTTP, stored already, told by a hint or found by the audit."""

import pytest

from service.core import session as module
from service.core.cursor import START, Cursor
from service.core.session import State
from tests.core.inbox_model import Inbox
from tests.core.rig import Rig


def filled(count: int, window: int) -> Rig:
    rig = Rig(Inbox())
    for _ in range(count):
        rig.inbox.append(10)
    rig.connect(window)
    rig.pages()
    return rig


def test_it_frees_the_window_and_is_not_stored_again() -> None:
    rig = filled(10, window=4)
    assert (rig.session.in_flight, rig.session.stuck) == (4, True)
    rig.ack_elsewhere(rig.session.cursor)
    assert rig.unstored is None
    rig.pages()
    assert (rig.session.in_flight, rig.session.cursor.seq) == (4, 8)


def test_beyond_what_was_sent_it_counts_for_what_was_sent() -> None:
    rig = filled(10, window=4)
    rig.ack_elsewhere(rig.inbox.last)
    assert rig.closed is None
    rig.pages()
    assert rig.session.cursor.seq == 8, "what comes next is sent all the same"
    rig.ack_elsewhere(rig.inbox.last)
    rig.pages()
    assert (rig.session.cursor, rig.session.state) == (rig.inbox.last, State.LIVE)


def test_an_older_one_or_one_before_anything_was_sent_changes_nothing() -> None:
    rig = filled(4, window=4)
    rig.ack(rig.session.cursor)
    rig.ack_elsewhere(Cursor(1, 1))
    rig.ack_elsewhere(START)
    assert (rig.session.acked, rig.session.in_flight) == (rig.session.cursor, 0)


def test_a_lost_word_of_it_is_found_by_what_is_stored() -> None:
    rig = filled(10, window=4)
    rig.ack_elsewhere(rig.session.cursor, told=False)
    assert rig.session.stuck
    assert rig.inbox.truth.stored is not None
    rig.hear_acked(rig.inbox.truth.stored)
    rig.pages()
    assert rig.session.cursor.seq == 8


def test_a_gap_that_fills_the_window_is_found_too() -> None:
    rig = Rig(Inbox())
    for _ in range(4):
        rig.inbox.append(10)
    rig.inbox.delete(rig.inbox.kept[1])
    rig.connect(window=1)
    rig.pages()
    rig.ack_elsewhere(rig.session.cursor)
    rig.pages()
    assert rig.told()[-1] == "gap deleted 1"
    rig.ack_elsewhere(rig.session.cursor, told=False)
    assert rig.session.stuck
    assert rig.inbox.truth.stored is not None
    rig.hear_acked(rig.inbox.truth.stored)
    rig.pages()
    assert rig.session.cursor.seq == 3


def test_what_is_stored_frees_no_gap_of_a_device_that_acks_here() -> None:
    rig = Rig(Inbox())
    for _ in range(4):
        rig.inbox.append(10)
    for entry in rig.inbox.kept[1:3]:
        rig.inbox.delete(entry)
    rig.connect(window=1, start=rig.inbox.kept[0])
    rig.pages()
    assert (rig.told()[-1], rig.session.stuck) == ("gap deleted 2", True)
    rig.hear_acked(rig.inbox.kept[0])
    rig.pages()
    assert (rig.told(), rig.session.in_flight) == ([], 1)


def test_after_a_rewind_acks_of_what_was_sent_before_are_ignored() -> None:
    rig = filled(6, window=4)
    sent = rig.session.cursor
    rig.inbox.rewind(3, 0)
    rig.disrupt()
    for _ in range(3):
        rig.inbox.append(10)
    rig.ack(sent)
    rig.audit()
    rig.pages()
    assert any(told.startswith("gap rewound") for told in rig.told())
    before = rig.session.in_flight
    rig.session.on_acked(Cursor(sent.ms, sent.seq + 1))
    assert rig.session.in_flight == before


def test_a_session_that_is_over_or_draining_reads_no_more_for_it() -> None:
    for draining in (True, False):
        rig = filled(10, window=4)
        rig.session.drain("restarting", 1) if draining else rig.session.end(4509, "replaced")
        rig.session.on_acked(rig.session.cursor)
        assert rig.session.read is None
        assert not rig.session.stuck


def test_one_that_is_stuck_by_bytes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES", 500)
    rig = Rig(Inbox())
    for _ in range(3):
        rig.inbox.append(300)
    rig.connect(window=100)
    rig.pages()
    assert (rig.session.in_flight, rig.session.stuck) == (1, True)
    rig.ack_elsewhere(rig.session.cursor)
    rig.pages()
    assert rig.session.in_flight == 1
