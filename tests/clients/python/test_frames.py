"""What comes in lines, and what identifies it."""

import json

import pytest
from inboxd_client.frames import Acceptance, MalformedError, Message, identity, lines

MESSAGE = {"type": "message", "cursor": "1-2", "id": "m-1", "from": "alice", "to": "bob", "body": None, "ts": 1}


def test_one_frame_holds_an_object_a_line_and_empty_lines_are_skipped() -> None:
    assert list(lines('{"type":"pong"}\n\n{"type":"live","cursor":"1-1"}\n')) == [
        {"type": "pong"},
        {"type": "live", "cursor": "1-1"},
    ]


@pytest.mark.parametrize(
    "data",
    (b"[1]", "nonsense", "[]", "{}", '{"type":1}', '{"type":"live","cursor":"x"}', '{"type":"message","cursor":"1-1"}'),
)
def test_what_is_no_frame_is_told(data: str | bytes) -> None:
    with pytest.raises(MalformedError):
        list(lines(data))


def test_fields_and_types_that_are_not_known_are_kept() -> None:
    text = json.dumps({"type": "new", "cursor": "1-1", "more": 1})
    assert list(lines(text)) == [{"type": "new", "cursor": "1-1", "more": 1}]


def test_an_identity_is_kind_and_who_and_id() -> None:
    assert identity(MESSAGE) == "message/alice/m-1"
    assert identity({"type": "receipt", "by": "bob", "id": "r"}) == "receipt/bob/r"
    assert identity({"type": "read", "id": "r"}) == "read//r"
    assert identity({"type": "read", "group": "team", "id": "r"}) == "read/team/r"
    assert identity({"type": "group", "group": "team", "by": "bob", "id": "team:1"}) == "group/team/team:1"
    assert identity({"type": "edit", "from": "alice", "group": "team", "id": "e"}) == "edit/alice/e"
    assert identity({"type": "gap", "id": "g"}) is None
    assert identity({"type": "deleted", "from": "alice"}) is None


def test_a_message_and_an_acceptance_keep_all_that_came() -> None:
    message = Message.of({**MESSAGE, "replay": True, "later": 1})
    assert (message.sender, message.body, message.replay, message.frame["later"]) == ("alice", None, True, 1)
    acceptance = Acceptance.of({"type": "accepted", "id": "m-1", "ts": 1, "durability": "fsynced", "group": "g"})
    assert (acceptance.duplicate, acceptance.recipients, acceptance.group) == (False, [], "g")
    assert (acceptance.members, acceptance.refused) == (None, 0)
