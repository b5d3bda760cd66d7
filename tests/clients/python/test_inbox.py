"""Repeats, order and acks, fed with frames."""

from typing import Any

from inboxd_client.inbox import Entry, Inbox


def message(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": f"m-{number}", "from": "alice", "cursor": f"1-{number}", **more}


def taken(inbox: Inbox) -> Entry:
    entry = inbox.take()
    assert entry is not None
    return entry


def connected(window: int = 256, **more: Any) -> Inbox:
    inbox = Inbox(**more)
    inbox.connected(1, window)
    return inbox


def test_entries_are_taken_in_the_order_they_came() -> None:
    inbox = connected()
    for number in (1, 2, 3):
        inbox.received(message(number))
    assert [taken(inbox).cursor for _ in range(3)] == ["1-1", "1-2", "1-3"]
    assert inbox.take() is None


def test_a_repeat_is_known_by_kind_sender_and_id_wherever_it_stands() -> None:
    inbox = connected(seen=["message/alice/m-1"])
    for frame in (message(1, cursor="9-9"), message(1, type="edit"), message(1, **{"from": "bob"}), message(2)):
        inbox.received(frame)
    assert [inbox.is_repeat(taken(inbox)) for _ in range(4)] == [True, False, False, False]


def test_who_a_receipt_is_by_is_part_of_its_identity() -> None:
    inbox = connected(seen=["receipt/bob/r-1"])
    inbox.received({"type": "receipt", "by": "bob", "id": "r-1", "cursor": "1-1"})
    assert inbox.is_repeat(taken(inbox))


def test_a_gap_is_never_a_repeat() -> None:
    inbox = connected()
    for _ in range(2):
        inbox.received({"type": "gap", "cursor": "1-1", "after": "0-0", "missing": 1, "reason": "expired"})
        entry = taken(inbox)
        assert not inbox.is_repeat(entry)
        inbox.stored(entry)


def test_after_a_rewind_the_cursor_is_the_lower_one() -> None:
    inbox = connected(cursor="5-9")
    inbox.received({"type": "gap", "cursor": "5-2", "after": "5-9", "missing": None, "reason": "rewound"})
    inbox.stored(taken(inbox))
    assert (inbox.cursor, inbox.ack()) == ("5-2", "5-2")


def test_a_late_repeat_moves_nothing_back() -> None:
    inbox = connected(cursor="1-2", seen=["message/alice/m-1", "message/alice/m-2"])
    inbox.received(message(1))
    inbox.stored(taken(inbox))
    assert (inbox.cursor, inbox.ack()) == ("1-2", "1-2")


def test_cursors_are_compared_as_numbers() -> None:
    inbox = connected(cursor="9-9")
    inbox.received(message(1, cursor="10-10"))
    inbox.stored(taken(inbox))
    assert inbox.cursor == "10-10"


def test_only_the_newest_identities_are_kept() -> None:
    inbox = connected(kept=2)
    for number in (1, 2, 3):
        inbox.received(message(number))
        inbox.stored(taken(inbox))
    for number in (1, 2, 3):
        inbox.received(message(number))
    assert [inbox.is_repeat(taken(inbox)) for _ in range(3)] == [False, True, True]


def test_one_ack_says_it_for_all_that_was_stored() -> None:
    inbox = connected()
    for number in (1, 2):
        inbox.received(message(number))
        inbox.stored(taken(inbox))
    assert inbox.ack() == "1-2"
    assert inbox.ack() is None


def test_a_quarter_of_the_window_is_acked_at_once() -> None:
    inbox = connected(window=8)
    inbox.received(message(1))
    inbox.received(message(2))
    inbox.stored(taken(inbox))
    assert not inbox.must_ack
    inbox.stored(taken(inbox))
    assert inbox.must_ack


def test_what_a_lost_connection_brought_is_forgotten_and_never_acked_on_the_next() -> None:
    inbox = connected()
    inbox.received(message(1))
    inbox.received(message(2))
    held = taken(inbox)
    inbox.disconnected()
    assert inbox.take() is None
    inbox.connected(2, 256)
    inbox.stored(held)
    assert inbox.cursor == "1-1"
    assert inbox.ack() is None
    inbox.received(message(1))
    again = taken(inbox)
    assert inbox.is_repeat(again)
    inbox.stored(again)
    assert inbox.ack() == "1-1"
