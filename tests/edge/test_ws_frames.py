"""Frames after `hello`: what is told by an `error` and what ends the connection; bundles, pings, sends."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from scripts.lab.service import Service
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.wire import Wire


@pytest.fixture
async def phone(service: Service, alice: str) -> AsyncIterator[Device]:
    """Alice's phone, connected and live."""
    async with Device(service.url, alice) as phone:
        await phone.go_live()
        yield phone


# What stays


@pytest.mark.parametrize("kind", ("surprise", "", "HELLO", "welcome", "accepted", "Send"))
async def test_an_unknown_type_is_told_and_the_connection_stays(phone: Device, kind: str) -> None:
    await phone.say({"type": kind})
    error = await phone.wire.next("error")
    assert (error["code"], error["retryable"]) == ("unknown_type", False)
    await phone.ping()


@pytest.mark.parametrize("frame", ({}, {"typ": "ping"}, {"type": None}, {"type": 1}, {"type": ["ping"]}))
async def test_a_frame_without_a_type_is_told_and_the_connection_stays(phone: Device, frame: Any) -> None:
    await phone.wire.send(frame)
    assert (await phone.wire.next("error"))["code"] == "unknown_type"
    await phone.ping()


@pytest.mark.parametrize(
    "more",
    (
        {"to": "bob}:x"},
        {"to": []},
        {"to": 1},
        {"to": None},
        {"expires_in": 0},
        {"expires_in": True},
        {"surprise": 1},
        {"from": "b b"},
    ),
)
async def test_a_send_at_fault_is_told_with_its_id_and_the_connection_stays(
    phone: Device, bob: str, more: dict[str, Any]
) -> None:
    await phone.say({"type": "send", "id": "m-1", "to": bob, "body": 1, **more})
    error = await phone.wire.next("error", id="m-1")
    assert (error["code"], error["retryable"]) == ("invalid_field", False)
    assert (await phone.send("m-2", bob, 2))["type"] == "accepted"


@pytest.mark.parametrize("frame", ({"id": "bad id"}, {"id": ""}, {"id": 7}, {"id": None}, {"id": "x" * 65}, {}))
async def test_a_send_without_a_proper_id_is_told(phone: Device, bob: str, frame: dict[str, Any]) -> None:
    await phone.say({"type": "send", "to": bob, "body": 1, **frame})
    error = await phone.wire.next("error")
    assert (error["code"], error.get("field", "id")) == ("invalid_field", "id")
    await phone.ping()


async def test_a_send_without_a_body_is_told(phone: Device, bob: str) -> None:
    await phone.say({"type": "send", "id": "m-1", "to": bob})
    assert (await phone.answer("m-1"))["code"] == "invalid_field"


@pytest.mark.parametrize(
    ("body", "code"),
    (
        ("1" * 30, "invalid_field"),
        ("[" * 65 + "]" * 65, "invalid_field"),
        (f'"{"x" * 65_535}"', "too_large"),
    ),
)
async def test_a_body_at_fault_is_told_with_the_id(phone: Device, bob: str, body: str, code: str) -> None:
    phone.rules.sent({"type": "send", "id": "m-1"})
    await phone.wire.send_text(f'{{"type":"send","id":"m-1","to":"{bob}","body":{body}}}')
    assert (await phone.wire.next("error", id="m-1"))["code"] == code
    await phone.ping()


@pytest.mark.parametrize(
    "frame",
    (
        {"type": "ping", "ref": 1},
        {"type": "ping", "more": 1},
        {"type": "skip"},
        {"type": "skip", "id": 1},
        {"type": "history"},
        {"type": "history", "ref": "r", "limit": 0},
        {"type": "history", "ref": "r", "limit": 201},
        {"type": "history", "ref": "r", "limit": True},
        {"type": "history", "ref": "r", "before": "x"},
        {"type": "history", "ref": "r", "with": "b b"},
    ),
)
async def test_another_frame_at_fault_is_told_and_the_connection_stays(phone: Device, frame: Any) -> None:
    await phone.wire.send(frame)
    assert (await phone.wire.next("error"))["code"] == "invalid_field"
    await phone.ping()


@pytest.mark.parametrize(
    "text",
    (
        r'{"type":"send","id":"\ud800","to":"bob","body":1}',
        r'{"type":"send","id":"m-1","to":"bob","body":"\udc00"}',
        r'{"type":"send","id":"m-1","to":"\ud800","body":1}',
        r'{"type":"ping","ref":"\ud800"}',
        r'{"type":"history","ref":"\ud83d"}',
        r'{"type":"skip","id":"\ud800"}',
        r'{"type":"\ud800"}',
        r'{"\ud800":1,"type":"ping"}',
        r'{"type":"ping","ref":18446744073709551616}',
    ),
)
async def test_json_that_is_not_taken_anywhere_in_a_frame_is_told_and_the_connection_stays(
    phone: Device, text: str
) -> None:
    phone.rules.sent({"type": "send", "id": "m-1"})
    await phone.wire.send_text(text)
    assert (await phone.wire.next("error"))["code"] in {"invalid_field", "unknown_type"}
    await phone.ping()


# What ends


@pytest.mark.parametrize(
    "text", ("{", "nonsense", "[]", '"text"', "1", "null", '{"type": "ping"', '{"type": "ping", "ref": NaN}')
)
async def test_what_is_no_json_object_ends_the_connection(phone: Device, text: str) -> None:
    await phone.wire.send_text(text)
    assert await phone.wire.ended() == 4500
    assert [frame["code"] for frame in phone.wire.of("error")] == ["malformed_json"]
    assert phone.wire.close_reason == "malformed_json"


async def test_a_binary_frame_ends_the_connection(phone: Device) -> None:
    await phone.wire.send_binary(b'{"type": "ping"}')
    assert await phone.wire.ended() == 4500
    assert len(phone.wire.of("error")) == 1


@pytest.mark.parametrize("text", (b'{"type": "\xff"}', b"\xc0\x80", b"\xed\xa0\x80", b'{"type": "\xe2\x82'))
async def test_a_text_frame_that_is_not_utf_8_ends_the_connection_with_1007(phone: Device, text: bytes) -> None:
    await phone.wire.send_text(text)
    assert await phone.wire.ended() == 1007


async def test_a_frame_of_a_mebibyte_is_taken_and_one_more_byte_ends_the_connection(phone: Device) -> None:
    frame = '{"type": "ping", "ref": "big"}'
    phone.rules.sent({"type": "ping"})
    await phone.wire.send_text(frame + " " * (1_048_576 - len(frame)))
    await phone.wire.next("pong", ref="big")
    await phone.wire.send_text(frame + " " * (1_048_577 - len(frame)))
    assert await phone.wire.ended() == 1009


async def test_what_was_handled_before_a_fault_in_the_same_bundle_counts(phone: Device, api: Api, bob: str) -> None:
    phone.rules.sent({"type": "send", "id": "m-1"})
    good = f'{{"type":"send","id":"m-1","to":"{bob}","body":1}}'
    bad = f'{{"type":"send","id":"m-2","to":"{bob}","body":1}}'
    await phone.wire.send_text(f"{good}\n{{\n{bad}")
    assert await phone.wire.ended() == 4500
    view = (await api.http.get(f"/v1/ops/inboxes/{bob}")).json()
    assert view.get("length", 0) <= 1, "nothing behind the fault is done"


async def test_the_faults_of_one_client_disturb_no_other(service: Service, phone: Device, bob: str) -> None:
    async with Device(service.url, bob) as other:
        await phone.wire.send_text("{")
        assert await phone.wire.ended() == 4500
        await other.send("m-1", bob, "still here")
        assert (await other.receive(1))[0]["id"] == "m-1"


# Bundles


async def test_a_bundle_is_handled_in_the_order_of_its_lines(phone: Device, bob: str) -> None:
    sends = [{"type": "send", "id": f"m-{number}", "to": bob, "body": number} for number in range(100)]
    await phone.say(*sends, {"type": "ping", "ref": "end"})
    await phone.wire.next("pong", ref="end")
    answers = [await phone.answer(f"m-{number}") for number in range(100)]
    assert [Cursor.parse(answer["recipients"][0]["cursor"]).seq for answer in answers] == list(range(1, 101))


async def test_the_service_bundles_what_is_ready(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 200)
    async with Device(service.url, bob) as phone:
        await phone.receive(200)
        assert max(phone.wire.bundles) > 1


async def test_a_bad_line_among_good_ones_is_told_and_the_others_are_handled(phone: Device, bob: str) -> None:
    sends = [{"type": "send", "id": f"m-{number}", "to": bob, "body": number} for number in range(3)]
    await phone.say(sends[0], {"type": "surprise"}, sends[1], {**sends[2], "to": "b b"})
    assert (await phone.answer("m-0"))["type"] == "accepted"
    assert (await phone.answer("m-1"))["type"] == "accepted"
    assert (await phone.answer("m-2"))["type"] == "error"


# Fragments and compression


async def test_a_frame_in_fragments_is_one_frame(phone: Device, bob: str) -> None:
    phone.rules.sent({"type": "send", "id": "m-1"})
    text = f'{{"type":"send","id":"m-1","to":"{bob}","body":"h\u00e9llo"}}'
    await phone.wire.connection.send(iter(text))
    assert (await phone.answer("m-1"))["type"] == "accepted"


async def test_fragments_are_held_to_the_limit_together(phone: Device) -> None:
    with contextlib.suppress(ConnectionClosed):
        await phone.wire.connection.send(iter([" " * 100_000] * 11))
    assert await phone.wire.ended() == 1009


async def test_what_only_compressed_is_small_is_held_to_the_limit_too(service: Service, bob: str) -> None:
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/v1/ws?user={bob}", compressed=True)
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("welcome")
    await wire.send_text(" " * 5_000_000)
    assert await wire.ended() == 1009


# Pings


async def test_a_ping_gets_its_ref_back(phone: Device) -> None:
    await phone.say({"type": "ping", "ref": "r-1"}, {"type": "ping"})
    assert await phone.wire.next("pong", ref="r-1") == {"type": "pong", "ref": "r-1"}
    assert await phone.wire.next("pong") == {"type": "pong"}


async def test_a_client_that_answers_pings_stays_for_as_long_as_it_likes(phone: Device) -> None:
    await phone.wire.until(lambda: phone.wire.pings >= 4 or None, "four pings of the service")
    await phone.ping()


async def test_a_client_that_answers_no_ping_is_gone_with_4001(phone: Device) -> None:
    phone.wire.ignore_pings()
    assert await phone.wire.ended() == 4001
    assert phone.wire.pings >= 1


# Sends


async def test_accepted_says_what_an_http_answer_says(phone: Device, api: Api, bob: str) -> None:
    accepted = await phone.send("m-1", bob, {"a": 1})
    again = (await api.post({"id": "m-1", "to": bob, "body": {"a": 1}})).json()
    assert accepted.pop("type") == "accepted"
    del again["from"]
    assert again == {**accepted, "duplicate": True}


async def test_a_repeated_send_gets_the_original_answer(phone: Device, bob: str) -> None:
    first = await phone.send("m-1", bob, 1)
    assert await phone.send("m-1", bob, 1) == {**first, "duplicate": True}


async def test_another_body_under_the_same_id_is_told(phone: Device, bob: str) -> None:
    await phone.send("m-1", bob, 1)
    error = await phone.send("m-1", bob, 2)
    assert (error["code"], error["retryable"]) == ("id_reused", False)


async def test_several_recipients_are_answered_like_over_http(phone: Device, bob: str, carol: str) -> None:
    accepted = await phone.send("m-1", [bob, carol], 1)
    assert [one["to"] for one in accepted["recipients"]] == [bob, carol]


async def test_a_message_reaches_the_other_side_exactly_as_it_was_sent(
    service: Service, phone: Device, alice: str, bob: str
) -> None:
    body = {"text": "h\u00e9\u20ac\U0001f600\n\u2028", "n": [1, 2.5, None, True, -(2**63), 2**64 - 1], "": {}}
    async with Device(service.url, bob) as other:
        await other.go_live()
        accepted = await phone.send("m-1", bob, body)
        (entry,) = await other.receive(1)
    assert entry == {
        "type": "message",
        "cursor": accepted["recipients"][0]["cursor"],
        "id": "m-1",
        "from": alice,
        "to": bob,
        "body": body,
        "ts": accepted["ts"],
    } | ({"replay": entry["replay"]} if "replay" in entry else {})


async def test_skip_of_nothing_is_harmless(phone: Device, bob: str) -> None:
    await phone.say({"type": "skip", "id": "never-sent"})
    await phone.ping()
    assert (await phone.send("m-1", bob, 1))["type"] == "accepted"


# Reads


@pytest.mark.parametrize(
    ("said", "code"),
    (
        ({"from": "nobody", "upto": "m-0"}, "no_such_message"),
        ({"group": "nowhere", "upto": 1}, "no_such_group"),
    ),
)
async def test_an_error_names_the_read_it_answers(phone: Device, said: dict[str, Any], code: str) -> None:
    """It has no id: only so a client knows which one it need not say again."""
    await phone.say({"type": "read", **said})
    error = await phone.wire.next("error")
    assert error["code"] == code
    assert {name: error.get(name) for name in said} == said
    await phone.ping()
