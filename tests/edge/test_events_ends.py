"""How streams end, and which of them a browser's `EventSource` is kept from opening again."""

import asyncio
import time
from collections.abc import Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.event_stream import EventStream
from tests.support.issuer import Issuer


async def live(service: Service, user: str, stream: str | None = None) -> EventStream:
    """A stream that is live; the test leaves it."""
    opened = await EventStream(service.url, user, stream=stream).__aenter__()
    await opened.next("live")
    return opened


async def leave(*streams: EventStream) -> None:
    for stream in streams:
        await stream.__aexit__(None, None, None)


async def status(service: Service, user: str, stream: str | None) -> int:
    """What such a stream is answered."""
    async with EventStream(service.url, user, stream=stream) as opened:
        return opened.status


# Replaced.


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_a_replaced_stream_is_told_so_and_stays_away_when_it_comes_back(
    service: Service, api: Api, bob: str, elsewhere: bool
) -> None:
    one, other = (worker.name for worker in service.workers())
    with service.only(one):
        first = await live(service, bob, "tab-1")
    with service.only(other if elsewhere else one):
        second = await live(service, bob, "tab-2")
    assert (await first.ended())["code"] == "replaced"
    assert not first.wire_ended
    assert await status(service, bob, "tab-1") == 204
    assert await status(service, bob, "tab-1") == 204
    await api.send(bob, "hi", "m-1")
    assert (await second.receive(1))[0]["id"] == "m-1"
    with service.store() as store:
        assert 0 < store.ttl(f"chat:ended:{{{bob}/events/tab-1}}") <= 60
    await leave(first, second)


async def test_one_that_comes_back_by_itself_after_a_cut_replaces_itself_and_may_do_so_again(
    service: Service, bob: str
) -> None:
    """The service may not have noticed yet that the earlier connection is cut."""
    streams = [await live(service, bob, "tab-1") for _ in range(4)]
    for earlier in streams[:-1]:
        assert (await earlier.ended())["code"] == "replaced"
    assert streams[-1].is_open
    await leave(*streams)
    assert await status(service, bob, "tab-1") == 200


async def test_one_without_a_name_is_asked_to_wait_long(service: Service, bob: str) -> None:
    first = await live(service, bob)
    second = await live(service, bob)
    await first.ended()
    assert first.text.retry == 60_000, "or the two would throw each other out every second"
    await leave(first, second)
    assert await status(service, bob, None) == 200


async def test_streams_sockets_and_long_polls_of_a_device_take_each_others_place(
    service: Service, bobs: Api, bob: str
) -> None:
    stream = await live(service, bob, "tab-1")
    socket = Device(service.url, bob, "events")
    await socket.connect()
    assert (await stream.ended())["code"] == "replaced"
    assert await status(service, bob, "tab-1") == 204
    second = await live(service, bob, "tab-2")
    assert await socket.wire.ended() == 4509
    await socket.close()
    poll = asyncio.create_task(bobs.get("/v1/inbox", device="events", wait=60))
    assert (await second.ended())["code"] == "replaced"
    third = await live(service, bob, "tab-3")
    async with asyncio.timeout(PATIENCE):
        assert (await poll)["entries"] == []
    await leave(stream, second, third)


# Removed.


async def test_an_operator_removes_a_stream_and_it_stays_away(service: Service, api: Api, bob: str) -> None:
    named, nameless = await live(service, bob, "tab-1"), EventStream(service.url, bob, "other")
    async with nameless:
        await nameless.next("live")
        response = await api.http.delete(f"/v1/ops/connections/{bob}")
        assert response.status_code == 204
        for stream in (named, nameless):
            assert (await stream.ended())["code"] == "removed"
        assert await status(service, bob, "tab-1") == 204
        assert nameless.text.retry == 60_000
    await leave(named)


# Tokens.


async def test_a_stream_ends_with_its_token_and_a_fresh_one_opens_another(guarded: Service, bob: str) -> None:
    token = Issuer().token(bob, exp=time.time() + 1.0)
    async with EventStream(guarded.url, bob, token=token) as stream:
        assert (await stream.ended())["code"] == "unauthenticated"
        async with EventStream(guarded.url, bob, token=token) as again:
            problem(again.answer, 401, "unauthenticated")
        async with EventStream(guarded.url, bob, token=Issuer().token(bob)) as fresh:
            await fresh.next("live")


async def test_a_token_in_the_url_opens_nothing_and_one_without_chat_neither(guarded: Service, bob: str) -> None:
    token = Issuer().token(bob)
    async with Api(guarded.url) as nobody:
        query = {"device": "d", "token": token, "access_token": token}
        problem(await nobody.http.get("/v1/events", params=query), 401, "unauthenticated")
    async with EventStream(guarded.url, bob, token=Issuer().token(bob, "ops send:any")) as stream:
        problem(stream.answer, 403, "forbidden")


# A worker that goes, a server that is away.


async def test_a_drain_tells_each_stream_when_to_come_back_and_stores_its_acks(
    serve: Callable[..., Service], alice: str, bob: str
) -> None:
    service = serve(workers=1)
    async with Api(service.url, alice) as api:
        cursors = await api.fill(bob, 3)
    async with EventStream(service.url, bob) as stream:
        await stream.receive(3)
        await stream.ack(cursors[1])
        await asyncio.to_thread(service.restart)
        assert (await stream.ended())["type"] == "closing"
        assert stream.text.retry == stream.frames[-1]["reconnect_after_ms"]
        assert not stream.wire_ended, "it ends as a stream should"
    async with EventStream(service.url, bob, last_event_id=stream.text.id) as again:
        await again.next("live")
        assert again.entries == []
    async with EventStream(service.url, bob) as anew:
        assert [entry["body"] for entry in await anew.receive(1)] == [3]


async def test_while_the_server_is_away_a_stream_begins_all_the_same_so_that_browsers_try_again(
    serve: Callable[..., Service], bob: str
) -> None:
    service = serve(workers=1)
    assert service.server_pid is not None
    processes.pause(service.server_pid)
    try:
        async with EventStream(service.url, bob, stream="tab-1") as stream:
            assert (await stream.ended())["code"] == "unavailable"
            assert stream.text.retry is not None
    finally:
        processes.resume(service.server_pid)

    async def back() -> bool:
        return await status(service, bob, "tab-1") == 200

    await eventually_async(back, "it is let in again")


# Who does not read.


@pytest.mark.parametrize("receive_buffer", (4096, None))
async def test_a_stream_that_nobody_reads_is_gone_and_its_entries_come_again(
    service: Service, api: Api, bob: str, receive_buffer: int | None
) -> None:
    async with EventStream(service.url, bob, window=1024, receive_buffer=receive_buffer) as stream:
        await stream.next("live")
        stream.stall()
        for number in range(300):
            await api.send(bob, "x" * 60_000, f"m{number}")

        async def gone() -> bool:
            return all(row["worker"] is None for row in (await api.inbox(bob))["devices"])

        await eventually_async(gone, "the stalled stream is gone")
        stream.resume()
        await stream.until(lambda: stream.wire_ended, "it was cut")
        assert len(stream.entries) < 300, "it did stall"
    async with EventStream(service.url, bob, window=4) as again:
        acked = 0
        while acked < 300:
            acked = len(await again.receive(acked + 1))
            await again.ack()
        assert [entry["id"] for entry in again.entries] == [f"m{number}" for number in range(300)]


async def test_one_that_acks_what_it_does_not_read_costs_no_memory(
    serve: Callable[..., Service], alice: str, bob: str
) -> None:
    service = serve(workers=1, ping_interval=600)  # nothing else ends it
    worker = service.worker_pids()[0]
    liar = EventStream(service.url, bob, window=64, receive_buffer=65_536)
    async with Api(service.url, alice) as api, liar:
        await liar.next("live")
        liar.stall()
        before = processes.resident(worker)
        for number in range(400):
            accepted = await api.send(bob, "x" * 60_000, f"m{number}")
            if number % 10 == 9:
                await liar.ack(accepted["recipients"][0]["cursor"])
        assert processes.resident(worker) - before < 10 << 20, "24 MB were acked"
        assert (await api.inbox(bob))["pending"] == 0
