"""What watchers were told stays true: over killed workers, lost notices, and clients that come and go all the time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from scripts.lab import processes
from scripts.lab.proxy import LostControls, RedisProxy, prepare
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service, Worker
from scripts.lab.timing import UNIT, duration, eventually_async
from tests.support.api import Api
from tests.support.device import Device

SETTLE = 0.5
"""Units of time in which of one user there is no more than one word."""


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProxy]:
    """A server of this module's own, behind a proxy that can lose notices."""
    server = RedisServer(tmp_path_factory.mktemp("store"))
    server.start()
    proxy = RedisProxy(server.port)
    proxy.start()
    yield proxy
    proxy.stop()
    server.stop()


@pytest.fixture(scope="module")
def service(link: RedisProxy, serve: Callable[..., Service]) -> Service:
    return serve(redis_url=link.url, presence_settle=duration(SETTLE))


@pytest.fixture
async def workers(service: Service) -> tuple[Worker, Worker]:
    """Both, whichever they are now: the one that watches, and the one that holds who is watched."""
    await asyncio.to_thread(service.await_ready)
    here, there = service.workers()
    return here, there


@pytest.fixture
async def watcher(service: Service, workers: tuple[Worker, Worker], alice: str) -> AsyncIterator[Device]:
    """Alice, on the first worker."""
    device = Device(service.url, alice)
    with service.only(workers[0].name):
        await device.connect()
    yield device
    await device.abort()


@pytest.fixture
async def phone(service: Service, workers: tuple[Worker, Worker], bob: str) -> AsyncIterator[Device]:
    """Bob, on the second worker."""
    device = Device(service.url, bob)
    with service.only(workers[1].name):
        await device.connect()
    yield device
    await device.abort()


def words(watcher: Device) -> list[str]:
    return [frame["status"] for frame in watcher.wire.of("presence")]


async def watch(watcher: Device, bob: str, status: str) -> None:
    await watcher.say({"type": "watch", "users": [bob]})
    await watcher.wire.next("presence", user=bob, status=status)


async def test_who_died_with_its_worker_is_told_to_have_gone(
    workers: tuple[Worker, Worker], watcher: Device, phone: Device
) -> None:
    await watch(watcher, phone.user, "online")
    processes.kill(workers[1].pid)
    gone = await watcher.wire.next("presence", user=phone.user, status="offline")
    assert type(gone["last_seen"]) is int
    assert words(watcher) == ["online", "offline"]


async def test_who_is_back_before_the_dead_worker_is_reaped_was_never_gone(
    service: Service, workers: tuple[Worker, Worker], watcher: Device, phone: Device
) -> None:
    await watch(watcher, phone.user, "online")
    processes.kill(workers[1].pid)
    assert (await phone.wire.over()) == 1006
    await phone.abort()
    await phone.connect()

    async def reaped() -> bool:
        with service.store() as store:
            return bool(store.hget("chat:workers", workers[1].name) == "dead")

    await eventually_async(reaped, "the dead worker is reaped")
    await phone.abort()
    await watcher.wire.next("presence", status="offline")
    assert words(watcher) == ["online", "offline"]


async def test_who_watched_on_a_worker_that_died_watches_again_and_is_told_right(
    service: Service, workers: tuple[Worker, Worker], watcher: Device, phone: Device
) -> None:
    await watch(watcher, phone.user, "online")
    processes.kill(workers[0].pid)
    await watcher.wire.over()
    await watcher.abort()
    await phone.abort()
    await watcher.connect()
    await watcher.say({"type": "watch", "users": [phone.user]})
    await watcher.wire.until(lambda: words(watcher)[-1:] == ["offline"] or None, "that Bob has gone")
    await phone.connect()
    await watcher.wire.next("presence", status="online")


async def test_a_notice_that_is_lost_costs_an_audit(
    service: Service, link: RedisProxy, workers: tuple[Worker, Worker], watcher: Device, bob: str
) -> None:
    with service.store() as store:
        prepare(store, [worker.name for worker in workers])
    await watch(watcher, bob, "offline")
    lost = link.filter = LostControls("!presence")
    phone = Device(service.url, bob)
    try:
        with service.only(workers[1].name):
            await phone.connect()
        await watcher.wire.next("presence", status="online")
        came = lost.count
        await phone.close()
        await watcher.wire.next("presence", status="offline")
    finally:
        link.filter = bytes
    assert 0 < came < lost.count, "every notice was lost"


async def test_a_client_that_flaps_makes_few_words_and_the_last_is_right(
    service: Service, watcher: Device, bob: str
) -> None:
    await watch(watcher, bob, "offline")
    began = time.monotonic()
    for number in range(50):
        phone = Device(service.url, bob)
        await phone.connect(attempt=number + 1)
        await phone.abort()
    async with Api(service.url, watcher.user) as api:

        async def told_right() -> bool:
            stands = await api.get(f"/v1/presence/{bob}")
            newest = watcher.wire.of("presence")[-1]
            return bool(stands["status"] == "offline" and newest == {"type": "presence", **stands})

        await eventually_async(told_right, "the last word is right")
    spent = time.monotonic() - began
    assert len(words(watcher)) <= 3 + spent / (SETTLE * UNIT), f"of a hundred changes, in {spent:.1f} s"
