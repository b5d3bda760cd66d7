"""A device that never acks, with thousands of entries waiting: it costs a window, not its backlog."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from tests.support.api import Api
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Reader, Sender, running

WAITING = 5000
BODY = "x" * 4096
MEBIBYTE = 1_048_576


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    """One worker, so that there is one memory to look at; inboxes take twice the backlog and more."""
    return serve(workers=1, max_pending=3 * WAITING)


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def growth(service: Service, api: Api, user: str) -> int:
    """Bytes by which the worker grows, at most, while a device of this user is connected and never acks."""
    (worker,) = service.workers()
    before = processes.resident(worker.pid)
    most = before
    phone = Device(service.url, user)
    welcome = await phone.connect(window=1024)
    assert welcome["pending"] >= WAITING
    await phone.receive(200)
    for number in range(20):
        await api.send(user, BODY, f"more-{number}")  # each a hint about an entry that may not be sent
        await phone.ping()
        most = max(most, processes.resident(worker.pid))
    pings = phone.wire.pings
    await phone.wire.until(lambda: phone.wire.pings >= pings + 2 or None, "several audits pass")
    most = max(most, processes.resident(worker.pid))
    assert phone.wire.is_open
    assert 200 <= len(phone.entries) <= MEBIBYTE // len(BODY), "no more than a mebibyte came"
    await phone.close()
    return most - before


async def test_the_workers_memory_does_not_grow_with_the_backlog(
    service: Service, api: Api, named: Callable[[str], str]
) -> None:
    once, twice = named("once"), named("twice")
    await api.fill(once, WAITING, BODY)
    await api.fill(twice, 2 * WAITING, BODY)
    await asyncio.to_thread(service.restart)  # a fresh worker: what filling cost is not measured
    warm = named("warm")
    await api.fill(warm, 300, BODY)
    async with Device(service.url, warm) as phone:
        await phone.receive(200)

    small = await growth(service, api, once)
    large = await growth(service, api, twice)
    backlog = WAITING * len(BODY)
    assert backlog > 19 * MEBIBYTE
    assert small < backlog / 2, f"grew by {small} bytes with {backlog} waiting"
    assert large < small + backlog / 4, f"grew by {large} bytes with twice as much waiting, by {small} with once"


async def test_others_are_served_while_it_is_connected(
    service: Service, api: Api, history: History, named: Callable[[str], str]
) -> None:
    stuck = named("stuck")
    await api.fill(stuck, WAITING)
    phones = [Device(service.url, stuck, f"d{number}") for number in range(3)]
    for phone in phones:
        await phone.connect()
        await phone.receive(256)
    sender, user = Sender(named("sender"), history), named("reader")
    device = Device(service.url, sender.user)
    reader = Reader(Device(service.url, user, "phone", history))
    stop = asyncio.Event()
    async with running(reader.run()) as reading, running(sender.over_socket(device, [user], stop)) as sending:
        while sender.number < 500:
            await api.send(stuck, 1)
            reading.check()
            sending.check()
        stop.set()
        await sending.done()
        await reader.device.wire.until(lambda: history.missing((user, "phone")) == 0, "every message")
    assert history.violations((user, "phone")) == []
    for phone in phones:
        assert phone.wire.is_open, "who does not ack is not disconnected for it"
        assert len(phone.entries) == 256
        await phone.close()
