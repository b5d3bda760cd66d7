"""Section 2 of the protocol over HTTP: every limit at its edge, one step beyond, what is refused there."""

import json
from typing import Any

import pytest

from tests.support.api import Api, problem

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@:+"
HOSTILE = (
    "",
    " ",
    "bob}:x",
    "{bob}",
    "*",
    "bob*",
    "bob?",
    "bob\n",
    "\nbob",
    "bob\r\n",
    "bob\x00",
    "bob bob",
    "bob/phone",
    "../bob",
    "bob,carol",
    "b\u00f6b",
    "\u0431\u043e\u0431",
    "bob\u200b",
    "\U0001f600",
    "bob#",
    'bob"',
    "bob'",
    "bob\\",
    "bob%20",
    "bob=",
    "!kick",
    "[bob]",
    "bob;",
    "\uff42ob",
)
NO_STRINGS: tuple[Any, ...] = (1, 1.5, True, None, {}, {"user": "bob"})
MAX_BODY = 65_536


# Names


async def test_a_name_may_use_the_whole_alphabet_and_128_characters(api: Api) -> None:
    name = (ALPHABET * 2)[:128]
    assert (await api.send(name))["recipients"][0]["to"] == name
    assert (await api.inbox(name))["length"] >= 1


@pytest.mark.parametrize("name", (*HOSTILE, "x" * 129))
async def test_a_hostile_recipient_is_refused(api: Api, name: str) -> None:
    problem(await api.post({"to": name, "body": 1}), 422, "invalid_field", "to")


@pytest.mark.parametrize("name", (*HOSTILE, "x" * 129))
async def test_a_hostile_recipient_in_a_list_refuses_the_whole(api: Api, bob: str, name: str) -> None:
    problem(await api.post({"to": [bob, name], "body": 1}), 422, "invalid_field", "to")
    assert (await api.http.get(f"/v1/ops/inboxes/{bob}")).json().get("length", 0) == 0


@pytest.mark.parametrize("name", (*HOSTILE, "x" * 129))
async def test_a_hostile_sender_is_refused(api: Api, bob: str, name: str) -> None:
    problem(await api.post({"to": bob, "body": 1, "from": name}), 422, "invalid_field", "from")


@pytest.mark.parametrize("name", (*HOSTILE, "x" * 65))
async def test_a_hostile_message_id_is_refused(api: Api, bob: str, name: str) -> None:
    problem(await api.post({"to": bob, "body": 1, "id": name}), 422, "invalid_field", "id")


async def test_a_message_id_may_have_64_characters(api: Api, bob: str) -> None:
    message_id = (ALPHABET * 2)[-64:]
    assert (await api.send(bob, 1, message_id))["id"] == message_id


@pytest.mark.parametrize("name", ("bob}:x", "*", "b\u00f6b", "x" * 129, "bob bob", "bob/phone"))
async def test_a_hostile_name_in_the_query_names_nobody(api: Api, bob: str, name: str) -> None:
    del api.http.headers["X-Inboxd-User"]
    response = await api.http.post("/v1/messages", params={"user": name}, json={"to": bob, "body": 1})
    assert response.status_code in {401, 422}
    problem(response, response.status_code, response.json()["code"])


@pytest.mark.parametrize("name", (b"bob}:x", b"*", b"b\xc3\xb6b", b"b\xf6b", b"x" * 129, b"bob bob"))
async def test_a_hostile_name_in_the_header_names_nobody(api: Api, bob: str, name: bytes) -> None:
    headers = [(b"X-Inboxd-User", name)]
    del api.http.headers["X-Inboxd-User"]
    response = await api.http.post("/v1/messages", headers=headers, json={"to": bob, "body": 1})
    assert response.status_code in {401, 422}
    problem(response, response.status_code, response.json()["code"])


@pytest.mark.parametrize("name", [name for name in HOSTILE if name] + ["x" * 129])
async def test_a_hostile_device_is_refused(api: Api, name: str) -> None:
    response = await api.http.get("/v1/inbox", params={"device": name})
    problem(response, 422, "invalid_field", "device")
    response = await api.http.post("/v1/inbox/ack", json={"device": name, "cursor": "0-0"})
    problem(response, 422, "invalid_field", "device")


# Types


@pytest.mark.parametrize(
    ("field", "value"),
    # null may well mean absent where a field may be absent
    [(field, value) for field in ("to", "from", "id") for value in NO_STRINGS if value is not None or field == "to"],
)
async def test_a_name_is_a_string(api: Api, bob: str, field: str, value: Any) -> None:
    content = {"to": bob, "body": 1, field: value}
    problem(await api.post(content), 422, "invalid_field", field)


@pytest.mark.parametrize("value", ([1], [True], [None], [["bob"]], [{}]))
async def test_a_list_of_recipients_holds_names(api: Api, value: Any) -> None:
    problem(await api.post({"to": value, "body": 1}), 422, "invalid_field", "to")


@pytest.mark.parametrize("value", (True, False, 1.5, 1.0, "5", [5], {}, 0, -1, 2_592_001, 2**63, 2**70))
async def test_expires_in_is_whole_seconds_within_30_days(api: Api, bob: str, value: Any) -> None:
    problem(await api.post({"to": bob, "body": 1, "expires_in": value}), 422, "invalid_field")


@pytest.mark.parametrize("value", (1, 2_592_000))
async def test_expires_in_may_be_a_second_or_30_days(api: Api, bob: str, value: int) -> None:
    await api.send(bob, 1, expires_in=value)


@pytest.mark.parametrize("field", ("bodi", "", "Body", "to ", "type", "cursor", "sender", "\u0000", "a" * 1000))
async def test_an_unknown_field_is_refused(api: Api, bob: str, field: str) -> None:
    problem(await api.post({"to": bob, "body": 1, field: 1}), 422, "invalid_field")


@pytest.mark.parametrize("missing", ("to", "body"))
async def test_a_missing_field_is_named(api: Api, bob: str, missing: str) -> None:
    content = {"to": bob, "body": 1}
    del content[missing]
    problem(await api.post(content), 422, "invalid_field", missing)


@pytest.mark.parametrize("content", ([], "text", 1, None, True, [{"to": "bob", "body": 1}]))
async def test_a_message_is_an_object(api: Api, content: Any) -> None:
    problem(await api.post(content), 422, "invalid_field")


# Numbers of things


async def test_a_hundred_recipients_are_taken_and_no_more(api: Api, bob: str) -> None:
    names = [f"{bob}.{number}" for number in range(101)]
    assert len((await api.send(names[:100]))["recipients"]) == 100
    problem(await api.post({"to": names, "body": 1}), 422, "invalid_field", "to")


async def test_a_list_without_recipients_is_refused(api: Api) -> None:
    problem(await api.post({"to": [], "body": 1}), 422, "invalid_field", "to")


# Bodies


@pytest.mark.parametrize(
    "body",
    (
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e300,
        "",
        "text",
        [],
        {},
        [None],
        {"": ""},
        {"\u0000": "\u0000\n\t\u2028\U0001f600"},
        -(2**63),
        2**64 - 1,
        {"cursor": "1-1", "type": "live"},
        "\n",
    ),
)
async def test_any_json_value_is_a_body_and_arrives_as_it_was(api: Api, bobs: Api, bob: str, body: Any) -> None:
    await api.send(bob, body)
    (entry,) = (await bobs.get("/v1/inbox", device="d"))["entries"]
    assert json.dumps(entry["body"]) == json.dumps(body)


@pytest.mark.parametrize("filler", ("x", "\u00e9", "\u20ac", "\U0001f600"))
async def test_a_body_may_have_64_kib_as_compact_utf_8(api: Api, bobs: Api, bob: str, filler: str) -> None:
    most, rest = divmod(MAX_BODY - 2, len(filler.encode()))
    fits = filler * most + "x" * rest
    await api.send(bob, fits)
    problem(await api.post({"to": bob, "body": fits + "x"}), 413, "too_large", "body")
    (entry,) = (await bobs.get("/v1/inbox", device="d"))["entries"]
    assert entry["body"] == fits


async def test_spaces_and_escapes_of_the_request_do_not_count(api: Api, bob: str) -> None:
    text = "\\u00e9" * ((MAX_BODY - 2) // 2)  # six bytes each as it is sent, two as it counts
    response = await api.post_raw(f'{{"to": "{bob}", {" " * 100_000} "body": "{text}"}}')
    assert response.status_code == 202


def nested(levels: int, opening: str = "[", closing: str = "]", core: str = "") -> str:
    return opening * levels + core + closing * levels


@pytest.mark.parametrize(("opening", "closing", "core"), (("[", "]", ""), ('{"a":', "}", "1")))
async def test_a_body_may_be_nested_64_levels(
    api: Api, bobs: Api, bob: str, opening: str, closing: str, core: str
) -> None:
    fits, too_deep = nested(64, opening, closing, core), nested(65, opening, closing, core)
    assert (await api.post_raw(f'{{"to": "{bob}", "body": {fits}}}')).status_code == 202
    response = await api.post_raw(f'{{"to": "{bob}", "body": {too_deep}}}')
    problem(response, 422, "invalid_field", "body")
    (entry,) = (await bobs.get("/v1/inbox", device="d"))["entries"]
    assert entry["body"] == json.loads(fits)


async def test_brackets_in_a_text_are_no_nesting(api: Api, bob: str) -> None:
    await api.send(bob, "[" * 5000)


@pytest.mark.parametrize("levels", (1_000, 2_000, 30_000))
@pytest.mark.parametrize(("opening", "closing", "core"), (("[", "]", ""), ('{"a":', "}", "1")))
async def test_nesting_far_beyond_is_refused_as_well(
    api: Api, bob: str, levels: int, opening: str, closing: str, core: str
) -> None:
    body = nested(levels, opening, closing, core)
    problem(await api.post_raw(f'{{"to": "{bob}", "body": {body}}}'), 422, "invalid_field")


@pytest.mark.parametrize(
    "body",
    (
        "18446744073709551616",
        "-9223372036854775809",
        '{"a": [100000000000000000000]}',
        "1" * 400,
        "1" * 5000,
        r'"\ud800"',
        r'"\udc00"',
        r'"a\udc00\ud800b"',
        r'{"\ud800": 1}',
        r'["\ud83d"]',
    ),
)
async def test_integers_past_64_bits_and_lone_surrogates_are_refused(api: Api, bob: str, body: str) -> None:
    problem(await api.post_raw(f'{{"to": "{bob}", "body": {body}}}'), 422, "invalid_field")


@pytest.mark.parametrize("text", ("18446744073709551616", r"\ud83d\ude00", "NaN"))
async def test_what_only_looks_so_in_a_text_is_taken(api: Api, bob: str, text: str) -> None:
    assert (await api.post_raw(f'{{"to": "{bob}", "body": "{text}"}}')).status_code == 202


@pytest.mark.parametrize(
    "content",
    (
        b"",
        b" ",
        b"{",
        b'{"to": "bob", "body": NaN}',
        b'{"to": "bob", "body": Infinity}',
        b'{"to": "bob", "body": -Infinity}',
        b'{"to": "bob", "body": [nan]}',
        b'{"to": "bob", "body": 01}',
        b'{"to": "bob", "body": .5}',
        b'{"to": "bob", "body": +1}',
        b"{'to': 'bob', 'body': 1}",
        b'{"to": "bob", "body": 1,}',
        b'{"to": "bob", "body": 1} {}',
        b'{"to": "bob", "body": "\xff"}',
        b'{"to": "bob", "body": "\xed\xa0\x80"}',
        b'{"to": "bob", "body": "\xc0\x80"}',
        b'{"to": "bob", "body": "a\nb"}',
        b'{"to": "bob", "body": "\x00"}',
        b'\xff\xfe{"to": "bob"}',
        '{"to": "bob", "body": 1}'.encode("utf-16"),
        b"to=bob&body=1",
    ),
)
async def test_what_is_no_json_is_malformed(api: Api, content: bytes) -> None:
    problem(await api.post_raw(content), 400, "malformed_json")


async def test_a_refused_message_leaves_no_trace(api: Api, bob: str) -> None:
    await api.post_raw(f'{{"to": "{bob}", "body": {nested(65)}, "id": "m-1"}}')
    await api.post({"to": bob, "body": 1, "id": "m-1", "more": 1})
    sent = await api.post({"to": bob, "body": 1, "id": "m-1"})
    assert sent.status_code == 202, "the id is still free"
    assert sent.json()["recipients"][0]["cursor"].endswith("-1")
