"""A session from its opening to its end: replay, live, hints that cross, acks, draining."""

import pytest

from service.core.cursor import START, Cursor
from service.core.session import Close, Session, State
from tests.core.inbox_model import Inbox
from tests.core.rig import Rig, welcome


@pytest.fixture
def inbox() -> Inbox:
    inbox = Inbox()
    inbox.claim()  # the device is known, so that everything is for it
    return inbox


@pytest.fixture
def rig(inbox: Inbox) -> Rig:
    return Rig(inbox)


@pytest.fixture
def live(inbox: Inbox, rig: Rig) -> Rig:
    """Three entries replayed and acked, then live."""
    for _ in range(3):
        inbox.append()
    rig.connect()
    rig.pages()
    rig.ack()
    rig.frames.clear()
    assert rig.session.state is State.LIVE
    return rig


# Opening and replay.


def test_a_session_asks_for_the_page_after_its_cursor_at_once(inbox: Inbox, rig: Rig) -> None:
    rig.connect(window=10)
    assert rig.session.state is State.OPENING
    assert rig.reading
    assert rig.told() == []


def test_an_empty_inbox_is_welcomed_and_live(rig: Rig) -> None:
    rig.connect()
    rig.page()
    assert rig.told() == ["welcome", "live"]
    assert rig.session.state is State.LIVE
    assert not rig.reading


def test_the_welcome_names_the_start_and_the_newest_cursor(inbox: Inbox, rig: Rig) -> None:
    first, second = inbox.append(), inbox.append()
    rig.connect(start=first.cursor)
    rig.page()
    assert rig.frames[0] == {"type": "welcome", "cursor": str(first.cursor), "head": str(second.cursor)}


def test_what_waits_is_replayed_in_order_before_live(inbox: Inbox, rig: Rig) -> None:
    for _ in range(3):
        inbox.append()
    rig.connect()
    rig.page()
    assert [frame.get("replay") for frame in rig.frames] == [None, True, True, True, None]
    assert rig.told() == ["welcome", "m1", "m2", "m3", "live"]


def test_a_message_frame_carries_its_position_and_time(inbox: Inbox, rig: Rig) -> None:
    hint = inbox.append(2)
    rig.connect()
    rig.page()
    assert rig.frames[1] == {
        "type": "message",
        "id": "m1",
        "from": "alice",
        "to": "bob",
        "body": "xx",
        "cursor": str(hint.cursor),
        "ts": hint.cursor.ms,
        "replay": True,
    }


def test_a_long_backlog_is_read_page_by_page_and_live_comes_once(inbox: Inbox, rig: Rig) -> None:
    for _ in range(300):
        inbox.append()
    rig.connect(window=1024)
    assert rig.pages() > 1
    told = rig.told()
    assert told == ["welcome", *(f"m{n}" for n in range(1, 301)), "live"]


def test_a_cursor_the_device_names_counts_as_acked_once_it_is_verified(inbox: Inbox, rig: Rig) -> None:
    first, _ = inbox.append(), inbox.append()
    rig.connect(start=first.cursor)
    assert rig.unstored is None
    rig.page()
    assert rig.unstored == first.cursor


def test_the_stored_cursor_is_not_stored_again(inbox: Inbox, rig: Rig) -> None:
    inbox.append()
    rig.connect()
    rig.page()
    assert rig.unstored is None


# Live.


def test_a_hint_that_is_next_is_sent_at_once_and_once(inbox: Inbox, live: Rig) -> None:
    hint = inbox.append()
    live.hint(hint)
    live.hint(hint)
    assert live.frames[0].get("replay") is None
    assert live.told() == ["m4"]
    assert not live.reading


def test_a_hint_too_large_to_be_carried_is_read_when_patience_is_over(inbox: Inbox, live: Rig) -> None:
    live.hint(inbox.append(), carried=False)
    assert live.told() == []
    assert live.session.behind
    live.settle()
    live.page()
    assert live.told() == ["m4"]
    assert not live.session.behind


def test_a_hint_at_or_below_the_cursor_proves_nothing(inbox: Inbox, live: Rig) -> None:
    old = live.session.cursor
    live.session.on_hint(START, old, b"{}")
    live.session.on_hint(START, Cursor(1, 1), b"{}")
    live.pump()
    assert live.told() == []
    assert not live.session.behind


def test_hints_that_cross_are_held_until_the_missing_one_comes(inbox: Inbox, live: Rig) -> None:
    fourth, fifth, sixth = inbox.append(), inbox.append(), inbox.append()
    live.hint(sixth)
    live.hint(fifth)
    assert live.told() == []
    live.hint(fourth)
    assert live.told() == ["m4", "m5", "m6"]
    assert not live.reading
    assert not live.session.behind
    assert live.session._held_bytes == 0


def test_a_hint_whose_prev_is_not_the_cursor_is_not_sent_even_with_the_next_number(live: Rig) -> None:
    cursor = live.session.cursor
    stranger = Cursor(cursor.ms - 1, cursor.seq)
    live.session.on_hint(stranger, Cursor(cursor.ms + 5, cursor.seq + 1), b'{"type":"message"}')
    live.pump()
    assert live.told() == []
    assert live.session.behind


def test_a_hole_is_filled_from_the_inbox_when_patience_is_over(inbox: Inbox, live: Rig) -> None:
    inbox.append()  # its hint is lost
    live.hint(inbox.append())
    assert live.session.behind
    live.settle()
    seen = [live.session.state]
    live.page()
    assert live.told() == ["m4", "m5"]
    assert [*seen, live.session.state] == [State.CATCHING_UP, State.LIVE]


def test_settling_with_nothing_missing_reads_nothing(live: Rig) -> None:
    live.settle()
    assert not live.reading
    assert live.session.state is State.LIVE


def test_a_hint_during_a_page_is_held_and_follows_the_page(inbox: Inbox, live: Rig) -> None:
    inbox.append()  # its hint is lost
    live.hint(inbox.append())
    live.settle()
    live.step()  # the newest cursor is read …
    live.step()  # … and the entries; then one more comes
    live.hint(inbox.append())
    assert live.told() == []
    live.page()
    assert live.told() == ["m4", "m5", "m6"]


def test_a_hint_that_overtakes_the_last_page_is_not_forgotten(inbox: Inbox, rig: Rig) -> None:
    inbox.append()
    rig.connect()
    rig.step()
    rig.step()  # the entries are read; then one more comes, whose hint arrives before the page does
    rig.hint(inbox.append(), carried=False)
    rig.page()
    assert rig.told() == ["welcome", "m1"]
    rig.pages()
    assert rig.told() == ["m2", "live"]


def test_a_hint_of_a_history_that_is_gone_costs_one_page_and_no_more(inbox: Inbox, live: Rig) -> None:
    lost = inbox.append()
    inbox.rewind(1)
    live.hint(lost, carried=False)
    live.settle()
    assert live.pages() <= 2
    assert live.told() == []
    assert live.session.state is State.LIVE
    assert not live.session.behind


# Audits.


def test_an_audit_that_names_a_newer_cursor_has_the_page_read(inbox: Inbox, live: Rig) -> None:
    inbox.append()  # its hint is lost
    live.audit()
    assert live.session.behind
    live.settle()
    live.page()
    assert live.told() == ["m4"]


def test_an_audit_that_finds_the_same_cursor_reads_nothing(live: Rig) -> None:
    live.audit()
    assert not live.reading
    assert not live.session.behind


def test_an_audit_that_was_overtaken_by_a_hint_reads_nothing(inbox: Inbox, live: Rig) -> None:
    before, last = live.session.cursor, inbox.last
    live.hint(inbox.append())
    live.audit(last, before)
    assert not live.reading
    assert not live.session.behind


def test_an_audit_below_where_the_session_stood_has_its_history_verified(inbox: Inbox, live: Rig) -> None:
    live.audit(Cursor(inbox.last.ms, inbox.last.seq - 1), live.session.cursor)
    assert live.reading
    live.page()
    assert live.told() == []
    assert live.session.state is State.LIVE


def test_a_hint_that_comes_while_the_history_is_verified_waits_for_it(inbox: Inbox, live: Rig) -> None:
    live.audit(START, live.session.cursor)
    live.hint(inbox.append())  # the page will have it, too
    assert live.told() == []
    live.page()
    assert live.told() == ["m4"]


def test_a_history_can_be_verified_with_the_window_full(inbox: Inbox, rig: Rig) -> None:
    inbox.append()
    rig.connect(window=1)
    rig.pages()
    rig.reads.clear()
    rig.audit(START, rig.session.cursor)
    assert rig.reads == [0]
    rig.pages()
    assert rig.told() == ["welcome", "m1", "live"]


def test_an_audit_while_opening_changes_nothing(inbox: Inbox, rig: Rig) -> None:
    inbox.append()
    rig.connect()
    rig.session.on_audit(Cursor(99, 99), START)
    rig.pages()
    assert rig.told() == ["welcome", "m1", "live"]
    assert rig.session.heard == rig.session.cursor


# Acks.


def test_an_ack_is_stored_once(inbox: Inbox, live: Rig) -> None:
    assert live.unstored == inbox.last
    live.store_ack()
    live.ack()
    assert live.unstored is None


def test_an_ack_of_a_lower_cursor_changes_nothing(live: Rig) -> None:
    live.store_ack()
    live.ack(live.device.sent[0])
    assert live.unstored is None
    assert live.closed is None


def test_an_ack_covers_everything_up_to_it(inbox: Inbox, rig: Rig) -> None:
    for _ in range(3):
        inbox.append()
    rig.connect()
    rig.pages()
    rig.ack(rig.device.sent[1])
    assert rig.session.in_flight == 1
    assert rig.unstored == rig.device.sent[1]


def test_an_ack_between_two_entries_is_stored_as_the_one_below(inbox: Inbox, rig: Rig) -> None:
    first = inbox.append()
    inbox.clock += 100
    inbox.append()
    rig.connect()
    rig.pages()
    rig.ack(Cursor(first.cursor.ms + 50, 7))
    assert rig.unstored == first.cursor
    assert rig.session.in_flight == 1


def test_an_ack_beyond_what_was_sent_is_a_protocol_error(live: Rig) -> None:
    cursor = live.session.cursor
    live.session.on_ack(Cursor(cursor.ms + 1, cursor.seq))
    [frame] = live.session.frames
    assert b'"ack_beyond_sent"' in frame
    assert live.session.close == Close(4500, "ack_beyond_sent")
    assert live.session.state is State.CLOSED


# The end.


def test_draining_says_so_once_and_sends_no_more_entries(inbox: Inbox, live: Rig) -> None:
    live.session.drain("the worker is restarting", 70)
    live.session.drain("again", 70)
    live.session.on_hint(live.session.cursor, inbox.append().cursor, b"{}")
    live.session.settle()
    assert live.session.frames == [b'{"type":"closing","reason":"the worker is restarting","reconnect_after_ms":70}']
    assert live.session.read is None


def test_acks_still_count_while_draining(inbox: Inbox, live: Rig) -> None:
    live.hint(inbox.append())
    live.session.drain("the worker is restarting", 0)
    live.session.on_ack(inbox.last)
    assert live.session.ack == inbox.last
    assert live.session.read is None


def test_a_page_that_arrives_while_draining_is_not_sent(inbox: Inbox, rig: Rig) -> None:
    inbox.append()
    rig.connect()
    rig.session.drain("the worker is restarting", 0)
    rig.session.frames.clear()
    rig.session.on_page(inbox.page(START, 10))
    assert rig.session.frames == []


def test_a_session_ends_once(live: Rig) -> None:
    live.session.end(4509, "replaced")
    live.session.end(4500, "too late")
    assert live.session.close == Close(4509, "replaced")


def test_a_closed_session_sends_and_reads_nothing_but_still_takes_acks(inbox: Inbox, live: Rig) -> None:
    fourth = inbox.append()
    live.hint(fourth)
    live.session.end(4509, "replaced")
    live.session.on_hint(fourth.cursor, inbox.append().cursor, b"{}")
    live.session.on_audit(inbox.last, fourth.cursor)
    live.session.settle()
    live.session.drain("too late", 0)
    live.session.on_ack(Cursor(99_999, 99))  # beyond: whom should it be told?
    live.session.on_ack(fourth.cursor)
    assert live.session.frames == []
    assert live.session.read is None
    assert live.session.close == Close(4509, "replaced")
    assert live.session.ack == fourth.cursor


def test_the_states_follow_one_another_as_documented(inbox: Inbox) -> None:
    inbox.append()
    session = Session(START, 10, welcome)
    seen = [session.state]
    session.on_page(inbox.page(START, 10))
    seen.append(session.state)
    session.on_audit(inbox.append().cursor, session.cursor)
    session.settle()
    seen.append(session.state)
    session.on_page(inbox.page(session.cursor, 10))
    seen.append(session.state)
    session.drain("restart", 0)
    seen.append(session.state)
    session.end(1012, "restart")
    seen.append(session.state)
    assert seen == [State.OPENING, State.LIVE, State.CATCHING_UP, State.LIVE, State.DRAINING, State.CLOSED]
