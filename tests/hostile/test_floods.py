"""One connection that floods: what the worker holds for it is bounded, and the others are served."""

import json
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab.service import Service
from tests.hostile.conftest import Figure
from tests.hostile.raw import CONTINUATION, MIB, PING, PONG, Raw, frame, watched
from tests.support.api import Api
from tests.support.device import Device

BOUND = 14.0
"""MiB that one connection may cost at worst, measured from outside: 1 MiB of a frame, 64 KiB of its lines at a time,
2 MiB unwritten, 1,024 sends on their way; the rest is slack for what an allocator keeps.
"""


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    """One worker: all of it is hit by every flood."""
    return serve(workers=1)


@pytest.fixture(scope="module")
def patient(serve: Callable[..., Service]) -> Service:
    """As `service`, for clients that answer no ping and are not to be cut for it."""
    return serve(workers=1, ping_interval="60s")


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


def line(content: object) -> bytes:
    return json.dumps(content).encode()


def bundle(content: object, size: int) -> bytes:
    """One frame of the same line over and over."""
    one = line(content) + b"\n"
    return frame(one * (size // len(one)))


FLOODS = {
    "pings, unread": (frame(b"x" * 125, PING) * 500, 64 * MIB),
    "empty pings": (frame(b"", PING) * 10_000, 2 * MIB),
    "pongs nobody asked for": (frame(b"x" * 100, PONG) * 500, 16 * MIB),
    "empty fragments": (frame(b"", fin=False) + frame(b"", CONTINUATION, fin=False) * 10_000, 2 * MIB),
    "acks, bundled": (bundle({"type": "ack", "cursor": "0-0"}, 512 << 10), MIB),
    "acks, one by one": (frame(line({"type": "ack", "cursor": "0-0"})) * 1000, MIB),
    "unknown types, unread": (bundle({"type": "x"}, 256 << 10), 8 * MIB),
    "objects without a type, unread": (bundle({}, 128 << 10), MIB // 2),
    "long pings of the protocol, unread": (bundle({"type": "ping", "ref": "r" * 128}, 512 << 10), 16 * MIB),
    "history, unread": (bundle({"type": "history", "ref": "r"}, 64 << 10), MIB // 4),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_costs_no_more_than_its_bound(
    service: Service, api: Api, bob: str, carol: str, figure: Figure, name: str
) -> None:
    data, most = FLOODS[name]
    (worker,) = service.workers()
    raw = await Raw.open(service.url, receive_buffer=4096)
    await raw.hello(bob)
    async with watched(worker.pid, api, carol) as watch:
        sent = await raw.flood(data, most)
        raw.write(frame(b"", CONTINUATION) if "fragments" in name else frame(line({"type": "ping", "ref": "end"})))
        await raw.end(b'"ref":"end"')  # all of it has been taken, or the connection is cut
    figure(f"flood of {name}: {sent / MIB:.1f} MiB", str(watch))
    await raw.abort()
    assert sent > 0
    assert watch.growth < BOUND
    assert [one.pid for one in service.workers()] == [worker.pid]


async def test_a_message_in_thousands_of_fragments_weighs_what_it_holds(
    patient: Service, alice: str, bob: str, carol: str, figure: Figure
) -> None:
    (worker,) = patient.workers()
    raw = await Raw.open(patient.url)
    await raw.hello(bob)
    text = line({"type": "ping", "ref": "end"}).ljust(300_000)
    pieces = [text[at : at + 2] for at in range(0, len(text), 2)]
    async with Api(patient.url, alice) as api, watched(worker.pid, api, carol) as watch:
        raw.write(frame(pieces[0], fin=False))
        raw.write(b"".join(frame(piece, CONTINUATION, fin=False) for piece in pieces[1:]))
        raw.write(frame(b"", CONTINUATION))
        await raw.writer.drain()
        assert b'"ref":"end"' in await raw.end(b'"ref":"end"')
    figure(f"one message in {len(pieces):,} fragments", str(watch))
    assert watch.growth < 4
    await raw.abort()


async def test_fragments_without_end_are_cut_at_the_size_of_a_frame(service: Service, bob: str) -> None:
    raw = await Raw.open(service.url)
    await raw.hello(bob)
    raw.write(frame(b"x", fin=False))
    await raw.flood(frame(b"x" * 10_000, CONTINUATION, fin=False), 64 * MIB)
    await raw.end()  # it is cut; the close frame may be lost, since there was more to read
    await raw.abort()


async def test_a_flood_of_sends_is_taken_at_the_pace_of_the_store(
    patient: Service, alice: str, bob: str, carol: str, named: Callable[[str], str], figure: Figure
) -> None:
    (worker,) = patient.workers()
    eve = named("eve")
    async with Device(patient.url, bob) as phone, Api(patient.url, eve) as eves, Api(patient.url, alice) as api:
        async with watched(worker.pid, api, carol) as watch:
            for start in range(0, 5000, 100):
                sends = [
                    {"type": "send", "id": f"m{n}", "to": eve, "body": "x" * 1000} for n in range(start, start + 100)
                ]
                await phone.say(*sends)
            assert (await phone.answer("m4999"))["type"] == "accepted"
        assert (await eves.inbox(eve))["pending"] == 5000
    figure("flood of 5,000 sends of 1 kB", str(watch))
    assert watch.growth < 2 * BOUND  # a thousand messages, and the first of this worker


async def test_compression_is_not_taken_even_where_it_is_offered(service: Service, bob: str) -> None:
    raw = await Raw.open(service.url)
    head = await raw.handshake(bob, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
    assert b" 101 " in head
    assert b"extensions" not in head.lower()
    raw.write(frame(b"\xaa\x56\x2a\xa9\x2c\x48\x55\xb2\x52\xca\x48\xcd\xc9\xc9\x57\xaa\x05\x00", reserved=0x40))
    assert (1002).to_bytes(2) in await raw.end()
    await raw.abort()


async def test_thousands_of_requests_in_one_go_wait_as_bytes(
    service: Service, api: Api, carol: str, figure: Figure
) -> None:
    (worker,) = service.workers()
    get = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    raws = [await Raw.open(service.url) for _ in range(10)]
    async with watched(worker.pid, api, carol) as watch:
        for raw in raws:
            raw.write(get % b"/x" * 2000)
        raws[0].write(get % b"/healthz")
        assert b'{"status":"ok"}' in await raws[0].end(b'{"status":"ok"}'), "all are answered, in order"
    figure("10 times 2,000 requests in one go", str(watch))
    assert watch.growth < 20
    for raw in raws:
        await raw.abort()
