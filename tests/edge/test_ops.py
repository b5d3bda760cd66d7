"""Operators' endpoints, health and metrics."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from scripts.lab import build
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device


async def until(probe: Callable[[], Awaitable[bool]], what: str) -> None:
    await eventually_async(probe, what)


# Workers


async def test_every_worker_is_listed_with_what_operators_need(service: Service, api: Api) -> None:
    rows = (await api.get("/v1/ops/workers"))["workers"]
    assert {row["pid"] for row in rows} == set(service.worker_pids())
    for row in rows:
        assert row.keys() == {"worker", "host", "pid", "version", "connections", "heartbeat_age_ms", "lag"}
        assert row["host"] == socket.gethostname()
        assert row["version"].endswith("+compiled") == bool(build.chosen())
        assert type(row["heartbeat_age_ms"]) is int
        assert row["heartbeat_age_ms"] >= 0
        assert type(row["lag"]) is int


async def test_connections_are_counted_where_they_are(service: Service, api: Api, bob: str) -> None:
    phone = Device(service.url, bob)
    worker = (await phone.connect())["worker"]
    devices = [Device(service.url, bob, f"d{number}") for number in range(5)]
    with service.only(worker):
        for device in devices:
            await device.connect()

    async def counted() -> bool:
        rows = (await api.get("/v1/ops/workers"))["workers"]
        return any(row["worker"] == worker and row["connections"] >= 6 for row in rows)

    await until(counted, "six connections are reported")
    for device in (phone, *devices):
        await device.close()


async def test_heartbeats_go_on(api: Api) -> None:
    with_beat: set[int] = set()

    async def moved() -> bool:
        with_beat.update(row["heartbeat_age_ms"] for row in (await api.get("/v1/ops/workers"))["workers"])
        return len(with_beat) > 5 and max(with_beat) > min(with_beat)

    await until(moved, "the age of heartbeats rises and falls")


# Inboxes


async def test_an_inbox_is_shown_with_its_devices(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 4)
    async with Device(service.url, bob, "phone") as phone:
        await phone.receive(4)
        await phone.ack(cursors[2])

        async def acked() -> bool:
            return await api.stored(bob, "phone") == cursors[2]

        await until(acked, "the ack is stored")
        view = await api.inbox(bob)
        assert view.keys() == {"user", "last", "floor", "length", "pending", "devices"}
        assert (view["user"], view["last"], view["floor"]) == (bob, cursors[-1], cursors[2])
        assert (view["length"], view["pending"]) == (4, 1)
        (row,) = view["devices"]
        assert row.keys() == {"device", "cursor", "behind", "last_seen", "worker"}
        assert (row["device"], row["cursor"], row["behind"]) == ("phone", cursors[2], 1)
        assert phone.rules.welcome is not None
        assert row["worker"] == phone.rules.welcome["worker"]
        assert type(row["last_seen"]) is int


async def test_an_inbox_nobody_has_used_is_not_found(api: Api, bob: str) -> None:
    problem(await api.http.get(f"/v1/ops/inboxes/{bob}"), 404, "not_found")


async def test_pending_is_what_no_device_has_acked(service: Service, api: Api, bob: str) -> None:
    assert (await api.send(bob, 1))["recipients"]
    assert (await api.inbox(bob))["pending"] == 1
    async with Device(service.url, bob, "slow"), Device(service.url, bob, "quick") as quick:
        await quick.receive(1)
        await quick.ack()

        async def none() -> bool:
            return bool((await api.inbox(bob))["pending"] == 0)

        await until(none, "one device has acked all")


# Broadcast


async def test_a_broadcast_reaches_everyone_online_on_every_worker(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    first, second = service.workers()
    here, there = Device(service.url, bob), Device(service.url, carol)
    with service.only(first.name):
        await here.connect()
    with service.only(second.name):
        await there.connect()
    body = {"text": "h\u00e9llo", "n": [1, None]}
    response = await api.http.post("/v1/ops/broadcast", json={"body": body})
    assert response.status_code == 202
    for device in (here, there):
        frame = await device.wire.next("broadcast", body=body)
        assert frame.keys() == {"type", "body", "ts"}
        assert not device.entries, "a broadcast is no entry"
        await device.close()
    response = await api.http.get(f"/v1/ops/inboxes/{bob}")
    assert response.json().get("length", 0) == 0


async def test_a_broadcast_reaches_a_device_whose_window_is_full(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 10)
    phone = Device(service.url, bob)
    await phone.connect(window=2)
    await phone.receive(2)
    await api.http.post("/v1/ops/broadcast", json={"body": bob})
    await phone.wire.next("broadcast", body=bob)
    assert len(phone.entries) == 2
    await phone.close()


async def test_a_broadcast_at_fault_is_refused(api: Api) -> None:
    contents: tuple[Any, ...] = ({}, {"body": 1, "more": 1}, [], {"bodi": 1})
    for content in contents:
        problem(await api.http.post("/v1/ops/broadcast", json=content), 422, "invalid_field")
    response = await api.http.post("/v1/ops/broadcast", json={"body": "x" * 70_000})
    problem(response, 413, "too_large")


# Kick


async def test_an_operator_removes_all_connections_of_a_user(service: Service, api: Api, bob: str, carol: str) -> None:
    first, second = service.workers()
    here, there, other = (
        Device(service.url, bob, "here"),
        Device(service.url, bob, "there"),
        Device(service.url, carol),
    )
    with service.only(first.name):
        await here.connect()
    with service.only(second.name):
        await there.connect()
    await other.connect()
    response = await api.http.delete(f"/v1/ops/connections/{bob}")
    assert (response.status_code, response.content) == (204, b"")
    for device in (here, there):
        assert await device.wire.ended() == 4510
        await device.close()
    await other.ping()
    await other.close()


async def test_an_operator_removes_one_device(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob, "phone") as phone, Device(service.url, bob, "laptop") as laptop:
        response = await api.http.delete(f"/v1/ops/connections/{bob}", params={"device": "phone"})
        assert response.status_code == 204
        assert await phone.wire.ended() == 4510
        await laptop.ping()


async def test_who_was_removed_may_come_back_and_has_lost_nothing(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        await api.http.delete(f"/v1/ops/connections/{bob}")
        assert await phone.wire.ended() == 4510
    await api.send(bob, "meanwhile", "m-1")
    await phone.connect()
    assert (await phone.receive(1))[0]["id"] == "m-1"
    await phone.close()


async def test_removing_nobody_is_fine(api: Api, bob: str) -> None:
    assert (await api.http.delete(f"/v1/ops/connections/{bob}")).status_code == 204


# Health and metrics


async def test_a_healthy_worker_says_so_to_anyone(service: Service) -> None:
    async with Api(service.url) as nobody:
        for path in ("/healthz", "/readyz"):
            assert (await nobody.http.get(path)).status_code == 200


async def test_metrics_are_prometheus_text_and_cover_all_workers(service: Service, api: Api, bob: str) -> None:
    async with Api(service.url) as nobody:
        response = await nobody.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    names = set(re.findall(r"^# TYPE (\S+) \S+$", response.text, re.MULTILINE))
    assert names
    assert all(name.startswith(("inboxd_", "process_", "python_")) for name in names), names
    before = service.metrics()
    for _ in range(20):
        async with Api(service.url, bob) as api_of_bob:
            await api_of_bob.send(bob)
    after = service.metrics()
    grown = [name for name in after if after[name] - before.get(name, 0) == 20]
    assert grown, "twenty sends over twenty connections are counted, whichever workers took them"


async def test_metrics_show_no_user(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        await phone.send("m-1", bob, "hi")
        await phone.receive(1)
    async with Api(service.url) as nobody:
        assert bob not in (await nobody.http.get("/metrics")).text


async def test_the_api_describes_itself(service: Service) -> None:
    async with Api(service.url) as nobody:
        schema = await nobody.http.get("/openapi.json")
        page = await nobody.http.get("/docs")
    assert "/v1/messages" in schema.json()["paths"]
    assert page.status_code == 200


async def test_the_log_holds_no_message_and_no_body(service: Service, api: Api, bob: str) -> None:
    secret = f"secret-{os.urandom(8).hex()}"
    async with Device(service.url, bob) as phone:
        await phone.send("m-1", bob, secret)
        await api.send(bob, secret)
        await phone.receive(2)
        await phone.wire.send_text(json.dumps({"type": "surprise", "body": secret}))
        await phone.wire.next("error")
    await asyncio.to_thread(service.workers)
    assert secret not in service.stdout() + service.stderr()
