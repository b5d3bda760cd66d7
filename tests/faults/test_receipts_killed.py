"""`kill -9` between an ack and its receipt: whoever looks next makes it, once."""

from collections.abc import Callable
from typing import Any

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


async def acked_and_killed(service: Service, bob: Device, store: Any) -> None:
    """Bob's ack is stored, then his worker is killed before it makes the receipt: there is no room for one."""
    state = f"chat:state:{{{bob.user}}}"
    victim = service.worker(bob.rules.welcome["worker"] if bob.rules.welcome else "")
    store.config_set("maxmemory", 1)
    await bob.ack()

    async def stored() -> bool:
        return bool(store.hget(state, "best") == str(bob.position))

    await eventually_async(stored, "the ack is stored")
    processes.kill(victim.pid)
    receipted = store.hget(state, "receipted")
    store.config_set("maxmemory", 0)
    assert receipted is None, "it died too late to show anything"
    assert await bob.wire.ended() == 1006


async def test_the_reaper_makes_it_for_a_sender_who_is_offline(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        for number in range(3):
            await phone.send(f"m-{number}", bob, "hi")
    bobs = Device(service.url, bob)
    await bobs.connect()
    await bobs.receive(3)
    with service.store() as store:
        await acked_and_killed(service, bobs, store)

        async def made() -> bool:
            return bool(store.hget(f"chat:state:{{{bob}}}", "receipted") == str(bobs.position))

        await eventually_async(made, "a reaper has made good what was left out")
    await phone.connect()
    assert (await phone.receipt("m-2"))["replay"] is True
    assert phone.receipts() == ["m-2"]
    await phone.close()
    service.await_ready()


async def test_a_device_that_comes_back_brings_it(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", bob, "hi")
    bobs = Device(service.url, bob)
    await bobs.connect()
    await bobs.receive(1)
    with service.store() as store:
        await acked_and_killed(service, bobs, store)
        await bobs.connect()
        async with Api(service.url, bob) as api:
            assert (await api.inbox(bob))["pending"] == 0

        async def made() -> bool:
            return bool(store.hget(f"chat:state:{{{bob}}}", "receipted") == str(bobs.position))

        await eventually_async(made, "the claim or the audit has made good what was left out")
    await phone.connect()
    await phone.receipt("m-1")
    await phone.ping()
    assert phone.receipts() == ["m-1"]
    await phone.close()
    await bobs.close()
