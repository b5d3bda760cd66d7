"""What an application asks for, checked and made an item of the outbox."""

from typing import Any

import pytest
from inboxd_client import ItemKind, Message, OutboxItem, RequestError, SendError
from inboxd_client.drafts import of_change, of_message, signal

MINE: dict[str, Any] = {"id": "m-1", "from": "bob", "to": ["alice", "carol"]}
THEIRS: dict[str, Any] = {"id": "m-2", "from": "alice", "to": "bob", "cursor": "1-1", "body": 1, "ts": 1}
OF_GROUP: dict[str, Any] = {"id": "m-3", "from": "alice", "group": "team", "seq": 4}

WRONG: tuple[tuple[Any, ...], ...] = (
    ("bob", None, ""),
    ("bob", None, "x" * 65),
    ("bob", None, "a b"),
    ([], None, "a"),
    (["b"] * 2, None, "a"),
    ([1], None, "a"),
    ("b/c", None, "a"),
    (None, None, "a"),
    ("bob", "team", "a"),
    (None, "te am", "a"),
    ("bob", None, "a", 0),
    ("bob", None, "a", 2_592_001),
    ("bob", None, "a", True),
)


@pytest.mark.parametrize("asked", WRONG, ids=str)
def test_ids_names_and_times_follow_the_rules(asked: tuple[Any, ...]) -> None:
    to, group, id, *life = asked
    with pytest.raises(SendError, match="invalid_field"):
        of_message(to, group, 1, id, life[0] if life else None, receipts=True)


def frame(item: OutboxItem) -> dict[str, Any]:
    return item.frame(0)


def test_a_send_to_users_and_one_to_a_group_say_only_what_they_need() -> None:
    plain = of_message(("alice", "carol"), None, {"n": 1}, "a", None, receipts=True)
    assert frame(plain) == {"type": "send", "id": "a", "to": ["alice", "carol"], "body": {"n": 1}}
    grouped = of_message(None, "team", None, "b", 9, receipts=False)
    wanted = {"type": "send", "id": "b", "group": "team", "body": None, "expires_in": 9, "receipts": False}
    assert frame(grouped) == wanted


@pytest.mark.parametrize("kind", (ItemKind.EDIT, ItemKind.DELETE, ItemKind.REACT))
def test_a_change_of_ones_own_goes_to_its_recipients(kind: ItemKind) -> None:
    body = {} if kind is ItemKind.DELETE else {"body": 2}
    wanted = {"type": kind.value, "id": "c", "to": ["alice", "carol"], "target": "m-1", **body}
    assert frame(of_change(kind, MINE, 2, "c", "bob")) == wanted


def test_a_reaction_to_anothers_goes_to_its_author_or_its_group() -> None:
    message = Message.of({**THEIRS, "type": "message"})
    wanted = {"type": "react", "id": "c", "to": "alice", "target": "m-2", "target_from": "alice", "body": None}
    assert frame(of_change(ItemKind.REACT, message, None, "c", "bob")) == wanted
    grouped = frame(of_change(ItemKind.REACT, OF_GROUP, {"emoji": "👍"}, "c", "bob"))
    assert (grouped["group"], grouped["target_from"], "to" in grouped) == ("team", "alice", False)


@pytest.mark.parametrize("kind", (ItemKind.EDIT, ItemKind.DELETE))
def test_only_the_author_edits_and_deletes(kind: ItemKind) -> None:
    with pytest.raises(SendError, match="forbidden"):
        of_change(kind, THEIRS, 1, None, "bob")


@pytest.mark.parametrize("target", ({}, {"id": "m-1"}, {"id": 1, "from": "bob", "to": "a"}, {"id": "m", "from": 2}))
def test_what_is_no_message_cannot_be_changed(target: dict[str, Any]) -> None:
    with pytest.raises(SendError, match="invalid_field"):
        of_change(ItemKind.REACT, target, 1, None, "bob")


def test_reactions_and_signals_are_small() -> None:
    with pytest.raises(SendError, match="too_large"):
        of_change(ItemKind.REACT, THEIRS, "é" * 600, None, "bob")
    with pytest.raises(RequestError, match="too_large"):
        signal("alice", None, "é" * 600)
    with pytest.raises(RequestError, match="invalid_field"):
        signal("alice", "team", 1)
    assert signal(("alice",), None, {"typing": True}) == {"type": "signal", "to": ["alice"], "body": {"typing": True}}


def test_the_same_id_with_anything_else_is_another_item() -> None:
    one = of_message("alice", None, 1, "a", None, receipts=True)
    assert one.says_the_same(of_message("alice", None, 1, "a", None, receipts=True))
    others = (
        of_message("alice", None, 2, "a", None, receipts=True),
        of_message("alice", None, 1, "a", 5, receipts=True),
        of_message("alice", None, 1, "a", None, receipts=False),
        of_message(None, "alice", 1, "a", None, receipts=True),
        of_change(ItemKind.EDIT, {"id": "m", "from": "bob", "to": "alice"}, 1, "a", "bob"),
    )
    assert not any(map(one.says_the_same, others))
