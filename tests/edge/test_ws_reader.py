"""The reader of frames: whatever comes, in whatever pieces, it understands what the library's protocol understands."""

import random
from itertools import pairwise

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol, State

from service.edge.ws_reader import CLOSE, CONTINUATION, PING, PONG, TEXT, BrokenError, FrameReader, framed
from tests.hostile.raw import frame

MOST = 2000
Event = tuple[int, bytes]


def by_the_library(data: bytes) -> tuple[list[Event], int]:
    """Messages and controls, and the code with which it ends, or 0."""
    protocol = Protocol(SERVER, state=State.OPEN, max_size=MOST)
    protocol.receive_data(data)
    events, parts, kind = list[Event](), b"", 0
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode >= Opcode.CLOSE:
            events.append((event.opcode, bytes(event.data)))
            continue
        if event.opcode is not Opcode.CONT:
            parts, kind = b"", event.opcode
        parts += event.data
        if event.fin:
            if kind == Opcode.TEXT and not is_text(parts):
                return events, 1007
            events.append((kind, parts))
    failed = protocol.parser_exc is not None and protocol.close_sent is not None
    return events, protocol.close_sent.code if failed and protocol.close_sent is not None else 0


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def by_us(data: bytes, cuts: list[int]) -> tuple[list[Event], int]:
    reader, events = FrameReader(MOST), list[Event]()
    try:
        for begin, end in pairwise([0, *cuts, len(data)]):
            reader.feed(data[begin:end])
            while (event := reader.next()) is not None:
                if event[0] != CONTINUATION:
                    events.append(event)
                if event[0] == CLOSE:
                    return events, 0
    except BrokenError as error:
        return events, error.code
    return events, 0


PAYLOADS = (b"", b"{}", b"x" * 125, b"y" * 126, "h\u00e9\u20ac\U0001f600".encode(), b"\xff", b"\xe2\x82", b"z" * MOST)
ODD = (b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"\x10\xe1", b"\x03\xe8\xff", b"x" * 126, b" " * (MOST + 1))


def masked(data: bytes, dice: random.Random) -> bytes:
    """The same frame under another mask."""
    at = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    mask = dice.randbytes(4)
    return data[:at] + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data[at + 4 :]))


def anything(dice: random.Random) -> bytes:
    """Frames, most of them in order; the odd one breaks a rule."""
    made = []
    for _ in range(dice.randrange(1, 9)):
        rare = dice.random() < 0.05
        opcode = dice.choice((3, 7, 8, 8, 8, 11, 15)) if rare else dice.choice((0, 0, 1, 1, 1, 2, 9, 10))
        payload = dice.choice(ODD if rare or dice.random() < 0.03 else PAYLOADS)
        fin = dice.random() < (0.99 if opcode >= 8 else 0.6)
        reserved = dice.choice((0x10, 0x20, 0x40)) if dice.random() < 0.01 else 0
        one = masked(frame(payload, opcode, fin=fin, reserved=reserved), dice)
        made.append(bytes((one[0], one[1] & 0x7F)) + one[2:] if dice.random() < 0.01 else one)
    return b"".join(made)


@pytest.mark.parametrize("seed", range(20))
def test_what_it_understands_is_what_the_library_understands_however_it_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    ends = set()
    for _ in range(100):
        data = anything(dice)
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 1, 5, 50))))
        expected = by_the_library(data)
        assert by_us(data, cuts) == expected, data
        ends.add(expected[1])
    assert {0, 1002, 1007} <= ends, "each of them has come up"


def test_frames_come_one_by_one_though_their_bytes_come_one_by_one() -> None:
    reader = FrameReader(MOST)
    data = frame(b"a") + frame(b"b" * 300, fin=False) + frame(b"ping", PING) + frame(b"c", CONTINUATION)
    events = []
    for byte in data:
        reader.feed(bytes((byte,)))
        if (event := reader.next()) is not None:
            events.append(event)
    assert events == [(TEXT, b"a"), (CONTINUATION, b""), (PING, b"ping"), (TEXT, b"b" * 300 + b"c")]


def test_a_head_that_promises_too_much_is_refused_before_any_of_it_has_come() -> None:
    reader = FrameReader(MOST)
    reader.feed(b"\x81\xff" + b"\xff" * 8)
    with pytest.raises(BrokenError) as told:
        reader.next()
    assert told.value.code == 1009


@pytest.mark.parametrize("opcode", (TEXT, PING, PONG, CLOSE))
@pytest.mark.parametrize("size", (0, 2, 125, 126, 65_535, 65_536, 300_000))
def test_what_is_framed_is_what_the_library_would_send(opcode: int, size: int) -> None:
    if opcode == TEXT or size <= 125:
        assert framed(b"x" * size, opcode) == Frame(Opcode(opcode), b"x" * size).serialize(mask=False)


def test_a_client_understands_what_is_framed() -> None:
    protocol = Protocol(CLIENT, state=State.OPEN)
    protocol.receive_data(framed(b"one") + framed(b"two" * 50_000))
    assert [bytes(event.data) for event in protocol.events_received() if isinstance(event, Frame)] == [
        b"one",
        b"two" * 50_000,
    ]
