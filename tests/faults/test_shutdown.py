"""The end of a service: SIGTERM drains, `kill -9` of the parent leaves nothing running, and all is there again."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.lab import processes
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service, is_same_alive
from scripts.lab.timing import eventually, eventually_async
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Reader, Sender, running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service for one test, that the test may end."""
    service = Service(tmp_path)
    service.start()
    yield service
    service.close()


@pytest.fixture
def with_store(tmp_path: Path) -> Iterator[tuple[Service, RedisServer]]:
    """A service whose server outlives it."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    service = Service(tmp_path, redis_url=server.url)
    service.start()
    yield service, server
    service.close()
    server.stop()


async def test_sigterm_tells_every_connection_when_to_come_back_and_closes_with_1012(
    service: Service, named: Callable[[str], str]
) -> None:
    devices = [Device(service.url, named(f"user{number}")) for number in range(30)]
    for device in devices:
        await device.connect()
        await device.go_live()
    assert sum(worker.connections for worker in service.workers()) >= 0
    service.terminate()
    told = []
    for device in devices:
        closing = await device.wire.next("closing")
        told.append(closing["reconnect_after_ms"])
        assert isinstance(closing["reason"], str)
        assert await device.wire.ended() == 1012
        await device.close()
    assert len(set(told)) > 5, f"spread, so that not all come back at once: {told}"
    assert await asyncio.to_thread(service.wait) == 0


async def test_acks_sent_before_the_end_are_kept(service: Service, alice: str, bob: str) -> None:
    phone = Device(service.url, bob)
    await phone.connect()
    async with Api(service.url, alice) as api:
        cursors = await api.fill(bob, 50)
    await phone.receive(50)
    await phone.ack()
    service.terminate()
    assert await phone.wire.ended() == 1012
    await phone.close()
    assert await asyncio.to_thread(service.wait) == 0
    await asyncio.to_thread(service.start)
    assert (await phone.connect())["cursor"] == cursors[-1]
    assert (await phone.go_live())["cursor"] == cursors[-1]
    assert not phone.entries
    await phone.close()


async def test_a_drained_service_leaves_no_presence_and_no_claims(
    with_store: tuple[Service, RedisServer], bob: str
) -> None:
    service, server = with_store
    phone = Device(service.url, bob)
    await phone.connect()
    with server.client() as store:
        assert store.hlen(f"chat:presence:{{{bob}}}") == 1
        assert await asyncio.to_thread(service.stop) == 0
        assert await phone.wire.ended() == 1012
        await phone.close()
        assert store.hlen(f"chat:presence:{{{bob}}}") == 0
        assert store.hget(f"chat:state:{{{bob}}}", "online") == "0"
        for kind in ("claims", "worker", "about"):
            assert store.keys(f"chat:{kind}:*") == []


async def test_a_long_poll_is_answered_at_the_end(service: Service, alice: str, bob: str) -> None:
    async with Api(service.url, bob) as bobs, Api(service.url, alice) as api:
        poll = asyncio.create_task(bobs.http.get("/v1/inbox", params={"device": "poll", "wait": 60}))

        async def known() -> bool:
            return await api.stored(bob, "poll") is not None

        await eventually_async(known, "the poll waits")
        service.terminate()
        response = await poll
        assert response.status_code in {200, 503}
    assert await asyncio.to_thread(service.wait) == 0


async def test_nothing_is_lost_over_restarts_mid_traffic(
    service: Service, history: History, bob: str, named: Callable[[str], str]
) -> None:
    senders = [Sender(named(f"h{number}"), history) for number in range(2)]
    reader = Reader(Device(service.url, bob, "phone", history))
    stop = asyncio.Event()
    async with (
        running(reader.run()) as reading,
        running(*(sender.over_http(service.url, [bob], stop) for sender in senders)) as sending,
    ):
        for _ in range(2):
            before = len(history.accepted_at[bob])

            async def flowing() -> bool:
                reading.check()
                sending.check()
                return len(history.accepted_at[bob]) > before + 50  # noqa: B023

            await eventually_async(flowing, "fifty more messages")
            await asyncio.to_thread(service.restart)
        stop.set()
        await sending.done()

        async def complete() -> bool:
            reading.check()
            return history.missing((bob, "phone")) == 0

        await eventually_async(complete, "every message")
    assert history.violations((bob, "phone")) == []
    assert set(reader.endings) == {1012}
    assert len(reader.endings) >= 2
    assert sum(sender.seen["broken"] for sender in senders) > 0


async def test_a_worker_that_gets_sigterm_alone_drains_and_is_replaced(service: Service, bob: str) -> None:
    phone = Device(service.url, bob)
    name = (await phone.connect())["worker"]
    worker = service.worker(name)
    os.kill(worker.pid, signal.SIGTERM)
    await phone.wire.next("closing")
    assert await phone.wire.ended() == 1012
    await phone.close()
    await phone.connect()
    await asyncio.to_thread(eventually, lambda: not processes.is_alive(worker.pid), "the worker ends")
    await asyncio.to_thread(service.await_ready)
    assert len(service.workers()) == 2
    await phone.close()


async def test_kill_9_of_the_parent_ends_everything_and_the_data_is_there_next_time(
    service: Service, alice: str, bob: str
) -> None:
    async with Api(service.url, alice) as api:
        cursors = await api.fill(bob, 20)
    children = processes.descendants(service.pid)
    assert len(children) >= 3, "two workers and the server"
    processes.kill(service.pid)
    await asyncio.to_thread(
        eventually, lambda: not any(is_same_alive(child) for child in children), "its children end with it"
    )
    service.forget()
    await asyncio.to_thread(service.start)
    async with Device(service.url, bob) as phone:
        entries = await phone.receive(20)
        assert [entry["cursor"] for entry in entries] == cursors
        async with Api(service.url, alice) as api:
            sent = await api.send(bob, "goes on")
            assert Cursor.parse(sent["recipients"][0]["cursor"]).seq == 21


async def test_a_peer_that_stalls_does_not_hold_up_the_end(service: Service, alice: str, bob: str) -> None:
    phone = Device(service.url, bob)
    await phone.connect(window=1024, receive_buffer=4096)
    phone.wire.stall()
    async with Api(service.url, alice) as api:
        for number in range(30):
            await api.send(bob, "x" * 30_000, f"m{number}")
        assert await asyncio.to_thread(service.stop) == 0
    await phone.abort()
