"""How far conversations are read, fed with messages and `read` entries."""

from typing import Any

import pytest
from inboxd_client.inbox import Inbox
from inboxd_client.reads import Read, Reads


def reads(*handled: str, kept: tuple[Read, ...] = ()) -> Reads:
    """Of bob, who has handled these messages of alice in this order."""
    inbox = Inbox("1-9", [f"message/alice/{id}" for id in handled])
    return Reads({"cursor": "1-9", **{read.name: read.value for read in kept}}, inbox)


def message(id: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": id, "from": "alice", "to": "bob", **more}


def said(reads: Reads, frame: dict[str, Any]) -> dict[str, Any] | None:
    read = reads.of_message(frame, "bob")
    if read is None:
        return None
    reads.put(read)
    return read.frame


def entered(reads: Reads, upto: str | int, **whose: str) -> bool:
    change = reads.of_entry({"type": "read", "upto": upto, **(whose or {"from": "alice"})})
    if change is not None:
        reads.put(change[1])
    return change is not None


def test_a_read_is_said_until_an_entry_covers_it() -> None:
    box = reads("a", "b", "c")
    assert said(box, message("b")) == {"type": "read", "from": "alice", "upto": "b"}
    assert not entered(box, "a")
    assert [read.upto for read in box.to_say()] == ["b"]
    assert entered(box, "b")
    assert box.to_say() == []


def test_another_device_that_has_read_further_covers_it() -> None:
    box = reads("a", "b", "c")
    said(box, message("b"))
    assert entered(box, "c")
    assert box.to_say() == []
    assert said(box, message("b")) is None


def test_only_the_furthest_counts_by_cursor_or_by_what_was_handled_later() -> None:
    box = reads("a", "b")
    assert said(box, message("b", cursor="1-2"))
    assert said(box, message("a", cursor="1-1")) is None
    assert said(box, message("a")) is None
    assert said(box, message("b", cursor="1-2")) is None
    assert said(box, message("in hand", cursor="1-3"))


def test_groups_count_by_number_and_conversations_do_not_mix() -> None:
    box = reads("a")
    said(box, message("a"))
    assert said(box, {"group": "team", "seq": 4, "id": "x", "from": "carol"}) == {
        "type": "read", "group": "team", "upto": 4,
    }  # fmt: skip
    assert said(box, {"group": "team", "seq": 3}) is None
    assert entered(box, 5, group="team")
    assert [read.name for read in box.to_say()] == ["read/user/alice"]
    assert said(box, {"group": "team", "seq": 5}) is None
    assert said(box, {"group": "team", "seq": 6})


def test_what_is_kept_is_there_after_a_restart() -> None:
    first = reads("a", "b")
    said(first, message("a", cursor="1-1"))
    again = reads("a", "b", kept=tuple(first.to_say()))
    assert [read.frame for read in again.to_say()] == [{"type": "read", "from": "alice", "upto": "a"}]
    assert entered(again, "a")
    assert reads("a", "b", kept=(Read(None, "alice", "a", stored=True),)).to_say() == []


def test_what_was_forgotten_is_said_rather_than_left_out() -> None:
    box = reads()
    entered(box, "z")
    assert said(box, message("y"))


def test_ones_own_message_says_nothing_and_what_is_no_message_is_refused() -> None:
    assert reads().of_message({"id": "a", "from": "bob", "to": "alice"}, "bob") is None
    for wrong in ({}, {"id": "a"}, {"from": "alice"}, {"group": "team", "id": "a"}):
        with pytest.raises(ValueError, match="not a message"):
            reads().of_message(wrong, "bob")
