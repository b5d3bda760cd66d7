"""A server that answers and will not do: out of memory, demoted, emptied, with foreign things under our keys."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.faults.readiness import readyz_says
from tests.support.api import Api, assert_problem, problem
from tests.support.cursors import Cursor
from tests.support.device import Device


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def accepted(api: Api, to: str, message_id: str, body: Any = 1) -> None:
    """Sends until it is accepted."""

    async def probe() -> bool:
        return (await api.post({"id": message_id, "to": to, "body": body})).status_code in {200, 202}

    await eventually_async(probe, f"{message_id} is accepted")


async def test_out_of_memory_sends_are_refused_and_acks_still_count(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 10)
    with service.store() as store:
        async with Device(service.url, bob) as phone:
            await phone.receive(10)
            store.config_set("maxmemory", "1mb")
            try:
                problem(await api.post({"id": "late", "to": bob, "body": 1}), 503, "unavailable")
                await phone.ack()

                async def acked() -> bool:
                    return await api.stored(bob, "phone") == cursors[-1]

                await eventually_async(acked, "the ack is stored, out of memory or not")
            finally:
                store.config_set("maxmemory", "0")
            await accepted(api, bob, "late")
            entries = await phone.receive(11)
            assert [entry["id"] for entry in entries[10:]] == ["late"]
            assert phone.connections == 1
    await readyz_says(service, 200)


async def test_a_demoted_server_is_noticed_and_its_return_as_well(service: Service, api: Api, bob: str) -> None:
    before = {worker.name for worker in service.workers()}
    with service.store() as store:
        async with Device(service.url, bob) as phone:
            await phone.go_live()
            await api.send(bob, "before", "m-1")
            store.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                assert store.role()[0] in {"slave", "replica"}
                problem(await api.post({"id": "m-2", "to": bob, "body": 2}), 503, "unavailable")
                await readyz_says(service, 503)
            finally:
                store.execute_command("REPLICAOF", "NO", "ONE")
            await readyz_says(service, 200)
            await accepted(api, bob, "m-2", 2)
            assert [entry["id"] for entry in await phone.receive(2)] == ["m-1", "m-2"]
            assert phone.connections == 1
    assert {worker.name for worker in service.workers()} == before, "nobody was called dead meanwhile"


async def test_forgotten_scripts_are_loaded_again(service: Service, api: Api, bob: str) -> None:
    with service.store() as store:
        async with Device(service.url, bob) as phone:
            for number in range(3):
                store.script_flush()
                assert (await phone.send(f"m-{number}", bob, number))["type"] == "accepted"
            await phone.receive(3)
            store.script_flush()
            await phone.ack()
            last = str(phone.position)

            async def acked() -> bool:
                return await api.stored(bob, "phone") == last

            await eventually_async(acked, "the ack is stored")


async def test_a_foreign_key_in_one_inboxs_place_spoils_no_other_of_the_batch(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    with service.store() as store:
        store.set(f"chat:inbox:{{{bob}}}", "a foreign string")
        messages = [
            {"id": f"m-{number}", "to": user, "body": number}
            for number, user in enumerate((carol, bob, carol, bob, carol))
        ]
        response = await api.http.post("/v1/messages/batch", json={"messages": messages})
        results = response.json()["results"]
        assert [result["status"] for result in results[::2]] == [202] * 3
        for result in results[1::2]:
            assert result["status"] in {500, 503}
            assert_problem(result, result["status"], result["code"])
        response = await api.post({"id": "both", "to": [bob, carol], "body": 1})
        assert response.status_code == 202
        assert ["error" in one for one in response.json()["recipients"]] == [True, False]
        store.delete(f"chat:inbox:{{{bob}}}")
    for message in messages:
        await accepted(api, str(message["to"]), str(message["id"]), message["body"])
    assert (await api.inbox(bob))["length"] == 2
    assert (await api.inbox(carol))["length"] == 4


async def test_a_server_emptied_under_it_is_told_by_rewound_and_goes_on(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 5)
    async with Device(service.url, bob) as phone:
        await phone.go_live()
        await phone.ack()
        with service.store() as store:
            store.flushall()
        await phone.wire.until(lambda: phone.rules.rewound, "the loss is told")
        sent = await api.send(bob, "new", "new")
        await phone.wire.until(lambda: phone.entries[-1].get("id") == "new", "the new message")
        assert Cursor.parse(sent["recipients"][0]["cursor"]).seq == 1
        assert phone.connections == 1
    await readyz_says(service, 200)

    async def both() -> bool:
        return len(service.workers()) == 2  # each with its next heartbeat

    await eventually_async(both, "both workers are there again")


async def test_settings_that_come_to_contradict_the_promise_turn_readyz_false(
    serve: Callable[..., Service], redis_server: RedisServer, redis_url: str
) -> None:
    service = serve(redis_url=redis_url)
    await readyz_says(service, 200)
    with redis_server.client() as store:
        store.config_set("maxmemory-policy", "allkeys-lru")
        try:
            store.client_kill_filter(_type="normal", skipme=True)  # after a reconnect the settings are read again
            await readyz_says(service, 503)
        finally:
            store.config_set("maxmemory-policy", "noeviction")
        await readyz_says(service, 200)
