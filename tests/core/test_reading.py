"""What a client wrote becomes a model, or an error that says in words what is wrong."""

from typing import Any

import pytest

from service.core.errors import ClientError, Fault
from service.core.reading import read_frame, read_object

SEND: dict[str, Any] = {"type": "send", "id": "m-17", "to": "bob", "body": {"text": "hi"}}


def fault(value: dict[str, Any]) -> Fault:
    with pytest.raises(ClientError) as caught:
        read_frame(value)
    return caught.value.fault


@pytest.mark.parametrize("kind", ("subscribe", "", None, 1, ["send"], {"a": 1}, "SEND", "welcome"))
def test_a_type_that_is_not_known_is_said_to_be(kind: object) -> None:
    assert fault({"type": kind}).code == "unknown_type"


def test_a_frame_without_a_type_is_of_no_known_type() -> None:
    assert fault({"id": "m"}).code == "unknown_type"


@pytest.mark.parametrize("line", (b"[]", b"1", b'"hello"', b"null", b"true", b"{", b""))
def test_a_line_that_is_no_object_is_malformed(line: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        read_object(line)
    assert caught.value.fault.code == "malformed_json"


def test_a_line_is_read_strictly() -> None:
    assert read_object(b'{"type":"ping"}') == {"type": "ping"}
    with pytest.raises(ClientError) as caught:
        read_object(b'{"type":"ping","ref":18446744073709551616}')
    assert caught.value.fault.code == "invalid_field"


@pytest.mark.parametrize("more", (1, 10))
def test_an_unknown_field_is_named_but_not_at_any_length(more: int) -> None:
    found = fault({**SEND, **{f"{n}{'u' * 1000}": n for n in range(more)}})
    assert found.code == "invalid_field"
    assert found.field == "0" + "u" * 63 + "…"
    assert len(found.detail) < 200


def test_among_more_fields_than_there_are_the_first_unknown_one_is_named() -> None:
    found = fault({**SEND, "from": "carol", "expires_in": 1, "sender": "carol", "": 1})
    assert (found.code, found.field) == ("invalid_field", "sender")
