"""Connections that come slowly or not at all: each is closed in time, and the others are served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import UNIT, duration, eventually_async
from tests.hostile.conftest import Figure
from tests.hostile.raw import Raw, frame, watched
from tests.support.api import Api

POST = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nX-Inboxd-User: eve\r\nContent-Type: application/json\r\n"
SOCKETS = 200


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, handshake_timeout=duration(0.5), keep_alive=duration(0.5))


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def trickle(raw: Raw, first: bytes, again: bytes) -> bytes:
    """Writes `first`, then `again` over and over until the service hangs up; what it said."""
    raw.write(first)

    async def more() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw.write(again)
                await raw.writer.drain()
                await asyncio.sleep(0.02 * UNIT)

    writing = asyncio.create_task(more())
    try:
        return await raw.end()
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await raw.abort()


TRICKLES = {
    "a head": (b"GET /healthz HTTP/1.1\r\n", b"X"),
    "a head of many fields": (b"GET /healthz HTTP/1.1\r\n", b"X: y\r\n"),
    "a handshake": (b"GET /v1/ws?user=eve HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b"X"),
    "a body": (POST + b"Content-Length: 60000\r\n\r\n", b"x"),
    "a body in chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("name", TRICKLES)
async def test_what_trickles_is_told_so_and_closed(service: Service, name: str) -> None:
    before = service.metrics().get("inboxd_requests_too_slow_total", 0)
    said = await trickle(await Raw.open(service.url), *TRICKLES[name])
    assert said.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 431 ")), said
    assert b'"code":"too_slow"' in said or b'"code":"head_too_large"' in said
    assert service.metrics()["inboxd_requests_too_slow_total"] > before or b"431" in said


@pytest.mark.parametrize(
    ("first", "again"),
    (
        (b"", b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n"),
        (POST.replace(b"json", b"xml") + b"Content-Length: 60000\r\n\r\n", b"x"),
    ),
)
async def test_bytes_that_never_become_a_request_keep_nothing_open(
    service: Service, first: bytes, again: bytes
) -> None:
    await trickle(await Raw.open(service.url), first, again)


async def test_one_that_says_nothing_is_closed_without_a_word(service: Service) -> None:
    raw = await Raw.open(service.url)
    assert await raw.end() == b""
    await raw.abort()


async def test_an_idle_connection_is_closed_between_two_requests(service: Service) -> None:
    raw = await Raw.open(service.url)
    raw.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    said = await raw.end()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1
    await raw.abort()


async def test_a_body_that_comes_at_a_pace_may_take_longer(service: Service, api: Api, bob: str) -> None:
    body = b'{"to": "%s", "body": "%s"}' % (bob.encode(), b"x" * 40_000)
    raw = await Raw.open(service.url)
    raw.write(POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
    for at in range(0, len(body), 8000):  # about a second, twice the time-out
        raw.write(body[at : at + 8000])
        await asyncio.sleep(0.2 * UNIT)
    assert (await raw.end()).startswith(b"HTTP/1.1 202 ")
    await raw.abort()


async def test_a_long_poll_waits_longer_than_any_of_these(service: Service, api: Api, bob: str) -> None:
    async with Api(service.url, bob) as bobs:
        waiting = asyncio.create_task(bobs.get("/v1/inbox", device="d", wait=30))
        for _ in range(3):
            idle = await Raw.open(service.url)
            await idle.end()  # one time-out each
            await idle.abort()
        await api.send(bob)
        assert len((await waiting)["entries"]) == 1


async def test_a_head_without_end_is_refused_however_fast_it_comes(service: Service) -> None:
    raw = await Raw.open(service.url)
    raw.write(b"GET /healthz HTTP/1.1\r\nX: ")
    sent = await raw.flood(b"x" * 65536, 64 << 20)
    assert sent < 64 << 20
    await raw.end()
    await raw.abort()


async def test_a_socket_that_never_says_hello_is_closed_with_4000(service: Service, bob: str) -> None:
    raw = await Raw.open(service.url)
    await raw.handshake(bob)
    assert (4000).to_bytes(2) in await raw.end()
    await raw.abort()


async def test_a_hello_that_trickles_in_fragments_is_closed_with_4000(service: Service, bob: str) -> None:
    raw = await Raw.open(service.url)
    await raw.handshake(bob)
    assert (4000).to_bytes(2) in await trickle(raw, frame(b'{"type":', fin=False), frame(b" ", 0, fin=False))


async def test_hundreds_of_slow_connections_keep_nobody_waiting(
    service: Service, api: Api, bob: str, figure: Figure
) -> None:
    (worker,) = service.workers()
    async with watched(worker.pid, api, bob) as watch:
        raws = [await Raw.open(service.url) for _ in range(SOCKETS)]
        said = await asyncio.gather(*(trickle(raw, b"GET / HTTP/1.1\r\n", b"X") for raw in raws))
    assert all(b"408" in one or not one for one in said), "what was still being written may have cost it its answer"
    assert any(b"408" in one for one in said)
    figure(f"{SOCKETS} heads that trickle", str(watch))

    async def back() -> bool:
        return service.workers()[0].connections == 0

    await eventually_async(back, "nothing is left")
