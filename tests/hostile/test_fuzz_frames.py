"""Frames of every shape: each ends as docs/protocol.md says, and a neighbour on the same worker notices nothing."""

import itertools
import json
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from scripts.lab.service import Service
from tests.hostile import page, shapes
from tests.hostile.conftest import Figure
from tests.hostile.page import CODES, Line
from tests.hostile.raw import watched
from tests.support.api import LEAKS, Api
from tests.support.arrivals import Frame
from tests.support.device import Device
from tests.support.wire import Wire

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a failure

PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # a failure may be a time-out: shrinking would take as many of them
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
LATER = {"id_reused"}
"""Codes that a send is answered with once the store was asked."""
MIB = 1 << 20
MOST_GROWTH = 40.0
"""MiB: three such frames, and what it takes to look at one of them."""

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    """One worker. Nobody gets entries but the neighbour, so that what an ack may name is known."""
    return serve(workers=1, own_copy="off", ping_interval="60s")


class Neighbour:
    """Somebody who sends to himself."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.count = 0

    async def is_served(self) -> None:
        self.count += 1
        answer = await self.device.send(f"m{self.count}", self.device.user, self.count)
        assert answer["type"] == "accepted"
        assert (await self.device.receive(self.count))[-1]["body"] == self.count
        await self.device.ack()


@pytest.fixture
async def neighbour(service: Service, bob: str) -> AsyncIterator[Neighbour]:
    async with Device(service.url, bob) as device:
        yield Neighbour(device)


def address(service: Service) -> str:
    """For a user whom nobody knows yet."""
    return f"{service.url.replace('http', 'ws')}/v1/ws?user=eve.{next(_numbers)}"


async def opened(service: Service) -> Wire:
    wire = await Wire.open(address(service))
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("live")
    return wire


async def say(wire: Wire, payload: bytes, pieces: int = 1) -> None:
    """One text frame, in so many fragments."""
    if pieces == 1:
        await wire.send_text(payload)
        return
    size = max(1, len(payload) // pieces)
    fragments = [payload[at : at + size] for at in range(0, len(payload), size)]
    await wire.connection.send(fragments or [b"", b""], text=True)


async def all_read(wire: Wire) -> None:
    await wire.send({"type": "ping", "ref": "the end"})
    await wire.next("pong", ref="the end")


def check_error(error: Frame, told: Line) -> None:
    assert error["code"] in told.codes, (error, told)
    assert error["retryable"] == CODES[error["code"]][1]
    assert told.id is None or told.fatal or error["id"] == told.id, (error, told)
    assert told.ref is None or told.fatal or error["ref"] == told.ref, (error, told)
    assert not LEAKS.search(error["message"]), error
    assert len(json.dumps(error)) < 2000, "an error is no echo"


async def check_end(wire: Wire, payload: bytes, told: list[Line]) -> None:
    """The end that the page names, if any; whatever was said before it counts."""
    if page.lines(payload) is None:
        assert await wire.ended() == 1007
        return
    if not told[-1].fatal:
        await all_read(wire)
        return
    assert await wire.ended() == 4500
    assert wire.close_reason == wire.of("error")[-1]["code"]


async def check_answers(wire: Wire, told: list[Line]) -> None:
    errors = [error for error in wire.of("error") if error["code"] not in LATER]
    faults = [line for line in told if line.codes]
    assert len(errors) == len(faults), (errors, faults)
    for error, line in zip(errors, faults, strict=True):
        check_error(error, line)
    for kind in ("history", "authed"):
        assert len(wire.of(kind)) == sum(line.answer == kind for line in told)
    sent = [line.id for line in told if line.answer == "accepted"]

    def answered() -> bool:
        later = [error for error in wire.of("error") if error["code"] in LATER]
        return sorted(frame["id"] for frame in [*wire.of("accepted"), *later]) == sorted(map(str, sent))

    if wire.is_open:
        await wire.until(answered, f"answers to {sent}")


@settings(PROFILE, max_examples=400)
@given(payload=shapes.PAYLOAD, pieces=st.sampled_from((1, 1, 2, 5)))
async def test_whatever_a_frame_holds_is_answered_as_the_page_says(
    service: Service, neighbour: Neighbour, payload: bytes, pieces: int
) -> None:
    note(repr(payload))
    wire = await opened(service)
    told = page.judged(payload) if page.lines(payload) is not None else []
    await say(wire, payload, pieces)
    await check_end(wire, payload, told)
    if told:
        await check_answers(wire, told)
    await wire.abort()
    await neighbour.is_served()


@settings(PROFILE, max_examples=150)
@given(payload=shapes.line_of(shapes.HELLO, shapes.text_of(shapes.PROPER)))
async def test_whatever_comes_first_is_a_hello_or_the_end(
    service: Service, neighbour: Neighbour, payload: bytes
) -> None:
    note(repr(payload))
    wire = await Wire.open(address(service))
    await wire.send_text(payload)
    lines = page.lines(payload)
    told = [page.first(lines[0]) if lines else Line(frozenset({"malformed_json"}), fatal=True)]
    if lines and len(lines) > 1 and not told[0].fatal:
        told += page.judged("\n".join(lines[1:]).encode())
    await check_end(wire, payload, told)
    if told[0].fatal and lines is not None:
        (error,) = wire.of("error")
        check_error(error, told[0])
    await wire.abort()
    await neighbour.is_served()


# What no generator is patient enough for.

BIG = {
    "arrays that never end": (b"[" * (MIB - 10), {"malformed_json", "invalid_field"}),
    "arrays, all of them closed": (b"[" * 500_000 + b"]" * 500_000, {"malformed_json", "invalid_field"}),
    "objects within objects": (b'{"a":' * 170_000 + b"1" + b"}" * 170_000, {"invalid_field"}),
    "a body of arrays": (
        b'{"type":"send","id":"m","to":"sink","body":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
        {"invalid_field"},
    ),
    "a body of a thousand arrays": (
        b'{"type":"send","id":"m","to":"sink","body":' + b"[" * 1000 + b"]" * 1000 + b"}",
        {"invalid_field"},
    ),
    "a field with a name without end": (b'{"type":"ping","' + b"u" * 900_000 + b'":1}', {"invalid_field"}),
    "a type without end": (b'{"type":"' + b"u" * 900_000 + b'"}', {"unknown_type"}),
    "an id without end": (b'{"type":"send","id":"' + b"u" * 900_000 + b'","to":"sink","body":1}', {"invalid_field"}),
    "a ref without end": (b'{"type":"ping","ref":"' + b"u" * 900_000 + b'"}', {"invalid_field"}),
    "a number without end": (b'{"type":"ping","ref":' + b"9" * 900_000 + b"}", {"invalid_field"}),
    "a fraction without end": (b'{"type":"ping","ref":0.' + b"9" * 900_000 + b"}", {"invalid_field"}),
    "recipients without end": (
        b'{"type":"send","id":"m","to":[' + b",".join([b'"sink"'] * 100_000) + b'],"body":1}',
        {"invalid_field"},
    ),
    "recipients that are none": (
        b'{"type":"send","id":"m","to":[' + b",".join([b"1"] * 500_000) + b'],"body":1}',
        {"invalid_field"},
    ),
    "the same key over and over": (b'{"type":"x"' + b',"a":1' * 150_000 + b"}", {"unknown_type"}),
    "many unknown fields": (
        b'{"type":"ping"' + b"".join(b',"%d":1' % n for n in range(80_000)) + b"}",
        {"invalid_field"},
    ),
    "blanks": (b" " * (MIB - 1), {"malformed_json"}),
}


@pytest.mark.parametrize("name", BIG)
async def test_a_frame_as_large_as_may_be_is_answered_in_few_words(
    service: Service, neighbour: Neighbour, alice: str, carol: str, figure: Figure, name: str
) -> None:
    payload, codes = BIG[name]
    (worker,) = service.workers()
    wire = await opened(service)
    async with Api(service.url, alice) as api, watched(worker.pid, api, carol) as watch:
        for _ in range(3):
            if wire.is_open:
                await wire.send_text(payload)
        error = await wire.next("error")
        await neighbour.is_served()
    figure(f"{len(payload) / MIB:.1f} MiB of {name}", str(watch))
    check_error(error, Line(frozenset(codes)))
    if error["code"] == "malformed_json":
        assert await wire.ended() == 4500
    else:
        await all_read(wire)
    assert watch.growth < MOST_GROWTH
    await wire.abort()


async def test_tens_of_thousands_of_lines_are_answered_one_by_one(service: Service, neighbour: Neighbour) -> None:
    wire = await opened(service)
    lines = [json.dumps({"type": "ping", "ref": str(n)}) for n in range(20_000)]
    lines[10_000] = '{"type":"nothing"}'
    await wire.send_text("\n\n".join(lines))
    await neighbour.is_served()
    await wire.next("pong", ref="19999")
    assert [pong["ref"] for pong in wire.of("pong")] == [str(n) for n in range(20_000) if n != 10_000]
    assert [error["code"] for error in wire.of("error")] == ["unknown_type"]
    await wire.abort()


@pytest.mark.parametrize("first", (True, False))
async def test_a_binary_frame_is_the_end_whatever_it_holds(service: Service, neighbour: Neighbour, first: bool) -> None:
    wire = await Wire.open(address(service)) if first else await opened(service)
    await wire.send_binary(b'{"type":"hello","device":"phone"}')
    assert await wire.ended() == 4500
    assert [error["code"] for error in wire.of("error")] == ["malformed_json"]
    await neighbour.is_served()
