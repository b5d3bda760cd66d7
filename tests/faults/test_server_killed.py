"""`kill -9` of the embedded server mid-traffic; the parent starts it again on the same data."""

import asyncio
from collections.abc import Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Sender, running

KILLS = 3


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


async def test_nothing_accepted_is_lost_and_every_connection_catches_up_without_reconnecting(
    service: Service, history: History, named: Callable[[str], str]
) -> None:
    readers = [Device(service.url, named(f"reader{number}"), "phone", history) for number in range(6)]
    for device in readers:
        device.acking = True
        await device.connect()
    names = [device.user for device in readers]
    senders = [Sender(named(f"h{number}"), history, 0.002) for number in range(3)]
    talker = Sender(named("talker"), history, 0.002)
    sockets = Device(service.url, talker.user, "sender")
    workers = service.workers()
    stop = asyncio.Event()
    pids = [service.server_pid]
    async with running(
        *(sender.over_http(service.url, names, stop) for sender in senders),
        talker.over_socket(sockets, names, stop),
    ) as sending:
        for _ in range(KILLS):
            await traffic(history, names, sending.check)
            pid = service.server_pid
            assert pid is not None
            refused = unavailable(senders)
            processes.kill(pid)
            await refused_more(senders, refused)
            await eventually_async(lambda: another_server(service, pids), "the parent starts the server again")
        await traffic(history, names, sending.check)
        stop.set()
        await sending.done()
    for device in readers:
        reader = (device.user, "phone")
        await device.wire.until(lambda: history.missing(reader) == 0, f"every message of {device.user}")  # noqa: B023

    assert history.violations(*((name, "phone") for name in names)) == []
    assert all(device.wire.is_open and device.connections == 1 for device in readers)
    assert not any(device.rules.rewound for device in readers), "AOF always: nothing of the history is lost"
    assert len(set(pids)) == KILLS + 1
    assert unavailable(senders) >= KILLS
    assert all(sender.seen["broken"] == 0 for sender in senders), "the workers stayed"
    assert sockets.connections == 1
    for device in readers:
        await device.close()
    await asyncio.to_thread(service.await_ready)
    assert {worker.pid for worker in service.workers()} == {worker.pid for worker in workers}


def unavailable(senders: list[Sender]) -> int:
    return sum(sender.seen["unavailable"] for sender in senders)


async def refused_more(senders: list[Sender], before: int) -> None:
    async def grown() -> bool:
        return unavailable(senders) > before

    await eventually_async(grown, "a send is answered 503 meanwhile")


async def another_server(service: Service, pids: list[int | None]) -> bool:
    pid = service.server_pid
    if pid is None or pid in pids:
        return False
    pids.append(pid)
    return True


async def traffic(history: History, names: list[str], check: Callable[[], None]) -> None:
    """Waits until a hundred more messages are accepted."""
    before = sum(len(history.accepted_at[name]) for name in names)

    async def flowing() -> bool:
        check()
        return sum(len(history.accepted_at[name]) for name in names) >= before + 100

    await eventually_async(flowing, "a hundred more messages")


async def test_a_paused_server_is_waited_for_and_nobody_is_called_dead(service: Service, bob: str, alice: str) -> None:
    await asyncio.to_thread(service.await_ready)
    before = {worker.name for worker in service.workers()}
    pid = service.server_pid
    assert pid is not None
    async with Device(service.url, bob) as phone, Api(service.url, alice) as api:
        await phone.go_live()
        processes.pause(pid)
        try:
            problem(await api.post({"id": "m-1", "to": bob, "body": 1}), 503, "unavailable")
            assert processes.is_stopped(pid)
            # Longer than dead_after: who judged by the server's clock, or by a silence of its own, would reap now.
            pings = phone.wire.pings
            await phone.wire.until(lambda: phone.wire.pings >= pings + 3 or None, "three seconds of heartbeats")
        finally:
            processes.resume(pid)
        await asyncio.to_thread(service.await_ready)

        async def taken() -> bool:
            return (await api.post({"id": "m-1", "to": bob, "body": 1})).status_code in {200, 202}

        await eventually_async(taken, "the message is accepted")
        await phone.receive(1)
        assert len(phone.entries) == 1
    assert {worker.name for worker in service.workers()} == before, "same identities: nobody was reaped"
    assert service.server_pid == pid
