"""Entries: stream fields in, wire frames out."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import Cursor
from service.core.entries import (
    Entry,
    Kind,
    Missing,
    flat,
    frame,
    gap_frame,
    message_fields,
    message_tail,
    read_entry,
    read_flat,
    tail_of,
)

CURSOR = Cursor(1795350000123, 46)
NAMES = st.text("abcXYZ019._-@:+", min_size=1, max_size=20)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


def as_stream(fields: list[str | bytes]) -> dict[bytes, bytes]:
    raw = [part.encode() if isinstance(part, str) else part for part in fields]
    return dict(zip(raw[::2], raw[1::2], strict=True))


@given(NAMES, NAMES, st.lists(NAMES, min_size=1, max_size=4), BODIES)
def test_a_message_survives_the_stream(id: str, sender: str, to: list[str], body: Any) -> None:
    raw = orjson.dumps(body)
    fields = as_stream(message_fields(id, sender, ",".join(to), raw))
    entry = read_entry(CURSOR, fields, now_ms=0)
    assert entry == Entry(CURSOR, message_tail(id, sender, ",".join(to), raw))
    assert entry.size == len(message_tail(id, sender, ",".join(to), raw))
    assert isinstance(entry.tail, bytes)
    assert orjson.loads(frame(entry.tail, CURSOR, replay=True)) == {
        "type": "message",
        "id": id,
        "from": sender,
        "to": to[0] if len(to) == 1 else to,
        "body": body,
        "cursor": "1795350000123-46",
        "ts": 1795350000123,
        "replay": True,
    }


def test_a_live_frame_does_not_say_replay() -> None:
    tail = message_tail("m-17", "alice", "bob", b'{"text":"hi"}')
    live = orjson.loads(frame(tail, CURSOR, replay=False))
    assert "replay" not in live
    assert live["cursor"] == "1795350000123-46"


def test_fields_are_plain_text_an_operator_can_read() -> None:
    assert message_fields("m-17", "alice", "bob", b"1") == [
        *("kind", "message"),
        *("id", "m-17"),
        *("from", "alice"),
        *("to", "bob"),
        *("body", b"1"),
    ]


@pytest.mark.parametrize(("now", "tail"), ((999, bytes), (1000, Missing), (1001, Missing)))
def test_a_message_expires_at_its_time(now: int, tail: type) -> None:
    fields = as_stream([*message_fields("m", "alice", "bob", b"1"), "expires", "1000"])
    entry = read_entry(CURSOR, fields, now)
    assert isinstance(entry.tail, tail)
    if isinstance(entry.tail, Missing):
        assert entry.tail is Missing.EXPIRED


@pytest.mark.parametrize(
    "fields",
    (
        {},
        {b"kind": b"message"},
        {b"body": b"1"},
        {b"kind": b"unheard-of", b"id": b"m", b"from": b"a", b"to": b"b", b"body": b"1"},
        {b"kind": b"message", b"id": b"m", b"from": b"a", b"to": b"b"},
        {b"kind": b"message", b"id": b"\xff", b"from": b"a", b"to": b"b", b"body": b"1"},
        {b"kind": b"message", b"id": b"m", b"from": b"a", b"to": b"b", b"body": b"1", b"expires": b"soon"},
    ),
)
def test_what_is_no_entry_of_ours_reads_as_deleted(fields: dict[bytes, bytes]) -> None:
    assert read_entry(CURSOR, fields, now_ms=0) == Entry(CURSOR, Missing.DELETED)


VALUES = st.sampled_from((b"message", b"edit", b"m-1", b"bob", b"bob,carol", b"\xc3\xa9", b"", b"1", b"1000", b"off"))
LIKE_OURS = st.tuples(VALUES, VALUES, VALUES, VALUES, VALUES).map(
    lambda values: list(zip((b"kind", b"id", b"from", b"to", b"body"), values, strict=True))
)
OTHERS = st.lists(
    st.tuples(st.sampled_from((b"expires", b"receipts", b"target", b"body", b"kind")), VALUES), max_size=2
)


@given(LIKE_OURS, OTHERS, st.booleans(), st.sampled_from((0, 1, 1000)))
def test_fields_as_the_server_sends_them_read_as_by_their_names(
    ours: list[tuple[bytes, bytes]], others: list[tuple[bytes, bytes]], first: bool, now: int
) -> None:
    pairs = [*others, *ours] if first else [*ours, *others]
    sent = [part for pair in pairs for part in pair]
    assert read_flat(CURSOR, sent, now) == read_entry(CURSOR, dict(pairs), now)


def test_a_gap_names_its_ends_its_count_and_its_reason() -> None:
    assert orjson.loads(gap_frame(Cursor(5, 1), Cursor(9, 4), 3, Missing.TRIMMED)) == {
        "type": "gap",
        "after": "5-1",
        "cursor": "9-4",
        "missing": 3,
        "reason": "trimmed",
    }


def test_after_a_rewind_nobody_knows_how_many_are_missing() -> None:
    assert orjson.loads(gap_frame(Cursor(5, 1), Cursor(3, 1), None, Missing.REWOUND))["missing"] is None


def test_the_reasons_are_those_of_the_protocol() -> None:
    assert {str(reason) for reason in Missing} == {"trimmed", "expired", "deleted", "rewound"}


# Entries that are no message to a user.


@pytest.mark.parametrize(
    ("fields", "wire"),
    (
        (
            ["kind", "message", "id", "m", "from", "al", "group", "g", "seq", "17", "receipts", "off", "body", b"{}"],
            {"type": "message", "id": "m", "from": "al", "group": "g", "seq": 17, "body": {}},
        ),
        (
            ["kind", "edit", "id", "e", "target", "m", "target_from", "a", "from", "a", "to", "b,c", "body", b"1"],
            {"type": "edit", "id": "e", "target": "m", "target_from": "a", "from": "a", "to": ["b", "c"], "body": 1},
        ),
        (
            ["kind", "delete", "id", "d", "target", "m", "target_from", "a", "from", "a", "to", "b"],
            {"type": "delete", "id": "d", "target": "m", "target_from": "a", "from": "a", "to": "b"},
        ),
        (
            ["kind", "receipt", "id", "read:m", "target", "m", "receipt", "read", "by", "bob"],
            {"type": "receipt", "id": "read:m", "target": "m", "kind": "read", "by": "bob"},
        ),
        (
            ["kind", "read", "id", "read:7", "from", "alice", "upto", "7"],
            {"type": "read", "id": "read:7", "from": "alice", "upto": "7"},
        ),
        (
            ["kind", "read", "id", "read:team:7", "group", "team", "upto", "7"],
            {"type": "read", "id": "read:team:7", "group": "team", "upto": 7},
        ),
        (
            ["kind", "group", "id", "team:1", "group", "team", "seq", "1", "event", "created", "user", "a", "by", "a",
             "name", 'The "A" team \U0001f600'],
            {"type": "group", "id": "team:1", "group": "team", "seq": 1, "event": "created", "user": "a", "by": "a",
             "name": 'The "A" team \U0001f600'},
        ),
    ),
)  # fmt: skip
def test_every_kind_reads_from_the_stream_as_the_wire_has_it(fields: list[str | bytes], wire: dict[str, Any]) -> None:
    entry = read_entry(CURSOR, as_stream(fields), 0)
    assert isinstance(entry.tail, bytes)
    assert orjson.loads(frame(entry.tail, CURSOR, replay=False)) == {**wire, "cursor": str(CURSOR), "ts": CURSOR.ms}
    assert tail_of(flat(fields)) == entry.tail


@pytest.mark.parametrize("kind", tuple(Kind))
def test_an_entry_that_lacks_something_reads_as_deleted(kind: Kind) -> None:
    assert read_entry(CURSOR, {b"kind": kind.encode()}, 0).tail is Missing.DELETED
