"""`kill -9` of the worker that holds the socket, mid-traffic, ten times in a row."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Reader, Sender, running

KILLS = 10


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


@pytest.fixture
async def api(service: Service) -> AsyncIterator[Api]:
    async with Api(service.url, "operator") as api:
        yield api


async def test_nothing_accepted_is_lost_and_repeated_sends_make_no_second_entry(
    service: Service, api: Api, history: History, bob: str, named: Callable[[str], str]
) -> None:
    senders = [Sender(named(f"h{number}"), history, 0.005) for number in range(3)]
    talker = Sender(named("talker"), history, 0.005)
    reader = Reader(Device(service.url, bob, "phone", history))
    stop = asyncio.Event()
    killed: list[int] = []
    async with (
        running(reader.run()) as reading,
        running(
            *(sender.over_http(service.url, [bob], stop) for sender in senders),
            talker.over_socket(Device(service.url, talker.user, "sender"), [bob], stop),
        ) as sending,
    ):
        for _ in range(KILLS):
            pid = await holder(service, reader, reading.check)
            await more_traffic(history, bob, sending.check)
            processes.kill(pid)
            killed.append(pid)
            await eventually_async(lambda: ended(reader, len(killed)), "the connection of the dead worker ends")
        await holder(service, reader, reading.check)
        await more_traffic(history, bob, sending.check)
        stop.set()
        await sending.done()
        device = reader.device
        await device.wire.until(lambda: history.missing((bob, "phone")) == 0, "every message")
        cursors = history.accepted_at[bob]

        await once_more(service, history, bob, senders)
        last = max(cursors.values())
        await eventually_async(lambda: stored(api, bob, str(last)), "the last ack is stored")
        await device.ping()
        assert device.position == last, "the repeats made no entry"

    assert history.violations((bob, "phone")) == []
    assert len(set(killed)) == KILLS
    assert not any(processes.is_alive(pid) for pid in killed)
    assert reader.endings == [1006] * KILLS, "every kill took the connection with it, nothing else did"
    broken = sum(sender.seen["broken"] for sender in [*senders, talker])
    assert broken > 0, "some sends were repeated because a worker died under them"
    await service_is_whole(service)


async def holder(service: Service, reader: Reader, check: Callable[[], None]) -> int:
    """Waits until the reader is connected and live; the pid of the worker that holds it."""

    async def live() -> bool:
        check()
        device = reader.device
        here = len(reader.workers) == len(reader.endings) + 1  # the last of them is the one of now
        return here and device.wire.is_open and device.rules.live

    await eventually_async(live, "the reader is back and live")
    return (await asyncio.to_thread(service.worker, reader.workers[-1])).pid


async def more_traffic(history: History, user: str, check: Callable[[], None]) -> None:
    """Waits until twenty more messages are accepted: the traffic flows."""
    before = len(history.accepted_at[user])

    async def flowing() -> bool:
        check()
        return len(history.accepted_at[user]) >= before + 20

    await eventually_async(flowing, "twenty more messages")


async def ended(reader: Reader, count: int) -> bool:
    return len(reader.endings) >= count


async def stored(api: Api, user: str, cursor: str) -> bool:
    return await api.stored(user, "phone") == cursor


async def once_more(service: Service, history: History, user: str, senders: list[Sender]) -> None:
    """Sends the newest messages of every sender again; each must get its original cursor."""
    for sender in senders:
        async with Api(service.url, sender.user) as api:
            for message_id in history.sent[sender.user][-20:]:
                identity = (sender.user, message_id)
                answer = await api.send(user, history.bodies[identity], message_id)
                assert answer["duplicate"] is True
                assert answer["recipients"][0]["cursor"] == str(history.accepted_at[user][identity])


async def service_is_whole(service: Service) -> None:
    await asyncio.to_thread(service.await_ready)


async def test_what_the_dead_left_behind_is_cleared_away(service: Service, api: Api, bob: str, alice: str) -> None:
    await service_is_whole(service)
    ghost = Device(service.url, bob)
    name = (await ghost.connect())["worker"]
    victim = service.worker(name)
    await eventually_async(lambda: where(api, bob, name), "the ghost is seen online")
    processes.kill(victim.pid)
    assert await ghost.wire.ended() == 1006
    await api.send(bob, "while the dead still holds the claim", "m-1")
    await eventually_async(lambda: where(api, bob, None), "presence of the dead is reaped")
    with service.store() as store:

        async def swept() -> bool:
            keys = {f"chat:{kind}:{{{name}}}" for kind in ("worker", "claims", "about")}
            return not store.exists(*keys) and store.hget("chat:workers", name) in {None, "dead"}

        await eventually_async(swept, "its stream, claims and description are gone")
        assert store.hget(f"chat:state:{{{bob}}}", "online") in {None, "0"}
    rows = (await api.get("/v1/ops/workers"))["workers"]
    assert name not in {row["worker"] for row in rows}
    await ghost.abort()
    await ghost.connect()
    assert (await ghost.receive(1))[0]["id"] == "m-1"
    await ghost.close()
    await service_is_whole(service)


async def where(api: Api, user: str, worker: str | None) -> bool:
    return bool((await api.inbox(user))["devices"][0]["worker"] == worker)


async def test_a_killed_worker_is_replaced_and_the_other_serves_meanwhile(service: Service, api: Api, bob: str) -> None:
    await service_is_whole(service)
    first, second = service.workers()
    with service.only(second.name):
        phone = Device(service.url, bob)
        assert (await phone.connect())["worker"] == second.name
    processes.kill(first.pid)
    await phone.send("m-1", bob, "served by the other")
    await phone.receive(1)
    await service_is_whole(service)
    pids = {worker.pid for worker in service.workers()}
    assert len(pids) == 2
    assert first.pid not in pids
    assert second.pid in pids
    assert phone.wire.is_open
    await phone.close()
