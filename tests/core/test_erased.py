"""What is left of a deleted message: written as a row, read again, shown as a frame."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import Cursor
from service.core.entries import Entry
from service.core.erased import Deleted, erased_row, merged, read_row, read_rows

NAMES = st.from_regex(r"[A-Za-z0-9._\-@:+]{1,128}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9._\-@:+]{1,64}", fullmatch=True)
CURSORS = st.builds(Cursor, st.integers(0, 2**50), st.integers(1, 2**50))


def shown(row: str) -> dict[str, object]:
    found = read_row(row.encode())
    assert found is not None
    assert isinstance(found.entry.tail, bytes)
    return dict(orjson.loads(found.entry.tail))


def test_a_deleted_message_is_shown_by_what_names_it() -> None:
    assert shown("7-3 m-1 alice to bob") == {"type": "deleted", "id": "m-1", "from": "alice", "to": "bob"}
    assert shown("7-3 m-1 alice to bob,carol")["to"] == ["bob", "carol"]
    assert shown("7-3 m-1 alice group team/12") == {
        "type": "deleted", "id": "m-1", "from": "alice", "group": "team", "seq": 12,
    }  # fmt: skip


@given(cursor=CURSORS, id=IDS, sender=NAMES, users=st.lists(NAMES, min_size=1, max_size=4))
def test_a_row_is_read_as_it_was_written(cursor: Cursor, id: str, sender: str, users: list[str]) -> None:
    fields = {b"id": id.encode(), b"from": sender.encode(), b"to": ",".join(users).encode()}
    found = read_row(erased_row(cursor, fields).encode())
    assert found is not None
    assert (found.cursor, found.fields) == (cursor, {**fields, b"kind": b"deleted"})


@given(cursor=CURSORS, id=IDS, sender=NAMES, group=NAMES, number=st.integers(1, 2**50))
def test_a_groups_row_is_read_as_it_was_written(cursor: Cursor, id: str, sender: str, group: str, number: int) -> None:
    fields = {b"id": id.encode(), b"from": sender.encode(), b"group": group.encode(), b"seq": str(number).encode()}
    found = read_row(erased_row(cursor, fields).encode())
    assert found is not None
    assert (found.cursor, found.fields) == (cursor, {**fields, b"kind": b"deleted"})


@pytest.mark.parametrize(
    "row", (b"", b"x", b"7-3 m-1 alice", b"7-3 m-1 alice to ", b'7-3 m"1 alice to bob', b"7-3 m alice group team",
            b"7-3 m alice to bob carol", b"7 m alice to bob", b"7-3 m alice to bob\n"),
)  # fmt: skip
def test_what_somebody_else_wrote_there_is_passed_over(row: bytes) -> None:
    assert read_row(row) is None
    assert read_rows([row]) == []


def test_what_is_in_both_is_deleted() -> None:
    one, two = Entry(Cursor(1, 1), b"{}"), Entry(Cursor(2, 2), b"{}")
    gone = Deleted(Cursor(2, 2), b"{}")
    assert merged([one, two], [gone]) == [one, gone]
    assert merged([one], []) == [one]
    assert merged([], [gone]) == [gone]
