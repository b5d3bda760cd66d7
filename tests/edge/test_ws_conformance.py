"""Frames of a socket as RFC 6455 has them, cut anywhere: a service says what the library's own protocol would say.

Whatever is random is seeded. What is broken, frame by frame, stands in `tests/hostile/test_broken_frames.py`.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol, State

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.hostile.raw import Raw

MOST = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It pings nobody: a client that answers late, because it cuts everything to bytes, is not to be missed."""
    service = Service(tmp_path_factory.mktemp("patient"), ping_interval="60s")
    try:
        service.start()
        yield service
    finally:
        service.close()


def wire(payload: bytes, opcode: int, dice: random.Random, *, fin: bool = True, reserved: int = 0) -> bytes:
    """A masked frame; its length is sometimes written longer than need be, which nobody minds."""
    size, mask = len(payload), dice.randbytes(4)
    widths = [width for width, most in ((0, 125), (2, 65_535), (8, 1 << 40)) if size <= most]
    width = dice.choice(widths) if dice.random() < 0.2 else widths[0]
    marker = {0: size, 2: 126, 8: 127}[width]
    head = bytes(((0x80 if fin else 0) | reserved | opcode, 0x80 | marker)) + (size.to_bytes(width) if width else b"")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def aside(dice: random.Random) -> bytes:
    """A control frame, or nothing: it may stand between the fragments of a message."""
    kind = dice.choice((None, None, Opcode.PING, Opcode.PONG))
    return b"" if kind is None else wire(dice.randbytes(dice.choice((0, 5, 125))), kind, dice)


def message(text: bytes, dice: random.Random) -> bytes:
    """In one frame or several, cut anywhere: within a character, too; some of them are empty."""
    cuts = sorted(dice.randrange(len(text) + 1) for _ in range(dice.choice((0, 0, 1, 2, 5))))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return b"".join(
        wire(part, Opcode.CONT if at else Opcode.TEXT, dice, fin=at == len(cuts)) + aside(dice)
        for at, part in enumerate(parts)
    )


def ends(dice: random.Random) -> list[bytes]:
    """What ends a connection, broken or in order."""
    return [
        wire(Close(1000, "bye").serialize(), Opcode.CLOSE, dice),
        wire(b"", Opcode.CLOSE, dice),
        wire(Close(4321, "é").serialize(), Opcode.CLOSE, dice),
        wire(b"\x03", Opcode.CLOSE, dice),
        wire((1005).to_bytes(2), Opcode.CLOSE, dice),
        wire((1000).to_bytes(2) + b"\xff", Opcode.CLOSE, dice),
        wire(b"{", Opcode.TEXT, dice, fin=False) + wire(Close(1000, "").serialize(), Opcode.CLOSE, dice),
        wire(b"{", Opcode.TEXT, dice, fin=False) + wire(b"{}", Opcode.TEXT, dice),
        wire(b"x", Opcode.CONT, dice),
        wire(b"x", Opcode.PING, dice, fin=False),
        wire(b"x" * 126, Opcode.PING, dice),
        wire(b"{}", dice.choice((3, 7, 11, 15)), dice),
        wire(b"{}", Opcode.TEXT, dice, reserved=dice.choice((0x10, 0x20, 0x40))),
        bytes((0x81, 2)) + b"{}",
        b"\x81\xff" + (MOST + 1).to_bytes(8) + bytes(4),
    ]


@dataclass
class Said:
    """What one side has understood of the other. `code`: of a close, 0 while there is none."""

    refs: list[str] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    code: int = 0


def understood(data: bytes) -> Said:
    """By the library, as a server that answers as ours does."""
    protocol = Protocol(SERVER, state=State.OPEN, max_size=MOST)
    protocol.receive_data(data)
    said, parts = Said(), list[bytes]()
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.CONT):
            parts = [*(parts if event.opcode is Opcode.CONT else ()), bytes(event.data)]
            if event.fin:
                said.refs.append(json.loads(b"".join(parts))["ref"])
        elif event.opcode is Opcode.PING:
            said.pings.append(bytes(event.data))
    if protocol.close_sent is not None:
        said.code = protocol.close_sent.code
    return said


async def answered(raw: Raw, last: str | None) -> Said:
    """What the service says until it closes, or has answered `last`."""
    protocol, said = Protocol(CLIENT, state=State.OPEN), Said()
    async with asyncio.timeout(PATIENCE):
        while not said.code and (last is None or last not in said.refs):
            data = await raw.reader.read(65_536)
            if not data:
                said.code = 1006
                break
            protocol.receive_data(data)
            for event in protocol.events_received():
                assert isinstance(event, Frame)
                if event.opcode is Opcode.TEXT:
                    lines = [json.loads(line) for line in bytes(event.data).split(b"\n")]
                    said.refs += [line["ref"] for line in lines if line["type"] == "pong"]
                elif event.opcode is Opcode.PONG:
                    said.pongs.append(bytes(event.data))
            if protocol.close_rcvd is not None:
                said.code = protocol.close_rcvd.code
    return said


async def opened(service: Service, name: str) -> Raw:
    raw = await Raw.open(service.url)
    await raw.hello(name)
    await raw.reader.readuntil(b"}")
    return raw


async def in_pieces(raw: Raw, data: bytes, dice: random.Random) -> None:
    most = dice.choice((1, 3, 50, len(data)))
    at = 0
    while at < len(data):
        step = dice.randint(1, most)
        raw.write(data[at : at + step])
        at += step
        await asyncio.sleep(0)


def pings(dice: random.Random) -> list[bytes]:
    refs = [
        dice.choice(("r", "h\u00e9", "\u20ac" * 20, "\U0001f600" * 5, "x" * 100)) for _ in range(dice.randrange(1, 9))
    ]
    return [json.dumps({"type": "ping", "ref": f"{n}{ref}"}, ensure_ascii=False).encode() for n, ref in enumerate(refs)]


@pytest.mark.parametrize("seed", range(20))
async def test_messages_however_they_are_cut_are_understood_and_control_frames_between_them_answered(
    service: Service, alice: str, seed: int
) -> None:
    dice = random.Random(seed)
    last = b'{"type":"ping","ref":"the end"}'
    data = b"".join(message(text, dice) + aside(dice) for text in [*pings(dice), last])
    expected = understood(data)
    assert expected.code == 0, "nothing of it is broken"
    raw = await opened(service, alice)
    await in_pieces(raw, data, dice)
    said = await answered(raw, "the end")
    assert (said.refs, said.code) == (expected.refs, 0)
    assert said.pongs == expected.pings[: len(said.pongs)], "in order, none made up"
    assert len(expected.pings) - len(said.pongs) <= 3, "those behind the last message may still be on their way"
    await raw.abort()


@pytest.mark.parametrize("number", range(15))
async def test_the_end_has_the_code_that_it_should_have_whatever_came_before(
    service: Service, alice: str, number: int
) -> None:
    dice = random.Random(1000 + number)
    before = b"".join(message(text, dice) for text in pings(dice))
    data = before + ends(dice)[number] + message(b'{"type":"ping","ref":"too late"}', dice)
    expected = understood(data)
    raw = await opened(service, alice)
    await in_pieces(raw, data, dice)
    said = await answered(raw, None)
    assert said.code == expected.code
    assert said.refs == expected.refs[: len(said.refs)]
    assert said.pongs == expected.pings[: len(said.pongs)]
    await raw.abort()
