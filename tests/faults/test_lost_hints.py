"""Lost hints cost seconds, never a message: the audit heals them from the inbox."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from scripts.lab import processes
from scripts.lab.proxy import LostHints, RedisProxy, prepare
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service, Worker
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProxy]:
    """A server of this module's own, behind a proxy that can lose hints."""
    server = RedisServer(tmp_path_factory.mktemp("store"))
    server.start()
    proxy = RedisProxy(server.port)
    proxy.start()
    yield proxy
    proxy.stop()
    server.stop()


@pytest.fixture(scope="module")
def service(link: RedisProxy, serve: Callable[..., Service]) -> Service:
    return serve(redis_url=link.url)


async def apart(service: Service, alice: str, bob: str) -> tuple[Device, Device, Worker]:
    """Alice's phone on one worker, Bob's, live, on the other; and Bob's worker."""
    here, there = service.workers()
    sender, phone = Device(service.url, alice), Device(service.url, bob)
    with service.only(here.name):
        assert (await sender.connect())["worker"] == here.name
    with service.only(there.name):
        assert (await phone.connect())["worker"] == there.name
    await phone.go_live()
    return sender, phone, there


async def hinted(sender: Device, phone: Device, message_id: str) -> None:
    """Shows that a hint reaches Bob again: the message comes live, not out of the inbox."""
    for attempt in range(20):
        count = len(phone.entries) + 1  # it may be there before its sender has the answer
        await sender.send(f"{message_id}-{attempt}", phone.user, "live?")
        entries = await phone.receive(count)
        if not entries[-1].get("replay", False):
            return
    raise AssertionError("messages still come out of the inbox only: hints are not read any more")


async def test_hints_that_never_arrive_are_made_good_from_the_inbox(
    service: Service, link: RedisProxy, alice: str, bob: str
) -> None:
    sender, phone, there = await apart(service, alice, bob)
    with service.store() as store:
        prepare(store, [there.name])
    lost = link.filter = LostHints()
    try:
        for number in range(10):
            await sender.send(f"m-{number}", bob, number)
        entries = await phone.receive(10)
    finally:
        link.filter = bytes
    assert lost.count > 0
    assert [entry["body"] for entry in entries] == list(range(10))
    assert all(entry["replay"] is True for entry in entries), "they came out of the inbox"
    assert phone.connections == 1
    await hinted(sender, phone, "after")
    await sender.close()
    await phone.close()


async def is_lost(lost: LostHints) -> bool:
    return lost.count == 1


async def test_one_lost_hint_among_many_is_made_good_and_nothing_overtakes(
    service: Service, link: RedisProxy, alice: str, bob: str
) -> None:
    sender, phone, there = await apart(service, alice, bob)
    with service.store() as store:
        prepare(store, [there.name])
    await sender.send("m-0", bob, 0)
    await phone.receive(1)
    lost = link.filter = LostHints()
    await sender.send("m-1", bob, 1)
    await eventually_async(lambda: is_lost(lost), "the hint is lost")
    link.filter = bytes
    for number in range(2, 30):
        await sender.send(f"m-{number}", bob, number)
    entries = await phone.receive(30)
    assert [entry["body"] for entry in entries] == list(range(30))
    assert entries[1]["replay"] is True
    await sender.close()
    await phone.close()


async def test_a_stream_deleted_under_its_worker_is_made_good(service: Service, alice: str, bob: str) -> None:
    sender, phone, there = await apart(service, alice, bob)
    stream = f"chat:worker:{{{there.name}}}"
    with service.store() as store:

        async def there_again() -> bool:
            return bool(store.exists(stream))

        for number in range(5):
            await eventually_async(there_again, "the worker has made its stream again")
            assert store.delete(stream) == 1, "there was a stream to delete"
            await sender.send(f"m-{number}", bob, number)
            entries = await phone.receive(number + 1)
            assert entries[-1]["body"] == number
        assert phone.connections == 1
        await eventually_async(there_again, "the worker has made its stream again")
        await hinted(sender, phone, "after")
    await asyncio.to_thread(service.await_ready)
    assert there.name in {worker.name for worker in service.workers()}
    await sender.close()
    await phone.close()


async def test_a_stream_trimmed_before_its_worker_read_it_is_made_good(service: Service, alice: str, bob: str) -> None:
    sender, phone, there = await apart(service, alice, bob)
    with service.store() as store:
        processes.pause(there.pid)
        try:
            for number in range(20):
                await sender.send(f"m-{number}", bob, number)
            unread = store.xtrim(f"chat:worker:{{{there.name}}}", maxlen=0, approximate=False)
        finally:
            processes.resume(there.pid)
    assert unread >= 10, "hints that the worker had not read are gone"
    entries = await phone.receive(20)
    assert [entry["body"] for entry in entries] == list(range(20))
    assert phone.connections == 1
    await hinted(sender, phone, "after")
    await sender.close()
    await phone.close()


async def test_presence_that_was_lost_is_claimed_again(service: Service, alice: str, bob: str) -> None:
    sender, phone, there = await apart(service, alice, bob)
    presence = f"chat:presence:{{{bob}}}"
    with service.store() as store:
        assert store.delete(presence) == 1
        await sender.send("m-1", bob, 1)
        await phone.receive(1)
        await hinted(sender, phone, "after")
        assert store.hget(presence, "phone").startswith(f"{there.name}/")
    await sender.close()
    await phone.close()


async def test_a_takeover_nobody_was_told_of_is_noticed(service: Service, bob: str) -> None:
    first, second = service.workers()
    older, newer = Device(service.url, bob), Device(service.url, bob)
    with service.only(first.name):
        await older.connect()
    with service.store() as store:
        processes.pause(first.pid)
        try:
            assert (await newer.connect())["worker"] == second.name
            store.xtrim(f"chat:worker:{{{first.name}}}", maxlen=0, approximate=False)
        finally:
            processes.resume(first.pid)
    assert await older.wire.ended() == 4509
    await newer.ping()
    await older.close()
    await newer.close()


async def test_the_same_holds_for_the_long_poll(service: Service, link: RedisProxy, alice: str, bob: str) -> None:
    with service.store() as store:
        prepare(store, [worker.name for worker in service.workers()])
    async with Api(service.url, bob) as bobs, Api(service.url, alice) as api:
        poll = asyncio.create_task(bobs.get("/v1/inbox", device="poll", wait=60))

        async def known() -> bool:
            return await api.stored(bob, "poll") is not None

        await eventually_async(known, "the poll waits")
        link.filter = LostHints()
        try:
            await api.send(bob, "hi", "m-1")
            page = await poll
        finally:
            link.filter = bytes
    assert [entry["id"] for entry in page["entries"]] == ["m-1"]
