"""Bytes that are no proper WebSocket frames, and the older protocol's socket: each ends with a documented close."""

import asyncio
import contextlib
import itertools
import json
import struct
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.hostile import page, shapes
from tests.hostile.raw import CONTINUATION, PING, Raw, frame
from tests.support.device import Device
from tests.support.legacy import LegacyClient, old_frame
from tests.support.wire import Wire

PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a failure

BINARY, CLOSE = 2, 8
HELLO = b'{"type":"hello","device":"phone"}'
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, ping_interval="60s", hello_timeout="60s")


@pytest.fixture
async def neighbour(service: Service, bob: str) -> AsyncIterator[Device]:
    async with Device(service.url, bob) as device:
        yield device


async def is_served(neighbour: Device) -> None:
    number = f"m{next(_numbers)}"
    assert (await neighbour.send(number, neighbour.user, number))["type"] == "accepted"
    await neighbour.wire.next("message", id=number)
    await neighbour.ack()


async def after(service: Service, data: bytes, *, hello: bool = True, hang_up: bool = False) -> int:
    """The code of the close that comes for `data`; 1006 where the connection ended without one, 0 where it did not
    end before we hung up.
    """
    raw = await Raw.open(service.url)
    user = f"eve.{next(_numbers)}"
    if hello:
        await raw.hello(user)
        await raw.reader.readuntil(b"}")  # the rest of that frame
    else:
        await raw.handshake(user)
    raw.write(data)
    if hang_up:
        with contextlib.suppress(OSError):  # it was quicker
            raw.writer.write_eof()
    came, code = b"", None
    async with asyncio.timeout(PATIENCE):
        while code is None and (more := await part(raw)):
            came += more
            code = closed(came)
    await raw.abort()
    return code if code is not None else 0 if hang_up else 1006


async def part(raw: Raw) -> bytes:
    try:
        return await raw.reader.read(65536)
    except ConnectionError:  # we hung up, and the service had more to say
        return b""


def closed(came: bytes) -> int | None:
    """The code of the close frame among what a service sent; which has no other frames behind it."""
    at = 0
    while at + 2 <= len(came):
        opcode, size, at = came[at] & 15, came[at + 1], at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(came[at : at + width]), at + width
        if opcode == CLOSE and at + size <= len(came):
            assert at + size == len(came), "the close is the last word"
            return int(struct.unpack("!H", came[at : at + 2])[0])
        at += size
    return None


def unmasked(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)


BROKEN = {
    "no mask": (unmasked(HELLO), 1002),
    "a reserved bit": (frame(HELLO, reserved=0x40), 1002),
    "another reserved bit": (frame(HELLO, reserved=0x10), 1002),
    "a reserved opcode": (frame(HELLO, 3), 1002),
    "a reserved opcode of control": (frame(b"", 11), 1002),
    "a continuation of nothing": (frame(b"x", CONTINUATION), 1002),
    "a frame within fragments": (frame(b"{", fin=False) + frame(HELLO), 1002),
    "a ping in fragments": (frame(b"x", PING, fin=False), 1002),
    "a ping too long": (frame(b"x" * 126, PING), 1002),
    "a close of one byte": (frame(b"\x03", CLOSE), 1002),
    "a close with a code that is none": (close(999), 1002),
    "a close with a code that is never sent": (close(1006), 1002),
    "a close with a reason that is no text": (close(1000, b"\xff"), 1007),
    "a text that is none": (frame(b"\xff"), 1007),
    "a text that is none, cut within a character": (frame(b"\xf0\x9f", fin=False) + frame(b"x", CONTINUATION), 1007),
    "a text that ends within a character": (frame(b"\xf0\x9f", fin=False) + frame(b"", CONTINUATION), 1007),
    "a surrogate": (frame(b'"\xed\xa0\x80"'), 1007),
    "a length of eight bytes": (b"\x81\xff" + (1 << 40).to_bytes(8) + bytes(4), 1009),
    "a length beyond all": (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1009),
    "a frame one byte too large": (frame(b" " * ((1 << 20) + 1)), 1009),
    "fragments that are too large together": (
        frame(b" " * (1 << 20), fin=False) + frame(b" ", CONTINUATION),
        1009,
    ),
    "an empty frame": (frame(b""), 4500),
    "an empty binary frame": (frame(b"", BINARY), 4500),
    "a mask that is not zero, over what is none": (b"\x81\x84\x01\x02\x03\x04\xff\xff\xff\xff", 1007),
}


@pytest.mark.parametrize("hello", (True, False), ids=("live", "before_hello"))
@pytest.mark.parametrize("name", BROKEN)
async def test_what_breaks_a_rule_of_websockets_is_closed_with_its_code(
    service: Service, neighbour: Device, name: str, hello: bool
) -> None:
    data, code = BROKEN[name]
    assert await after(service, data, hello=hello) == code
    await is_served(neighbour)


@pytest.mark.parametrize("code", (1000, 1001, 3000, 4999))
async def test_a_proper_close_is_answered_with_the_same_code(service: Service, neighbour: Device, code: int) -> None:
    assert await after(service, close(code, b"bye") + frame(HELLO) * 10) == code
    await is_served(neighbour)


async def test_what_comes_behind_a_close_is_not_looked_at(service: Service, neighbour: Device, carol: str) -> None:
    send = json.dumps({"type": "send", "id": "m", "to": carol, "body": 1}).encode()
    assert await after(service, frame(b"nonsense") + frame(send)) == 4500
    assert await after(service, close(1000) + frame(send)) == 1000
    await is_served(neighbour)
    assert (await Device(service.url, carol).connect())["head"] == "0-0"


header = st.tuples(
    st.booleans(),
    st.sampled_from((0, 1, 1, 1, 2, 8, 9, 10, 3, 15)),
    st.sampled_from((0, 0, 0, 0, 0x40, 0x20)),
    st.one_of(st.just(HELLO), shapes.LINE, st.binary(max_size=130)),
)
stream = st.one_of(
    st.lists(header, max_size=6).map(
        lambda parts: b"".join(frame(data, opcode, fin=fin, reserved=bits) for fin, opcode, bits, data in parts)
    ),
    st.binary(max_size=64),
)


@settings(PROFILE, max_examples=250)
@given(data=stream, hello=st.booleans())
async def test_bytes_of_any_kind_are_closed_with_a_documented_code(
    service: Service, neighbour: Device, data: bytes, hello: bool
) -> None:
    note(repr(data))
    code = await after(service, data, hello=hello, hang_up=True)
    ours = 1000 <= code < 5000 and struct.pack("!H", code) in data  # a close of the client's own is answered with it
    assert code == 0 or ours or code in (page.CLOSES - {1011, 1012, 1013}) or code == 1005
    await is_served(neighbour)


# The older protocol


OLD = shapes.shape(
    "private_message", {"recipient": shapes.name, "msg": st.one_of(shapes.ref, st.just("\ud800"), st.just("x" * 70))}
)


@settings(PROFILE, max_examples=150)
@given(data=shapes.line_of(OLD, shapes.LINE, shapes.PAYLOAD))
async def test_whatever_an_older_client_says_is_sent_or_it_is_told_why_not(
    service: Service, neighbour: Device, data: bytes
) -> None:
    note(repr(data))
    async with LegacyClient(service.url, f"eve.{next(_numbers)}") as client:
        await client.wire.send_text(data)
        if page.lines(data) is None:
            assert await client.wire.ended() == 1007
            return
        await client.say(client.user, "the end")
        told = [await client.message()]
        assert told == [old_frame(client.user, "the end", client.user)]
        refused = [frame["msg"] for frame in client.wire.of("system")[1:]]
        assert len(refused) == (0 if fits(data) else 1), refused
        assert all(text.startswith("not sent: ") and len(text) < 2000 for text in refused)
    await is_served(neighbour)


def fits(data: bytes) -> bool:
    try:
        value, readable = page.parsed(data.decode())
    except page.MalformedError:
        return False
    return (
        readable
        and isinstance(value, dict)
        and set(value) == {"type", "recipient", "msg"}
        and value["type"] == "private_message"
        and page.is_name(value["recipient"])
        and isinstance(value["msg"], str)
    )


async def test_a_binary_frame_ends_an_older_clients_socket(service: Service, neighbour: Device) -> None:
    async with LegacyClient(service.url, f"eve.{next(_numbers)}") as client:
        await client.wire.send_binary(b"{}")
        assert await client.wire.ended() == 4500
    await is_served(neighbour)


@pytest.mark.parametrize("name", ("", "é", "a/b", "x" * 129, "a%00b", "%ff", "bob}"))
async def test_an_older_client_needs_a_proper_name(service: Service, name: str) -> None:
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/api/chat/connect_chat?user_code={name}")
    assert await wire.ended() == 4501
