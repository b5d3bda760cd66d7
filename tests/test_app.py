"""The application around a worker, served as its process serves it: what is reachable, what readiness says."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually_async
from tests.delivery.rig import NEVER, proxied, quick, troubled, until, within
from tests.delivery.served import Served, served
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.wire import Wire


@pytest.fixture
async def service(redis_url: str) -> AsyncIterator[Served]:
    async with served(quick(redis_url)) as service:
        yield service


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[RedisProxy]:
    """A way to the server that can be cut."""
    with proxied(redis_server) as proxy:
        yield proxy


async def get(service: Served, path: str, **headers: str) -> httpx2.Response:
    async with Api(service.url) as api:
        return await api.http.get(path, headers=headers)


async def not_ready(service: Served, why: str) -> None:
    """Waits until `/readyz` says so; then it is a problem that names the reason."""
    await eventually_async(lambda: said(service, why), f"/readyz names {why}")
    content = problem(await get(service, "/readyz"), 503, "unavailable")
    assert why in content["detail"]


async def said(service: Served, why: str) -> bool:
    response = await get(service, "/readyz")
    return response.status_code == 503 and why in response.text


# What is reachable.


async def test_every_path_of_this_version_is_described(service: Served) -> None:
    described = (await get(service, "/openapi.json")).json()
    assert set(described["paths"]) == {
        "/v1/messages",
        "/v1/messages/batch",
        "/v1/messages/{id}",
        "/v1/inbox",
        "/v1/inbox/ack",
        "/v1/inbox/read",
        "/v1/inbox/history",
        "/v1/events",
        "/v1/conversations",
        "/v1/groups",
        "/v1/groups/{group}",
        "/v1/groups/{group}/marks",
        "/v1/groups/{group}/members/{user}",
        "/v1/presence",
        "/v1/presence/{user}",
        "/v1/blocks",
        "/v1/blocks/{user}",
        "/v1/pushers/{device}",
        "/v1/ops/workers",
        "/v1/ops/inboxes/{user}",
        "/v1/ops/broadcast",
        "/v1/ops/connections/{user}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/chat/create_chat",
    }
    assert described["info"]["title"] == "inboxd"
    assert (await get(service, "/docs")).status_code == 200


async def test_both_sockets_are_there(service: Served) -> None:
    base = service.url.replace("http", "ws", 1)
    wire = await Wire.open(f"{base}/v1/ws?user=bob")
    await wire.send({"type": "hello", "device": "phone"})
    assert (await wire.next("welcome"))["worker"] == service.worker.id
    await wire.close()
    older = await Wire.open(f"{base}/api/chat/connect_chat?user_code=bob")
    assert (await older.next("system"))["sender"] == "system"
    await older.close()


async def test_other_paths_and_other_hosts_are_problems(service: Served) -> None:
    problem(await get(service, "/v1/nothing"), 404, "not_found")
    problem(await get(service, "/healthz", Host="evil.example"), 403, "forbidden")


async def test_what_is_posted_arrives_at_a_socket(service: Served) -> None:
    async with Device(service.url, "bob") as phone, Api(service.url, "alice") as api:
        await phone.go_live()
        answer = await api.send("bob", {"text": "hi"}, "m1")
        [message] = await phone.receive(1)
        assert message["cursor"] == answer["recipients"][0]["cursor"]
        assert message["body"] == {"text": "hi"}


async def test_metrics_count_what_happened(service: Served) -> None:
    def committed(text: str) -> float:
        [line] = [line for line in text.splitlines() if line.startswith("inboxd_messages_committed_total ")]
        return float(line.split()[1])

    before = committed((await get(service, "/metrics")).text)
    async with Api(service.url, "alice") as api:
        await api.send("bob")
    assert committed((await get(service, "/metrics")).text) == before + 1


# Readiness.


async def test_a_reader_that_has_died_makes_it_unready_and_its_death_is_told(service: Served) -> None:
    assert (await get(service, "/readyz")).json() == {"status": "ready"}

    async def broken(*_: object) -> None:
        raise RuntimeError("as the test wants it")

    service.worker.streams.read = broken  # type: ignore[method-assign, assignment]
    await not_ready(service, "the reader has died")
    assert service.deaths == ["reader"]
    assert (await get(service, "/healthz")).status_code == 200
    async with Api(service.url, "alice") as api:
        await api.send("bob", "still accepted")


async def test_a_deaf_reader_makes_it_unready_until_it_hears_again(service: Served) -> None:
    reads = troubled(service.worker.streams, "read")
    reads.gate.clear()
    await not_ready(service, "the canary is late")
    assert service.deaths == []
    reads.gate.set()
    await until(lambda: not service.worker.problems(), "ready again")
    assert (await get(service, "/readyz")).status_code == 200


async def test_a_server_that_is_away_makes_it_unready_and_sends_unavailable(redis_url: str, proxy: RedisProxy) -> None:
    async with served(quick(proxy.url)) as service, Api(service.url, "alice") as api:
        proxy.refusing = True
        assert proxy.cut() >= 1
        await not_ready(service, "the server cannot be reached")
        response = await api.post({"id": "m1", "to": "bob", "body": "hi"})
        problem(response, 503, "unavailable")
        assert "Retry-After" in response.headers
        proxy.refusing = False
        await until(lambda: not service.worker.problems(), "ready again")
        await eventually_async(lambda: accepts(api), "the send is accepted")


async def accepts(api: Api) -> bool:
    return (await api.post({"id": "m1", "to": "bob", "body": "hi"})).status_code in {200, 202}


# Coming and going.


async def test_a_socket_that_gave_up_while_the_server_was_away_does_not_throw_out_its_successor(
    redis_url: str, proxy: RedisProxy
) -> None:
    settings = quick(proxy.url, audit_interval=NEVER)
    async with served(settings) as service:
        claims = troubled(service.worker.presence, "claim")
        proxy.refusing = True
        proxy.cut()
        base = service.url.replace("http", "ws", 1)
        hello = {"type": "hello", "device": "phone"}
        for count in (1, 2, 3):
            impatient = await Wire.open(f"{base}/v1/ws?user=bob")
            await impatient.send(hello)
            await until(lambda count=count: claims.calls >= count, "it waits for its claim")  # type: ignore[misc]
            await impatient.abort()
        patient = await Wire.open(f"{base}/v1/ws?user=bob")
        await patient.send(hello)
        await until(lambda: len(service.worker.hub) >= 1 and proxy.refused >= 4, "it waits, too")
        proxy.refusing = False
        await patient.next("live")
        await until(lambda: len(service.worker.hub) == 1, "the others are forgotten")
        assert patient.is_open
        await patient.close()


async def test_a_stop_sends_sockets_away_with_1012_and_leaves_nothing(
    service: Served, redis_server: RedisServer
) -> None:
    phone = Device(service.url, "bob")
    await phone.connect()
    await phone.go_live()
    polling = asyncio.create_task(long_poll(service))
    await until(lambda: len(service.worker.hub) == 2, "both are here")
    await service.stop()
    assert await phone.wire.ended() == 1012
    assert phone.wire.of("closing")
    await phone.close()
    assert (await within(polling, "the poll")).status_code == 200
    with redis_server.client() as store:
        assert store.hgetall("chat:workers") == {}
        assert store.hgetall("chat:presence:{bob}") == {}
        assert store.hgetall("chat:presence:{carol}") == {}
    assert service.alarms == [service.worker.settings.drain_timeout], "nothing would end a stop that hangs"


async def long_poll(service: Served) -> httpx2.Response:
    async with Api(service.url, "carol") as api:
        return await api.http.get("/v1/inbox", params={"device": "phone", "wait": 15})


async def test_every_answer_is_json_of_its_kind(service: Served) -> None:
    for path, media in (
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/v1/nothing", "application/problem+json"),
    ):
        response = await get(service, path)
        assert response.headers["content-type"].partition(";")[0] == media
        assert json.loads(response.content)
        assert "server" not in response.headers
