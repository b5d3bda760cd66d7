"""Frames of a WebSocket as a server reads and writes them (RFC 6455): bytes in, messages and control frames out. Pure.

A frame is taken apart when it is asked for. What is not wanted yet stays bytes.
"""

from websockets.exceptions import ProtocolError
from websockets.frames import Close

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the library has no wheel
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_DATA = frozenset((CONTINUATION, TEXT, BINARY))
_KNOWN = _DATA | {CLOSE, PING, PONG}
_FINAL, _RESERVED, _OPCODE, _MASKED, _SIZE = 0x80, 0x70, 0x0F, 0x80, 0x7F
MOST_CONTROL = 125
NOT_A_FRAME, NOT_TEXT, TOO_LARGE = 1002, 1007, 1009


class BrokenError(Exception):
    """A rule of the RFC is broken; `code` is that of the close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class FrameReader:
    """`most`: bytes of a message, however many frames it comes in."""

    __slots__ = ("_at", "_data", "_kind", "_most", "_parts")

    def __init__(self, most: int) -> None:
        self._most = most
        self._data: bytes | bytearray = b""
        self._at = 0  # so much of it has been taken apart
        self._kind = CONTINUATION  # of the message that has begun; this: none has
        self._parts: bytearray | None = None  # in one piece: thousands of small ones weigh no more than they hold

    def feed(self, data: bytes) -> None:
        """What has come. Costs no more than its own bytes, however small they are cut."""
        if not self._data:
            self._data = data
            return
        if isinstance(self._data, bytearray):
            del self._data[: self._at]
        else:
            self._data = bytearray(memoryview(self._data)[self._at :])
        self._at = 0
        self._data += data

    def next(self) -> tuple[int, bytes] | None:
        """(TEXT or BINARY, a message); (PING, PONG or CLOSE, its payload); (CONTINUATION, nothing) for a fragment that
        is not the last. None: more must come first. Raises BrokenError.
        """
        data, at = self._data, self._at
        there = len(data) - at
        if there < 2:
            return None
        first, size = data[at], data[at + 1]
        if not size & _MASKED or first & _OPCODE not in _KNOWN:
            raise BrokenError(NOT_A_FRAME, "no mask, or no opcode")
        size &= _SIZE
        begins = at + 6
        if size > MOST_CONTROL:
            width = 2 if size == 126 else 8
            begins += width
            if at + 2 + width > len(data):
                return None
            size = int.from_bytes(data[at + 2 : at + 2 + width])
        opcode = first & _OPCODE
        if size + (len(self._parts) if self._parts is not None else 0) > self._most:
            raise BrokenError(TOO_LARGE, "the message is too large")
        if opcode not in _DATA or first & _RESERVED:
            _check_head(first, size)
        ends = begins + size
        if ends > len(data):
            return None
        payload = apply_mask(data[begins:ends], data[begins - 4 : begins])
        if ends == len(data):
            self._data, self._at = b"", 0
        else:
            self._at = ends
        if first == _FINAL | TEXT and self._parts is None:  # nearly all are
            return TEXT, _text(payload)
        return self._data_frame(first, payload) if opcode in _DATA else self._control_frame(opcode, payload)

    def _data_frame(self, first: int, payload: bytes) -> tuple[int, bytes]:
        opcode, final = first & _OPCODE, first & _FINAL
        if (opcode == CONTINUATION) != (self._parts is not None):
            raise BrokenError(NOT_A_FRAME, "a fragment of nothing, or a message within another")
        if self._parts is None:
            if final:
                return opcode, payload
            self._kind, self._parts = opcode, bytearray(payload)
            return CONTINUATION, b""
        self._parts += payload
        if not final:
            return CONTINUATION, b""
        whole, self._parts = bytes(self._parts), None
        return self._kind, _text(whole) if self._kind == TEXT else whole

    def _control_frame(self, opcode: int, payload: bytes) -> tuple[int, bytes]:
        if opcode == CLOSE:
            try:
                Close.parse(payload)
            except ProtocolError as error:
                raise BrokenError(NOT_A_FRAME, str(error)) from None
            except UnicodeDecodeError:
                raise BrokenError(NOT_TEXT, "the reason is no text") from None
            if self._parts is not None:
                raise BrokenError(NOT_A_FRAME, "incomplete fragmented message")
        return opcode, payload


def _check_head(first: int, size: int) -> None:
    """Of whatever is no plain frame of data. Raises BrokenError."""
    if first & _RESERVED:
        raise BrokenError(NOT_A_FRAME, "reserved bits must be 0")
    if size > MOST_CONTROL or not first & _FINAL:
        raise BrokenError(NOT_A_FRAME, "a control frame is short and whole")


def _text(payload: bytes) -> bytes:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise BrokenError(NOT_TEXT, "the message is no text") from None
    return payload


def framed(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole frame, as a server sends it."""
    size = len(payload)
    if size <= MOST_CONTROL:
        return bytes((_FINAL | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FINAL | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((_FINAL | opcode, 127)) + size.to_bytes(8) + payload
