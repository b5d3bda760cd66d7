"""Pushers: registered by devices, told to the gateway, gone when it rejects them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from scripts.lab.timing import UNIT, eventually_async
from tests.delivery.rig import quick
from tests.delivery.served import Served, served
from tests.support.api import Api, problem
from tests.support.receiver import Receiver, Reply, Request

SYGNAL = {"app_id": "org.example.chat.ios", "pushkey": "V2h5IG9uIGVhcnRo", "data": {"format": "event_id_only"}}


@pytest.fixture
async def gateway() -> AsyncIterator[Receiver]:
    async with Receiver() as gateway:
        gateway.reply = lambda _: Reply(200, {"content-type": "application/json"}, b'{"rejected":[]}')
        yield gateway


@pytest.fixture
async def serving(gateway: Receiver, redis_url: str) -> AsyncIterator[Served]:
    soon = 0.05 * UNIT
    settings = quick(
        redis_url, push_url=f"{gateway.url}/_matrix/push/v1/notify", push_format="matrix", push_private=True,
        push_after=soon, push_interval=soon, max_devices=3,
    )  # fmt: skip
    async with served(settings) as serving:
        yield serving


@pytest.fixture
async def api(serving: Served, bob: str) -> AsyncIterator[Api]:
    """Requests in Bob's name."""
    async with Api(serving.url, bob) as api:
        yield api


async def register(api: Api, device: str, **pusher: Any) -> None:
    response = await api.http.put(f"/v1/pushers/{device}", json={**SYGNAL, **pusher})
    assert response.status_code == 204, response.text


def notified(request: Request) -> dict[str, Any]:
    return dict(json.loads(request.body)["notification"])


async def test_a_pusher_is_kept_replaced_and_deleted(api: Api) -> None:
    await register(api, "phone")
    assert await api.get("/v1/pushers/phone") == {"device": "phone", **SYGNAL}
    await register(api, "phone", pushkey="another")
    assert (await api.get("/v1/pushers/phone"))["pushkey"] == "another"
    for _ in range(2):
        assert (await api.http.delete("/v1/pushers/phone")).status_code == 204
    problem(await api.http.get("/v1/pushers/phone"), 404, "not_found")


async def test_the_gateway_is_told_of_every_device_that_is_registered_and_of_no_content(
    serving: Served, api: Api, gateway: Receiver, bob: str
) -> None:
    await register(api, "phone")
    await register(api, "tablet", pushkey="second", data={})
    async with Api(serving.url, "alice") as alice:
        await alice.send(bob, {"text": "secret"}, "m1")
    [request] = await gateway.come(1)
    assert request.line == "POST /hooks/_matrix/push/v1/notify HTTP/1.1"
    told = notified(request)
    devices = {device["pushkey"]: device for device in told.pop("devices")}
    assert set(devices) == {SYGNAL["pushkey"], "second"}
    phone = devices[str(SYGNAL["pushkey"])]
    assert phone.pop("pushkey_ts") > 1_700_000_000
    assert phone == SYGNAL
    assert told == {"event_id": f"${request.id}", "room_id": "alice", "type": "m.room.message", "sender": "alice",
                    "prio": "high", "counts": {"unread": 1}}  # fmt: skip
    assert b"secret" not in request.body


async def test_a_rejected_key_is_forgotten_and_the_others_stay(
    serving: Served, api: Api, gateway: Receiver, bob: str
) -> None:
    answer = json.dumps({"rejected": [SYGNAL["pushkey"], "unknown"]}).encode()
    gateway.reply = lambda _: Reply(200, {}, answer)
    await register(api, "phone")
    await register(api, "tablet", pushkey="second")
    async with Api(serving.url, "alice") as alice:
        await alice.send(bob, "hi", "m1")

    async def forgotten() -> bool:
        return (await api.http.get("/v1/pushers/phone")).status_code == 404

    await eventually_async(forgotten, "the pusher is gone")
    assert (await api.get("/v1/pushers/tablet"))["pushkey"] == "second"


async def test_what_waits_when_a_device_registers_is_told_then(
    serving: Served, api: Api, gateway: Receiver, bob: str
) -> None:
    async with Api(serving.url, "alice") as alice:
        await alice.send(bob, "hi", "m1")
        await alice.send("carol", "hi", "m2")
    async with Api(serving.url, "carol") as carol:
        await register(carol, "phone", pushkey="carols")
    [request] = await gateway.come(1)
    assert notified(request)["devices"][0]["pushkey"] == "carols", "bob has no device that could be told"
    await register(api, "phone")
    [_, request] = await gateway.come(2)
    assert notified(request)["devices"][0]["pushkey"] == SYGNAL["pushkey"]


@pytest.mark.parametrize(
    ("pusher", "status", "code", "field"),
    (
        ({"app_id": ""}, 422, "invalid_field", "app_id"),
        ({"app_id": "x" * 65}, 422, "invalid_field", "app_id"),
        ({"pushkey": "x" * 513}, 422, "invalid_field", "pushkey"),
        ({"pushkey": 7}, 422, "invalid_field", "pushkey"),
        ({"data": []}, 422, "invalid_field", "data"),
        ({"data": {"x": "y" * 1024}}, 413, "too_large", None),
        ({"url": "https://elsewhere.example"}, 422, "invalid_field", "url"),
    ),
)
async def test_what_is_no_pusher_is_refused(
    api: Api, pusher: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    problem(await api.http.put("/v1/pushers/phone", json={**SYGNAL, **pusher}), status, code, field)
    problem(await api.http.put("/v1/pushers/no%20name", json=SYGNAL), 422, "invalid_field", "device")


async def test_a_user_has_no_more_pushers_than_devices(api: Api) -> None:
    for device in ("a", "b", "c", "a"):
        await register(api, device)
    problem(await api.http.put("/v1/pushers/d", json=SYGNAL), 409, "too_many_devices")


async def test_a_service_that_speaks_to_no_gateway_says_so(redis_url: str, bob: str) -> None:
    async with served(quick(redis_url)) as serving, Api(serving.url, bob) as api:
        problem(await api.http.put("/v1/pushers/phone", json=SYGNAL), 404, "not_found")
        problem(await api.http.get("/v1/pushers/phone"), 404, "not_found")
        assert (await api.http.delete("/v1/pushers/phone")).status_code == 204
