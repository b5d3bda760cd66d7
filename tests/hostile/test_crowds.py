"""Many connections, devices and bodies: each limit refuses what is too much, says so, and lets in again later."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, POLL, eventually_async
from tests.hostile.conftest import Figure
from tests.hostile.raw import MIB, Raw, watched
from tests.support.api import Api, problem
from tests.support.device import Device, RefusedError

CROWD = 1500
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def small(serve: Callable[..., Service]) -> Service:
    """Little room."""
    return serve(workers=1, max_connections=40, max_connections_per_user=3, max_devices=5, handshake_timeout="30s")


@pytest.fixture
async def api(small: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(small.url, alice) as api:
        yield api


async def opened(service: Service, count: int) -> list[Raw]:
    return list(await asyncio.gather(*(Raw.open(service.url) for _ in range(count))))


async def gone(raws: list[Raw]) -> None:
    await asyncio.gather(*(raw.abort() for raw in raws))


async def asked(service: Service, request: bytes) -> bytes:
    """What one connection more is told; b"" where it was closed without a word."""
    raw = await Raw.open(service.url)
    raw.write(request)
    said = await raw.end()
    await raw.abort()
    return said


async def test_a_worker_that_is_full_says_so_and_lets_in_again(small: Service, alice: str) -> None:
    raws = await opened(small, 45)
    said = await asked(small, GET)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in said.lower()
    assert b'"code":"overloaded"' in said
    assert b"nosniff" in said
    assert b" 503 " in await raws[-1].handshake(alice), "a handshake is answered as a request"
    await gone(raws)

    async def served() -> bool:
        return (await asked(small, GET)).startswith(b"HTTP/1.1 200 ")

    await eventually_async(served, "there is room again")
    assert small.metrics()["inboxd_connections_refused_total"] > 5


async def test_far_beyond_that_they_are_closed_without_a_word(small: Service) -> None:
    raws = await opened(small, 400)
    assert await asked(small, GET) == b""
    await gone(raws)

    async def served() -> bool:
        return (await asked(small, GET)).startswith(b"HTTP/1.1 200 ")

    await eventually_async(served, "there is room again")


async def test_a_user_has_so_many_connections_and_may_still_replace_its_own(small: Service, bob: str) -> None:
    phones = [Device(small.url, bob, f"d{n}") for n in range(3)]
    for phone in phones:
        await phone.connect()
    with pytest.raises(RefusedError) as refused:
        await Device(small.url, bob, "d3").connect()
    assert (refused.value.code, refused.value.reason) == (4003, "too_many_connections")
    assert [(error["code"], error["retryable"]) for error in refused.value.errors] == [("too_many_connections", True)]
    async with Api(small.url, bob) as bobs:
        response = await bobs.http.get("/v1/inbox", params={"device": "d4", "wait": 5})
        problem(response, 429, "too_many_connections")
        assert (await bobs.get("/v1/inbox", device="d3"))["entries"] == [], "a look is no connection"
    again = Device(small.url, bob, "d1")
    await again.connect()
    assert await phones[1].wire.ended() == 4509
    for phone in (phones[0], phones[2], again):
        await phone.close()
    await Device(small.url, bob, "d3").connect()


async def test_a_user_has_so_many_devices(small: Service, api: Api, bob: str) -> None:
    async with Api(small.url, bob) as bobs:
        for n in range(5):
            await bobs.get("/v1/inbox", device=f"d{n}")
        problem(await bobs.http.get("/v1/inbox", params={"device": "d5"}), 409, "too_many_devices")
        problem(await bobs.http.get("/v1/inbox", params={"device": "d5", "wait": 1}), 409, "too_many_devices")
        await api.send(bob)
        ack: dict[str, Any] = {"device": "d5", "cursor": "0-0"}
        problem(await bobs.http.post("/v1/inbox/ack", json=ack), 409, "too_many_devices")
        with pytest.raises(RefusedError) as refused:
            await Device(small.url, bob, "d5").connect()
        assert (refused.value.code, refused.value.reason) == (4500, "too_many_devices")
        assert [error["retryable"] for error in refused.value.errors] == [False]
        assert len((await api.inbox(bob))["devices"]) == 5
        async with Device(small.url, bob, "d4") as phone:
            assert len(await phone.receive(1)) == 1, "those that are known are served as ever"


# A real crowd, on a service with room for it.


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, handshake_timeout="60s", hello_timeout="60s", ping_interval="60s", max_devices=2000)


async def test_a_crowd_of_sockets_is_held_and_others_are_served(
    service: Service, alice: str, bob: str, figure: Figure, named: Callable[[str], str]
) -> None:
    (worker,) = service.workers()
    users = [named(f"u{n}") for n in range(CROWD)]
    raws = await opened(service, CROWD)
    async with Api(service.url, alice) as api, watched(worker.pid, api, bob) as watch:
        for at in range(0, CROWD, 50):
            pairs = zip(raws[at : at + 50], users[at : at + 50], strict=True)
            await asyncio.gather(*(raw.hello(user) for raw, user in pairs))

        async def all_held() -> bool:
            return service.workers()[0].connections == CROWD  # told with each heartbeat

        await eventually_async(all_held, "all are held")
    each = watch.growth * 1024 / CROWD
    figure(f"{CROWD:,} live sockets", f"{each:.1f} KiB each; {watch}")
    assert each < 128
    await gone(raws)

    async def empty() -> bool:
        return service.workers()[0].connections == 0

    await eventually_async(empty, "all are gone")


async def test_a_crowd_that_says_nothing_costs_little(service: Service, alice: str, bob: str, figure: Figure) -> None:
    (worker,) = service.workers()
    async with Api(service.url, alice) as api, watched(worker.pid, api, bob) as watch:
        raws: list[Raw] = []
        for _ in range(6):
            raws += await opened(service, 500)
            await api.send(bob)
    each = watch.growth * 1024 / len(raws)
    figure(f"{len(raws):,} connections that say nothing", f"{each:.1f} KiB each; {watch}")
    assert each < 32
    await gone(raws)


async def test_connections_that_come_and_go_leave_nothing_behind(
    service: Service, alice: str, bob: str, figure: Figure
) -> None:
    (worker,) = service.workers()
    process = psutil.Process(worker.pid)
    async with Api(service.url, alice) as api:
        await gone(await opened(service, 500))
        await api.send(bob)
        files = process.num_fds()
        async with watched(worker.pid, api, bob) as watch:
            for _ in range(8):
                await gone(await opened(service, 500))
                await api.send(bob)
    figure("4,000 connections that come and go", str(watch))

    async def closed() -> bool:
        return process.num_fds() <= files

    await eventually_async(closed, "every file is closed")
    assert watch.growth < 16


async def test_a_worker_that_runs_out_of_files_lives_and_serves_again(
    service: Service, alice: str, bob: str, figure: Figure
) -> None:
    (worker,) = service.workers()
    process = psutil.Process(worker.pid)
    async with Api(service.url, alice) as api:
        await api.send(bob)
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 20, limits[1]))
        raws = await opened(service, 200)
        began = process.cpu_times().user
        for _ in range(20):
            await api.send(bob)  # on the connection it has
            await asyncio.sleep(POLL)
        held = process.num_fds()
        figure("200 connections, files for 20", f"{held} files open, {process.cpu_times().user - began:.2f} s of CPU")
        await gone(raws)

        async def served() -> bool:
            return (await asked(service, GET)).startswith(b"HTTP/1.1 200 ")

        await eventually_async(served, "it accepts again")
        process.rlimit(psutil.RLIMIT_NOFILE, limits)
    assert [one.pid for one in service.workers()] == [worker.pid]


async def waiting_for_word(raws: list[Raw]) -> list[bytes]:
    """What some are told while the others are still asked for more."""
    words = [asyncio.ensure_future(raw.end(b"}")) for raw in raws]
    done, waiting = await asyncio.wait(words, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    for word in waiting:
        word.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return [word.result() for word in done]


async def test_large_bodies_of_many_at_once_are_bounded_or_refused(
    service: Service, alice: str, bob: str, figure: Figure
) -> None:
    (worker,) = service.workers()
    size = 15 * MIB
    head = (
        b"POST /v1/messages/batch HTTP/1.1\r\nHost: localhost\r\nX-Inboxd-User: eve\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
    )
    async with Api(service.url, alice) as api, watched(worker.pid, api, bob) as watch:
        raws = await opened(service, 12)
        for raw in raws:
            raw.write(head)
            await raw.flood(b" " * MIB, size - MIB)  # the last part never comes
        refused = await waiting_for_word(raws)
    figure("12 batches of 15 MiB that never end", f"{len(refused)} refused; {watch}")
    assert watch.growth < 320
    assert refused
    assert all(b'"code":"overloaded"' in one for one in refused)
    await gone(raws)
