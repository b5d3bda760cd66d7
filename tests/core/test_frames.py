"""Client frames are strict; server frames are what the protocol shows."""

from typing import Any

import orjson
import pytest

from service.core import frames
from service.core.cursor import Cursor
from service.core.errors import ClientError, Fault
from service.core.frames import (
    Ack,
    Delete,
    Edit,
    Hello,
    History,
    Ping,
    React,
    Read,
    Send,
    SendFrame,
    Signal,
    Skip,
    Unwatch,
    Watch,
)
from service.core.reading import read_frame, validate

SEND: dict[str, Any] = {"type": "send", "id": "m-17", "to": "bob", "body": {"text": "hi"}}


def fault(value: dict[str, Any]) -> Fault:
    with pytest.raises(ClientError) as caught:
        read_frame(value)
    return caught.value.fault


# What is taken.


@pytest.mark.parametrize(
    ("value", "kind"),
    (
        (SEND, SendFrame),
        ({**SEND, "to": ["bob", "carol"], "expires_in": 60}, SendFrame),
        ({**SEND, "body": None}, SendFrame),
        ({"type": "hello", "device": "phone"}, Hello),
        ({"type": "ack", "cursor": "1795350000123-46"}, Ack),
        ({"type": "skip", "id": "m-17"}, Skip),
        ({"type": "history", "ref": "1"}, History),
        ({"type": "history", "ref": "1", "before": "5-1", "limit": 200, "with": "bob"}, History),
        ({"type": "send", "id": "m-17", "group": "team", "body": 1, "receipts": False}, SendFrame),
        ({"type": "edit", "id": "e-1", "target": "m-17", "to": "bob", "body": 1}, Edit),
        ({"type": "delete", "id": "d-1", "target": "m-17", "group": "team"}, Delete),
        ({"type": "react", "id": "r-1", "target": "m-1", "target_from": "bob", "to": "bob", "body": None}, React),
        ({"type": "read", "from": "alice", "upto": "m-17"}, Read),
        ({"type": "read", "group": "team", "upto": 17}, Read),
        ({"type": "signal", "to": ["bob"], "body": {"typing": True}}, Signal),
        ({"type": "watch", "users": ["bob"]}, Watch),
        ({"type": "unwatch", "users": ["bob"] * 200}, Unwatch),
        ({"type": "history", "ref": "1", "after": "5-1", "group": "team"}, History),
        ({"type": "ping"}, Ping),
        ({"type": "ping", "ref": "x" * 128}, Ping),
    ),
)
def test_frames_of_the_protocol_are_read(value: dict[str, Any], kind: type) -> None:
    assert isinstance(read_frame(value), kind)


def test_a_hello_may_say_everything_or_only_its_device() -> None:
    full = {"type": "hello", "device": "d", "token": "t", "cursor": "0-0", "window": 1024, "attempt": 2**53 - 1}
    hello = read_frame(full)
    assert isinstance(hello, Hello)
    assert (hello.cursor, hello.window, hello.attempt) == ("0-0", 1024, 2**53 - 1)
    plain = read_frame({"type": "hello", "device": "d"})
    assert isinstance(plain, Hello)
    assert (plain.cursor, plain.window, plain.attempt) == (None, 256, None)


@pytest.mark.parametrize("name", ("a", "A-Z.a_z", "bob@example.org", "+49:30", "x" * 128, "..", "-"))
def test_names_are_of_the_alphabet(name: str) -> None:
    assert validate(Send, {"to": name, "body": 1}).to == name


def test_over_http_the_id_may_be_absent_and_the_sender_named() -> None:
    send = validate(Send, {"to": "bob", "body": 1, "from": "carol"})
    assert send.id is None
    assert send.sender == "carol"


# What is refused.


@pytest.mark.parametrize(
    "name",
    (
        "",
        "x" * 129,
        "a b",
        "a/b",
        "{a}",
        "a}",
        "a{",
        "ä",
        "bob\n",
        "\nbob",
        "a\0",
        'a"',
        "a,b",
        "a*",
        "a\u200b",
        "\N{FULLWIDTH LATIN CAPITAL LETTER A}",
    ),
)
@pytest.mark.parametrize("field", ("to", "device"))
def test_other_names_are_a_field_at_fault(field: str, name: str) -> None:
    value = {**SEND, "to": name} if field == "to" else {"type": "hello", "device": name}
    assert (fault(value).code, fault(value).field) == ("invalid_field", field)


@pytest.mark.parametrize("id", ("", "x" * 65, "a b", "ä", "m\n", 17, None, True))
def test_other_ids_are_a_field_at_fault(id: object) -> None:
    found = fault({**SEND, "id": id})
    assert (found.code, found.field) == ("invalid_field", "id")


@pytest.mark.parametrize(
    ("change", "field"),
    (
        ({"to": []}, "to"),
        ({"to": ["bob", ""]}, "to"),
        ({"to": ["bob", 1]}, "to"),
        ({"to": [f"u{n}" for n in range(101)]}, "to"),
        ({"to": 1}, "to"),
        ({"to": {"bob": 1}}, "to"),
        ({"to": None}, "to"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 2_592_001}, "expires_in"),
        ({"expires_in": 60.0}, "expires_in"),
        ({"expires_in": "60"}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"surprise": 1}, "surprise"),
        ({"sender": "carol"}, "sender"),
        ({"from": "a b"}, "from"),
        ({"group": "g"}, "to"),
        ({"to": None, "group": None}, "to"),
        ({"to": None, "group": "a b"}, "group"),
        ({"receipts": 1}, "receipts"),
    ),
)
def test_a_send_with_a_fault_names_the_field(change: dict[str, Any], field: str) -> None:
    found = fault({**SEND, **change})
    assert (found.code, found.field) == ("invalid_field", field)


@pytest.mark.parametrize("missing", ("id", "to", "body"))
def test_a_send_without_something_names_it(missing: str) -> None:
    found = fault({name: value for name, value in SEND.items() if name != missing})
    assert (found.code, found.field) == ("invalid_field", missing)


@pytest.mark.parametrize(
    ("change", "field"),
    (
        ({"window": 0}, "window"),
        ({"window": 1025}, "window"),
        ({"window": 256.0}, "window"),
        ({"window": True}, "window"),
        ({"window": "256"}, "window"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": 2**53}, "attempt"),
        ({"attempt": True}, "attempt"),
        ({"cursor": "1-01"}, "cursor"),
        ({"cursor": "1-1\n"}, "cursor"),
        ({"cursor": 5}, "cursor"),
        ({"token": 5}, "token"),
        ({"device": None}, "device"),
        ({"user": "bob"}, "user"),
    ),
)
def test_a_hello_with_a_fault_names_the_field(change: dict[str, Any], field: str) -> None:
    found = fault({"type": "hello", "device": "phone", **change})
    assert (found.code, found.field) == ("invalid_field", field)


@pytest.mark.parametrize(
    ("value", "field"),
    (
        ({"type": "edit", "id": "e-1", "target": "m-17", "to": "bob"}, "body"),
        ({"type": "edit", "id": "e-1", "target": "m-17", "body": 1}, "to"),
        ({"type": "delete", "id": "d-1", "target": "m-17", "to": "bob", "body": 1}, "body"),
        ({"type": "react", "id": "r-1", "target": "a b", "to": "bob", "body": 1}, "target"),
        ({"type": "read", "upto": "m-17"}, "from"),
        ({"type": "read", "from": "alice", "group": "team", "upto": 1}, "from"),
        ({"type": "read", "from": "alice", "upto": 17}, "upto"),
        ({"type": "read", "group": "team", "upto": "m-17"}, "upto"),
        ({"type": "read", "group": "team", "upto": 0}, "upto"),
        ({"type": "signal", "body": 1}, "to"),
        ({"type": "watch", "users": []}, "users"),
        ({"type": "watch", "users": ["bob"] * 201}, "users"),
        ({"type": "history", "ref": "1", "before": "5-1", "after": "5-1"}, "after"),
        ({"type": "history", "ref": "1", "with": "bob", "group": "team"}, "group"),
    ),
)
def test_what_is_around_a_message_names_the_field_at_fault(value: dict[str, Any], field: str) -> None:
    found = fault(value)
    assert (found.code, found.field) == ("invalid_field", field)


@pytest.mark.parametrize("text", ("0-0", "1-1", "9999999999999999-9999999999999999"))
def test_a_cursor_a_frame_takes_can_be_read(text: str) -> None:
    frame = read_frame({"type": "ack", "cursor": text})
    assert isinstance(frame, Ack)
    assert str(Cursor.parse(frame.cursor)) == text


# What the server says.


def test_an_error_carries_what_it_answers() -> None:
    told = orjson.loads(frames.error_frame(Fault("invalid_field", "to: names a user twice", "to"), id="m-17"))
    assert told == {
        "type": "error",
        "code": "invalid_field",
        "message": "to: names a user twice",
        "id": "m-17",
        "field": "to",
        "retryable": False,
    }


def test_an_error_of_a_request_with_a_ref_carries_the_ref() -> None:
    told = orjson.loads(frames.error_frame(Fault("unavailable", "gone"), ref="r", recipients=[{"to": "bob"}]))
    assert told["ref"] == "r"
    assert told["retryable"] is True
    assert told["recipients"] == [{"to": "bob"}]
    assert "id" not in told
    assert "field" not in told


@pytest.mark.parametrize(
    ("raw", "frame"),
    (
        (frames.pong_frame(None), {"type": "pong"}),
        (frames.pong_frame('a"b'), {"type": "pong", "ref": 'a"b'}),
        (frames.live_frame(Cursor(5, 1)), {"type": "live", "cursor": "5-1"}),
        (
            frames.closing_frame("the worker is restarting", 250),
            {"type": "closing", "reason": "the worker is restarting", "reconnect_after_ms": 250},
        ),
        (frames.broadcast_frame(b'{"a":1}', 17), {"type": "broadcast", "body": {"a": 1}, "ts": 17}),
        (frames.history_frame('r"', [], more=False), {"type": "history", "ref": 'r"', "entries": [], "more": False}),
        (
            frames.history_frame("r", [b'{"id":"b"}', b'{"id":"a"}'], more=True),
            {"type": "history", "ref": "r", "entries": [{"id": "b"}, {"id": "a"}], "more": True},
        ),
    ),
)
def test_a_frame_of_the_server_is_what_the_protocol_shows(raw: bytes, frame: dict[str, Any]) -> None:
    assert orjson.loads(raw) == frame
    assert b"\n" not in raw
