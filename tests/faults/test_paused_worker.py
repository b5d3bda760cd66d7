"""A worker that pauses longer than the others wait: it is reaped, and comes back as somebody else."""

from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service, Worker
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    """Requests over fresh connections, so that none waits for the paused worker for ever."""
    async with Api(service.url, alice) as api:
        api.http.headers["Connection"] = "close"
        yield api


async def reaped(service: Service, worker: Worker) -> None:
    """Waits until the others have called a worker dead."""
    with service.store() as store:

        async def probe() -> bool:
            return store.hget("chat:workers", worker.name) in {None, "dead"}

        await eventually_async(probe, f"{worker.name} is called dead")


async def renamed(service: Service, worker: Worker) -> None:
    """Waits until a worker process has a new identity."""

    async def probe() -> bool:
        return any(row.pid == worker.pid and row.name != worker.name for row in service.workers())

    await eventually_async(probe, "the worker has a new identity")


async def test_it_takes_a_new_identity_and_its_connections_miss_nothing(service: Service, api: Api, bob: str) -> None:
    first, second = service.workers()
    with service.only(first.name):
        phone = Device(service.url, bob)
        assert (await phone.connect())["worker"] == first.name
    await phone.go_live()
    processes.pause(first.pid)
    try:
        await reaped(service, first)
        for number in range(10):
            await api.send(bob, number, f"m{number}")
    finally:
        processes.resume(first.pid)
    await renamed(service, first)
    await phone.receive(10)
    assert phone.wire.is_open  # answers that were not read meanwhile count
    assert [entry["body"] for entry in phone.entries] == list(range(10))
    await phone.close()
    assert {row.pid for row in service.workers()} == {first.pid, second.pid}


async def test_an_answer_to_its_ping_that_came_meanwhile_counts(service: Service, bob: str) -> None:
    first = service.workers()[0]
    phone = Device(service.url, bob)
    with service.only(first.name):
        await phone.connect()
    await phone.go_live()
    paused = False

    def pause() -> None:
        nonlocal paused
        if not paused:
            processes.pause(first.pid)
            paused = True

    phone.wire.before_pong = pause
    try:
        await phone.wire.until(lambda: paused or None, "a ping")
        await reaped(service, first)  # that takes longer than a pong may
    finally:
        processes.resume(first.pid)
    await phone.ping()
    await renamed(service, first)
    assert phone.wire.is_open
    await phone.close()


async def test_a_late_hello_from_its_buffer_does_not_throw_out_the_successor(
    service: Service, api: Api, bob: str
) -> None:
    first, second = service.workers()
    with service.only(first.name):
        early = await Wire.open(f"{service.url.replace('http', 'ws')}/v1/ws?user={bob}")
    processes.pause(first.pid)
    try:
        await early.send({"type": "hello", "device": "phone", "attempt": 1})
        late = Device(service.url, bob)
        welcome = await late.connect(attempt=2)
        assert welcome["worker"] == second.name
    finally:
        processes.resume(first.pid)
    assert await early.ended() == 4509
    await late.ping()
    await api.send(bob, "to the successor", "m-1")
    await late.receive(1)
    await late.close()


async def test_a_successor_elsewhere_stays_when_the_paused_worker_wakes(service: Service, api: Api, bob: str) -> None:
    first, second = service.workers()
    older, newer = Device(service.url, bob), Device(service.url, bob)
    with service.only(first.name):
        await older.connect(attempt=1)
    processes.pause(first.pid)
    try:
        await reaped(service, first)
        assert (await newer.connect(attempt=2))["worker"] == second.name
    finally:
        processes.resume(first.pid)
    assert await older.wire.ended() in {4509, 4001}
    await renamed(service, first)
    await api.send(bob, "hi", "m-1")
    await newer.receive(1)
    (row,) = (await api.inbox(bob))["devices"]
    assert row["worker"] == second.name, "what woke took nothing over"
    await older.close()
    await newer.close()
