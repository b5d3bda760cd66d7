"""Groups, without a store: who is owed which number, and what a sender is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.entries import Fields, Kind
from service.core.errors import Fault
from service.core.groups import (
    Erasure,
    GroupResult,
    LogEntry,
    Stay,
    chunked,
    current,
    first_of,
    gets,
    group_outcome,
    is_member,
    last_of,
    logged,
    run_of,
    stays_of,
    target_of,
)
from service.core.sending import Message

HI = Message("m1", "alice", (), b'"hi"', "p1")


def test_stays_are_read_as_the_store_writes_them() -> None:
    assert stays_of("0-5/1795 8-") == (Stay(0, 5, 1795), Stay(8))
    assert is_member(stays_of("0-5/1 8-"))
    assert not is_member(stays_of("0-5/1"))
    assert first_of(stays_of("4-5/1 8-")) == 5


@pytest.mark.parametrize("row", ("", "5", "-5", "a-", "0-5", "0-5/", "0- "))
def test_what_is_no_stay_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="not a stay"):
        stays_of(row)


def test_the_longest_standing_member_comes_first_and_who_left_not_at_all() -> None:
    members = {"carol": stays_of("0-"), "bob": stays_of("0-3/1 7-"), "alice": stays_of("0-"), "dave": stays_of("0-4/1")}
    assert current(members) == ("alice", "carol", "bob")


def test_a_run_begins_with_the_next_own_number_and_ends_at_a_hole() -> None:
    stays = stays_of("0-5/1 8-")
    log = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert run_of(stays, 4, log) == [4, 5]
    assert run_of(stays, 6, log) == [9, 10]
    assert run_of(stays, 11, log) == [12]
    assert run_of(stays, 13, log) == []


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True),
    st.sets(st.integers(1, 40)),
    st.integers(1, 40),
)
def test_run_after_run_a_member_gets_exactly_what_is_its_own_and_there(
    edges: list[int], gone: set[int], expected: int
) -> None:
    edges = sorted(edges)
    stays = tuple(Stay(joined, left) for joined, left in zip(edges[::2], [*edges[1::2], None], strict=False))
    there = [number for number in range(1, 41) if number not in gone]
    got: list[int] = []
    at = expected
    while run := run_of(stays, at, there):
        assert run == list(range(run[0], run[-1] + 1))
        got += run
        at = run[-1] + 1
    assert got == [number for number in there if number >= expected and gets(stays, number)]


def test_parts_keep_each_members_order_and_their_bounds() -> None:
    entries = [LogEntry(number, ["body", "x" * 10]) for number in (5, 6, 7)]
    members = {"alice": stays_of("0-"), "bob": stays_of("5-"), "carol": stays_of("0-5/1")}
    parts = list(chunked(entries, sorted(members), members, 2, 1000))
    assert [[(user, entry.number) for user, entry in part] for part in parts] == [
        [("alice", 5), ("alice", 6)],
        [("alice", 7), ("bob", 6)],
        [("bob", 7), ("carol", 5)],
    ]
    assert [len(part) for part in chunked(entries, ["alice"], members, 10, 20)] == [2, 1]
    assert list(chunked(entries, [], members, 2, 1000)) == []


def test_a_long_look_for_who_gets_what_is_interrupted() -> None:
    entries = [LogEntry(number, []) for number in range(1, 101)]
    members = {f"u{n}": stays_of("900-") for n in range(100)} | {"z": stays_of("0-")}
    parts = list(chunked(entries, sorted(members), members, 200, 1000))
    assert [len(part) for part in parts] == [0, 0, 100]


def test_what_the_log_keeps_for_itself_reaches_no_inbox() -> None:
    row = {b"ts": b"7", b"expires": b"9", b"erases": b"4 1795", b"kind": b"delete", b"id": b"d1"}
    fields: Fields = [b"expires", b"9", b"kind", b"delete", b"id", b"d1"]
    assert logged(5, row) == LogEntry(5, fields, Erasure(4, 1795), ts=7)


def test_a_target_is_the_identity_it_was_sent_under() -> None:
    assert target_of(HI) == ""
    edit = Message("e1", "alice", (), b"1", "p", kind=Kind.EDIT, target="m1", target_from="alice")
    assert target_of(edit) == HI.identity


def test_a_sender_is_told_the_number_and_who_was_full() -> None:
    told = group_outcome(HI, "team", GroupResult(5, 1795, 3, 1, duplicate=False), "fsynced")
    assert (told.status, told.fault) == (202, None)
    assert told.content == {
        "id": "m1", "from": "alice", "ts": 1795, "duplicate": False, "durability": "fsynced", "group": "team",
        "seq": 5, "members": 3, "refused": 1,
    }  # fmt: skip
    again = group_outcome(HI, "team", GroupResult(5, 1795, 3, 0, duplicate=True), "fsynced")
    assert again.status == 200
    assert "refused" not in again.content
    refused = group_outcome(HI, "team", Fault("no_such_group", "none"), "fsynced")
    assert (refused.status, refused.content, refused.fault) == (404, {}, Fault("no_such_group", "none"))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True).map(sorted), st.integers(1, 14))
def test_the_last_number_before_another_is_the_highest_that_is_owed(ends: list[int], before: int) -> None:
    pairs = [ends[n : n + 2] for n in range(0, len(ends), 2)]
    stays = stays_of(" ".join(f"{pair[0]}-{pair[1]}/1" if len(pair) == 2 else f"{pair[0]}-" for pair in pairs))
    assert last_of(stays, before) == max((n for n in range(1, before) if gets(stays, n)), default=0)
