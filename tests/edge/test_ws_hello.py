"""The first frame of a connection: what `hello` may hold, what `welcome` answers, how everything else ends."""

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from scripts.lab.service import Service
from scripts.lab.timing import UNIT
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.wire import Wire


def url(service: Service, user: str | None = "bob") -> str:
    base = service.url.replace("http", "ws") + "/v1/ws"
    return base if user is None else f"{base}?user={user}"


async def refused(service: Service, code: str, *frames: Any, text: str | bytes | None = None) -> None:
    """A connection that begins like this gets `error` with this code, no welcome, and ends with 4500."""
    wire = await Wire.open(url(service))
    if text is None:
        await wire.send(*frames)
    else:
        await wire.send_text(text)
    assert await wire.ended() == 4500
    assert [frame["code"] for frame in wire.of("error")] == [code]
    assert wire.close_reason == code
    assert not wire.of("welcome")


async def test_welcome_says_everything_the_protocol_names(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 3)
    async with Device(service.url, bob) as phone:
        welcome = phone.rules.welcome
        assert welcome is not None
        assert (welcome["user"], welcome["device"]) == (bob, "phone")
        assert (welcome["cursor"], Cursor.parse(welcome["head"]).seq, welcome["pending"]) == ("0-0", 3, 3)
        assert welcome["window"] == 256
        assert welcome["worker"] in {worker.name for worker in service.workers()}
        assert welcome["ping_interval"] == pytest.approx(UNIT)
        assert welcome["limits"] == {
            "max_body": 65_536,
            "max_frame": 1_048_576,
            "max_pending": 10_000,
            "dedupe_window": 86_400.0,
        }
        assert isinstance(welcome["session"], str)
        assert isinstance(welcome["server"], str)


async def test_sessions_differ(service: Service, bob: str) -> None:
    async with Device(service.url, bob, "a") as first, Device(service.url, bob, "b") as second:
        assert first.rules.welcome is not None
        assert second.rules.welcome is not None
        assert first.rules.welcome["session"] != second.rules.welcome["session"]


async def test_an_empty_inbox_is_live_at_once(service: Service, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        live = await phone.go_live()
        assert live["cursor"] == "0-0"


async def test_replay_comes_before_live_and_says_so(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 300)
    phone = Device(service.url, bob)
    phone.acking = True
    async with phone:
        live = await phone.go_live()
        replayed = await phone.receive(300)
        assert all(entry["replay"] is True for entry in replayed)
        assert [entry["body"] for entry in replayed] == list(range(1, 301))
        assert live["cursor"] == replayed[-1]["cursor"]
        await api.send(bob, "now")
        assert not (await phone.receive(301))[-1].get("replay", False)


@pytest.mark.parametrize("window", (1, 2, 1024))
async def test_a_window_may_be_1_to_1024(service: Service, bob: str, window: int) -> None:
    phone = Device(service.url, bob)
    assert (await phone.connect(window=window))["window"] == window
    await phone.close()


@pytest.mark.parametrize(
    ("field", "value"),
    (
        ("window", 0),
        ("window", -1),
        ("window", 1025),
        ("window", "5"),
        ("window", True),
        ("window", 1.0),
        ("device", ""),
        ("device", "a b"),
        ("device", "a/b"),
        ("device", "x" * 129),
        ("device", 1),
        ("device", None),
        ("cursor", "1"),
        ("cursor", "1-"),
        ("cursor", "-"),
        ("cursor", "01-1"),
        ("cursor", " 1-1"),
        ("cursor", "1-1\n"),
        ("cursor", "99999999999999999999999-1"),
        ("cursor", "$"),
        ("cursor", 5),
        ("attempt", "1"),
        ("attempt", True),
        ("attempt", -1),
        ("attempt", 1.5),
        ("token", 1),
        ("surprise", 1),
    ),
)
async def test_a_hello_at_fault_ends_the_connection(service: Service, field: str, value: Any) -> None:
    await refused(service, "invalid_field", {"type": "hello", "device": "phone", field: value})


async def test_a_hello_without_a_device_ends_the_connection(service: Service) -> None:
    await refused(service, "invalid_field", {"type": "hello"})


@pytest.mark.parametrize(
    "frame",
    (
        {"type": "ack", "cursor": "0-0"},
        {"type": "send", "id": "m", "to": "carol", "body": 1},
        {"type": "ping"},
        {"type": "surprise"},
        {},
        {"type": 1},
    ),
)
async def test_anything_but_hello_first_ends_the_connection(service: Service, frame: Any) -> None:
    await refused(service, "hello_expected", frame)


async def test_what_came_behind_a_first_frame_that_is_refused_is_not_done(service: Service, api: Api, bob: str) -> None:
    send = {"type": "send", "id": "m", "to": bob, "body": 1}
    await refused(service, "hello_expected", send, {"type": "hello", "device": "phone"}, send)
    response = await api.http.get(f"/v1/ops/inboxes/{bob}")
    assert response.json().get("length", 0) == 0


@pytest.mark.parametrize("text", ("", "{", "nonsense", "[]", '"hello"', "1", "null", '{"type": NaN}'))
async def test_a_first_frame_that_is_no_object_ends_the_connection(service: Service, text: str) -> None:
    await refused(service, "malformed_json", text=text)


async def test_a_second_hello_ends_the_connection(service: Service, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        await phone.say({"type": "hello", "device": "phone"})
        assert await phone.wire.ended() == 4500
        assert len(phone.wire.of("error")) == 1


async def test_hello_must_come_in_time(service: Service) -> None:
    wire = await Wire.open(url(service))
    assert await wire.ended() == 4000
    assert not wire.of("welcome")


async def test_who_names_nobody_gets_an_error_and_4501(service: Service) -> None:
    wire = await Wire.open(url(service, None))
    await wire.send({"type": "hello", "device": "phone"})
    assert await wire.ended() == 4501
    assert [frame["code"] for frame in wire.of("error")] == ["unauthenticated"]


async def test_the_header_names_the_user_as_well(service: Service, bob: str) -> None:
    wire = await Wire.open(url(service, None), headers={"X-Inboxd-User": bob})
    await wire.send({"type": "hello", "device": "phone"})
    assert (await wire.next("welcome"))["user"] == bob
    await wire.close()


async def test_frames_behind_hello_in_one_bundle_are_handled(service: Service, bob: str, carol: str) -> None:
    wire = await Wire.open(url(service, bob))
    hello = {"type": "hello", "device": "phone"}
    await wire.send(hello, {"type": "send", "id": "m", "to": carol, "body": 1}, {"type": "ping", "ref": "r"})
    await wire.next("accepted", id="m")
    await wire.next("pong", ref="r")
    assert wire.frames[0]["type"] == "welcome"
    await wire.close()


# The handshake


async def test_the_subprotocol_is_confirmed_when_asked_for(service: Service, bob: str) -> None:
    wire = await Wire.open(url(service, bob), subprotocols=("other", "inboxd.v1"))
    assert wire.connection.subprotocol == "inboxd.v1"
    await wire.close()


async def test_a_subprotocol_need_not_be_asked_for(service: Service, bob: str) -> None:
    wire = await Wire.open(url(service, bob))
    assert wire.connection.subprotocol is None
    await wire.close()


@pytest.mark.parametrize(
    "origin",
    (
        "https://evil.example",
        "http://evil.example:8000",
        "http://localhost.evil.example",
        "http://127.0.0.1:1",
        "null",
        "file://",
    ),
)
async def test_a_foreign_origin_is_answered_403(service: Service, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await Wire.open(url(service), origin=origin)
    assert refusal.value.response.status_code == 403


async def test_the_services_own_origin_is_let_in(service: Service, bob: str) -> None:
    wire = await Wire.open(url(service, bob), origin=service.url)
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("welcome")
    await wire.close()


async def test_a_foreign_host_is_answered_403(service: Service) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await Wire.open("ws://evil.example/v1/ws?user=bob", via_port=service.port)
    assert refusal.value.response.status_code == 403


async def test_the_older_protocol_is_held_to_the_same_origins(service: Service) -> None:
    old = service.url.replace("http", "ws") + "/api/chat/connect_chat?user_code=bob"
    with pytest.raises(InvalidStatus) as refusal:
        await Wire.open(old, origin="https://evil.example")
    assert refusal.value.response.status_code == 403
