"""A peer that stopped reading is gone within the heartbeat limit, and what it was sent does not count."""

from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def offline(api: Api, user: str) -> bool:
    return all(row["worker"] is None for row in (await api.inbox(user))["devices"])


@pytest.mark.parametrize("receive_buffer", (4096, None))
async def test_a_stalled_socket_is_gone_and_its_entries_come_again(
    service: Service, api: Api, bob: str, receive_buffer: int | None
) -> None:
    phone = Device(service.url, bob)
    await phone.connect(window=1024, receive_buffer=receive_buffer)
    await phone.go_live()
    assert not await offline(api, bob)
    phone.wire.stall()
    await phone.ack()  # it still writes: only reading has stopped
    for number in range(40):
        await api.send(bob, "x" * 30_000, f"m{number}")
    seen = len(phone.entries)
    assert seen < 40, "it did stall"
    await eventually_async(lambda: offline(api, bob), "the stalled connection is gone")

    view = await api.inbox(bob)
    assert (view["pending"], view["devices"][0]["cursor"]) == (40, "0-0"), "nothing counts as delivered"
    assert len(phone.entries) == seen, "it has read nothing since"
    await phone.abort()
    phone.acking = True
    await phone.connect()
    entries = await phone.receive(40)
    assert [entry["id"] for entry in entries] == [f"m{number}" for number in range(40)]
    await phone.close()


async def test_one_that_stalls_before_hello_is_gone_too(service: Service, api: Api, bob: str) -> None:
    before = sum(worker.connections for worker in service.workers())
    phone = Device(service.url, bob)
    await phone.connect()
    phone.wire.stall()
    await eventually_async(lambda: offline(api, bob), "the stalled connection is gone")

    async def counted() -> bool:
        return sum(worker.connections for worker in service.workers()) <= before

    await eventually_async(counted, "its worker counts it no more")
    await phone.abort()


async def test_others_are_served_while_a_socket_stalls(service: Service, api: Api, bob: str, carol: str) -> None:
    stalled, other = Device(service.url, bob), Device(service.url, carol)
    with service.only(service.workers()[0].name):
        await stalled.connect(receive_buffer=4096)
        await other.connect()
    stalled.wire.stall()
    other.acking = True
    for number in range(100):
        await api.send([bob, carol], "x" * 10_000, f"m{number}")
    entries = await other.receive(100)
    assert [entry["id"] for entry in entries] == [f"m{number}" for number in range(100)]
    await eventually_async(lambda: offline(api, bob), "the stalled connection is gone")
    assert other.wire.is_open
    await other.close()
    await stalled.abort()


async def test_one_that_reads_but_answers_no_ping_is_gone_with_4001(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        phone.wire.ignore_pings()
        assert await phone.wire.ended() == 4001
        await eventually_async(lambda: offline(api, bob), "its claim is released")
