"""Entries of every kind in one line, from frames and from stream fields alike."""

import json
from typing import Any

import pytest

from service.core.cursor import Cursor
from service.core.entries import Kind, flat, frame, tail_of
from service.ops.entries import framed, origin, place, said

EVERY: list[tuple[list[str], tuple[str, str, str]]] = [
    (["message", "id", "m1", "from", "alice", "to", "bob", "body", '{"text":"hi"}'], ("alice", "bob", "hi")),
    (["message", "id", "m1", "from", "alice", "to", "bob,carol", "body", "[1]"], ("alice", "bob,carol", "[1]")),
    (["message", "id", "m1", "from", "al", "group", "us", "seq", "7", "body", '{"text":"x"}'], ("al", "#us/7", "x")),
    (
        ["edit", "id", "e1", "target", "m1", "target_from", "al", "from", "al", "to", "bob", "body", '{"text":"y"}'],
        ("al", "bob", "m1 says instead: y"),
    ),
    (["delete", "id", "d1", "target", "m1", "target_from", "al", "from", "al", "to", "bob"],
     ("al", "bob", "m1 is deleted")),
    (["react", "id", "r1", "target", "m1", "target_from", "al", "from", "bob", "to", "al", "body", '{"emoji":"x"}'],
     ("bob", "al", 'says of al\'s m1: {"emoji":"x"}')),
    (["react", "id", "r2", "target", "m1", "target_from", "al", "from", "bob", "to", "al", "body", "null"],
     ("bob", "al", "takes back what it said of al's m1")),
    (["receipt", "id", "read:m1", "target", "m1", "receipt", "read", "by", "bob"], ("bob", "", "m1 is read")),
    (["read", "id", "read:m1", "from", "alice", "upto", "m1"], ("alice", "", "has read alice up to m1")),
    (["read", "id", "read:team:7", "group", "team", "upto", "7"], ("", "#team", "has read #team up to 7")),
    (["group", "id", "team:1", "group", "team", "seq", "1", "event", "created", "user", "al", "by", "al", "name", "Us"],
     ("al", "#team/1", "created as Us")),
    (["group", "id", "team:2", "group", "team", "seq", "2", "event", "joined", "user", "bob", "by", "al"],
     ("al", "#team/2", "joined: bob")),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "shown"), EVERY)
def test_an_entry_is_shown_alike_from_its_fields_and_from_its_frame(
    fields: list[str], shown: tuple[str, str, str]
) -> None:
    stored: dict[str, Any] = dict(zip(["kind", *fields[1::2]], [fields[0], *fields[2::2]], strict=True))
    tail = tail_of(flat([part for pair in stored.items() for part in pair]))
    sent = json.loads(frame(tail, Cursor(5, 1), replay=False))
    for one in (framed(stored), sent):
        assert (origin(one), place(one), said(one)) == shown


def test_every_kind_is_shown() -> None:
    assert {Kind(fields[0]) for fields, _ in EVERY} == set(Kind)
    assert said({"type": "deleted", "id": "m1", "from": "al"}) == "m1 was here, and is deleted"


def test_what_somebody_else_wrote_is_shown_as_it_is_and_moves_no_terminal() -> None:
    assert said(framed({"note": "x"})) == ""
    assert said(framed({"kind": "message", "body": "no json \x9b"})) == '"no json \\u009b"'
    assert said(framed({"kind": "group", "event": "renamed", "user": "a", "by": "a", "name": "x\x1b"})) == (
        "renamed as x\\u001b"
    )
