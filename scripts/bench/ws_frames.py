"""WebSocket frames (RFC 6455) as a client needs them: masked out, unmasked in, no extensions."""

import functools
from typing import NamedTuple

CONTINUATION, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA
FIN = 0x80
MASKED = 0x80
OPCODE = 0x0F
SHORT, LENGTH_16, LENGTH_64 = 125, 126, 127
MAX_16 = 0xFFFF
HEAD, HEAD_16, HEAD_64 = 2, 4, 10

# A mask of zeros is legal and leaves the payload as it is. The server unmasks all the same, so it costs
# the load generator less and the service nothing.
ZERO_KEY = bytes(4)


class Frame(NamedTuple):
    opcode: int
    payload: bytes


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload XOR the key, repeated; its own inverse."""
    if key == ZERO_KEY:
        return payload
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def encode(payload: bytes, opcode: int = TEXT, key: bytes = ZERO_KEY) -> bytes:
    """One whole frame from a client."""
    return _head(len(payload), opcode) + key + masked(payload, key)


@functools.lru_cache(1024)  # almost all that a load sends is of a few sizes
def _head(size: int, opcode: int) -> bytes:
    if size <= SHORT:
        return bytes((FIN | opcode, MASKED | size))
    if size <= MAX_16:
        return bytes((FIN | opcode, MASKED | LENGTH_16)) + size.to_bytes(2, "big")
    return bytes((FIN | opcode, MASKED | LENGTH_64)) + size.to_bytes(8, "big")


class Decoder:
    """Bytes in, whole frames out; joins fragments and keeps what is not complete yet."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0  # bytes of `_rest`
        self._wanted = 0  # bytes before another look at them is of use
        self._opcode = CONTINUATION
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. ValueError for a masked frame, which no server may send."""
        if self._rest:
            self._rest.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []  # a long frame is joined once, when it is whole
            data = b"".join(self._rest)
            self._rest.clear()
        frames: list[Frame] = []
        at = 0
        while True:
            span = _payload_span(data, at)
            if span is None or span[1] > len(data):
                break
            self._take(data[at], data[span[0] : span[1]], frames)
            at = span[1]
        if at < len(data):
            self._rest.append(data[at:])
            self._size = len(data) - at
            self._wanted = span[1] - at if span else 0
        return frames

    def _take(self, head: int, payload: bytes, frames: list[Frame]) -> None:
        opcode = head & OPCODE
        if opcode >= CLOSE or (head & FIN and opcode != CONTINUATION):
            frames.append(Frame(opcode, payload))
            return
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._parts.append(payload)
        if head & FIN:
            frames.append(Frame(self._opcode, b"".join(self._parts)))
            self._parts.clear()


def _payload_span(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` starts and ends; None while its head is incomplete."""
    have = len(data) - at
    if have < HEAD:
        return None
    size = data[at + 1]
    if size <= SHORT:
        return at + HEAD, at + HEAD + size
    if size & MASKED:
        raise ValueError("the server sent a masked frame")
    head = HEAD_16 if size == LENGTH_16 else HEAD_64
    if have < head:
        return None
    start = at + head
    return start, start + int.from_bytes(data[at + HEAD : start], "big")
