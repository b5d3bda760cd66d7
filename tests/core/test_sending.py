"""Messages on their way in, and what a sender is told became of them."""

from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import Cursor
from service.core.entries import flat
from service.core.errors import ClientError
from service.core.frames import Delete, Edit, React, Send
from service.core.reading import read_frame, validate
from service.core.sending import (
    Appended,
    AppendStatus,
    Message,
    accepted_frame,
    change_of,
    fingerprint,
    message_of,
    outcome,
)

APPENDED, DUPLICATE, REUSED, FULL, FAILED = (
    AppendStatus.APPENDED,
    AppendStatus.DUPLICATE,
    AppendStatus.REUSED,
    AppendStatus.FULL,
    AppendStatus.FAILED,
)


def message(value: dict[str, Any], max_body: int = 65_536) -> Message:
    return message_of(validate(Send, value), "alice", "m-17", max_body)


def result(status: AppendStatus, seq: int = 46) -> Appended:
    at = Cursor(1795350000123, seq)
    return Appended(status, at if status in (APPENDED, DUPLICATE) else None)


# Messages.


def test_a_message_is_compact_and_complete() -> None:
    built = message({"to": "bob", "body": {"text": "hi ä"}, "expires_in": 60})
    assert built.body == '{"text":"hi ä"}'.encode()
    assert (built.id, built.sender, built.to, built.expires_in) == ("m-17", "alice", ("bob",), 60)
    assert not built.listed
    assert built.identity == "m/alice/m-17"


def test_only_the_senders_own_entry_names_all_recipients() -> None:
    built = message({"to": ["bob", "carol"], "body": 1})
    assert built.listed
    assert built.to_of("bob") == "bob"
    assert built.to_of("alice") == "bob,carol"
    assert orjson.loads(built.tail("carol"))["to"] == "carol"
    assert orjson.loads(built.tail("alice"))["to"] == ["bob", "carol"]
    assert built.fields("bob")[6:8] == ["to", "bob"]


def test_a_user_named_twice_is_a_field_at_fault() -> None:
    with pytest.raises(ClientError) as caught:
        message({"to": ["bob", "carol", "bob"], "body": 1})
    assert (caught.value.fault.code, caught.value.fault.field) == ("invalid_field", "to")


def test_a_body_counts_in_bytes_of_compact_json() -> None:
    assert message({"to": "bob", "body": {"a": "ä"}}, max_body=10).body == '{"a":"ä"}'.encode()
    with pytest.raises(ClientError) as caught:
        message({"to": "bob", "body": {"a": "ää"}}, max_body=10)
    assert (caught.value.fault.code, caught.value.fault.field) == ("too_large", "body")


def test_a_body_nested_too_deep_is_a_field_at_fault() -> None:
    body: Any = 1
    for _ in range(65):
        body = [body]
    with pytest.raises(ClientError) as caught:
        message({"to": "bob", "body": body})
    assert (caught.value.fault.code, caught.value.fault.field) == ("invalid_field", "body")


# Fingerprints.


def test_the_order_of_keys_does_not_count() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"))
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner), max_leaves=8)


@given(TREES, TREES)
def test_other_bodies_have_other_fingerprints(one: Any, other: Any) -> None:
    # Compared as text, because to Python 1 == True.
    assert (fingerprint(one) == fingerprint(other)) == (
        orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    )


def test_a_fingerprint_is_16_hex_digits() -> None:
    assert len(fingerprint({"text": "hi"})) == 16
    int(fingerprint({"text": "hi"}), 16)


# Outcomes.


def test_the_first_time_is_202() -> None:
    told = outcome(message({"to": "bob", "body": 1}), [result(APPENDED)], "fsynced")
    assert told.status == 202
    assert told.fault is None
    assert told.content == {
        "id": "m-17",
        "from": "alice",
        "ts": 1795350000123,
        "duplicate": False,
        "durability": "fsynced",
        "recipients": [{"to": "bob", "cursor": "1795350000123-46"}],
    }


def test_a_repeat_is_200_with_the_first_cursor() -> None:
    told = outcome(message({"to": "bob", "body": 1}), [result(DUPLICATE)], "appended")
    assert told.status == 200
    assert told.content["duplicate"] is True
    assert told.content["recipients"] == [{"to": "bob", "cursor": "1795350000123-46"}]


@pytest.mark.parametrize(
    ("status", "http", "code"), ((REUSED, 422, "id_reused"), (FULL, 507, "inbox_full"), (FAILED, 500, "internal"))
)
def test_a_refusal_of_the_only_recipient_is_a_problem(status: AppendStatus, http: int, code: str) -> None:
    told = outcome(message({"to": "bob", "body": 1}), [result(status)], "appended")
    assert told.status == http
    assert told.fault is not None
    assert told.fault.code == code
    assert told.content == {}


def several(*results: Appended) -> Any:
    to = ["bob", "carol", "dave"][: len(results)]
    return outcome(message({"to": to, "body": 1}), results, "appended")


def test_one_of_several_accepted_is_202_and_the_others_say_why_not() -> None:
    told = several(result(FULL), result(APPENDED, 7), result(REUSED))
    assert told.status == 202
    assert told.fault is None
    assert told.content["recipients"] == [
        {"to": "bob", "error": "inbox_full"},
        {"to": "carol", "cursor": "1795350000123-7"},
        {"to": "dave", "error": "id_reused"},
    ]


def test_some_new_and_some_repeated_each_say_which() -> None:
    told = several(result(DUPLICATE, 3), result(APPENDED, 7), result(FULL))
    assert told.status == 202
    assert told.content["duplicate"] is False
    assert told.content["recipients"] == [
        {"to": "bob", "cursor": "1795350000123-3", "duplicate": True},
        {"to": "carol", "cursor": "1795350000123-7", "duplicate": False},
        {"to": "dave", "error": "inbox_full"},
    ]


def test_nothing_new_but_some_refused_is_200() -> None:
    told = several(result(DUPLICATE, 3), result(FULL))
    assert told.status == 200
    assert told.content["duplicate"] is True
    assert told.content["recipients"] == [
        {"to": "bob", "cursor": "1795350000123-3"},
        {"to": "carol", "error": "inbox_full"},
    ]


def test_all_refused_is_a_problem_with_the_first_refusal_and_all_recipients() -> None:
    told = several(result(FULL), result(REUSED))
    assert told.status == 507
    assert told.fault is not None
    assert told.fault.code == "inbox_full"
    assert told.content == {"recipients": [{"to": "bob", "error": "inbox_full"}, {"to": "carol", "error": "id_reused"}]}


def test_a_list_of_one_that_is_refused_is_still_a_list() -> None:
    told = outcome(message({"to": ["bob"], "body": 1}), [result(FULL)], "appended")
    assert told.content == {"recipients": [{"to": "bob", "error": "inbox_full"}]}


# Edits, deletions and reactions.


def changed(**more: Any) -> Message:
    value = {"id": "e-1", "target": "m-17", "to": "bob", **more}
    return change_of(cast("Edit | Delete | React", read_frame(value)), "alice", 100)


def test_an_edit_has_its_own_identity_and_names_its_target() -> None:
    edit = changed(type="edit", body={"text": "new"})
    assert (edit.identity, edit.target, edit.target_from) == ("edit/alice/e-1", "m-17", "alice")
    assert orjson.loads(edit.tail("bob")) == {
        "type": "edit", "id": "e-1", "target": "m-17", "target_from": "alice", "from": "alice", "to": "bob",
        "body": {"text": "new"},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ("edit", "delete"))
def test_only_ones_own_message_can_be_changed(kind: str) -> None:
    with pytest.raises(ClientError) as caught:
        changed(type=kind, target_from="bob", **({"body": 1} if kind == "edit" else {}))
    assert (caught.value.fault.code, caught.value.fault.field) == ("invalid_field", "target_from")


def test_a_deletion_has_no_body() -> None:
    gone = changed(type="delete")
    assert b"body" not in flat(gone.fields("bob"))
    assert "body" not in orjson.loads(gone.tail("bob"))


def test_a_reaction_is_small_and_may_be_to_anybodys_message() -> None:
    assert changed(type="react", target_from="bob", body={"emoji": "x"}).target_from == "bob"
    with pytest.raises(ClientError) as caught:
        changed(type="react", target_from="bob", body="x" * 1023)
    assert caught.value.fault.code == "too_large"


def test_the_same_body_for_another_target_is_another_change() -> None:
    assert changed(type="react", body=None).print != changed(type="react", body=None, target="m-18").print


def test_a_message_without_receipts_says_so_in_the_stream_alone() -> None:
    message = message_of(validate(Send, {"to": "bob", "body": 1, "receipts": False}), "alice", "m-17", 100)
    assert flat(message.fields("bob"))[b"receipts"] == b"off"
    assert orjson.loads(message.tail("bob")) == {
        "type": "message",
        "id": "m-17",
        "from": "alice",
        "to": "bob",
        "body": 1,
    }


@given(
    st.from_regex(r"[A-Za-z0-9._\-@:+]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9._\-@:+]{1,128}", fullmatch=True),
    st.integers(0, 10**16 - 1),
    st.integers(1, 10**16 - 1),
)
def test_the_frame_of_what_is_accepted_says_what_any_answer_says(id: str, to: str, ms: int, seq: int) -> None:
    sent, told = Message(id, "alice", (to,), b"{}", "p"), Appended(APPENDED, Cursor(ms, seq), Cursor(ms, seq - 1))
    content = outcome(sent, [told], "fsynced").content
    del content["from"]
    assert accepted_frame(sent, told, "fsynced") == orjson.dumps({"type": "accepted", **content})
