"""What the loads send: bodies of one size, and the frames and requests around them."""

import orjson

from scripts.bench.ws_frames import encode

BODY_BYTES = 200
WRAPPING = len(b'{"text":""}')
NUMBER = b"%08d"
"""Ids are numbers of one length, so that frames to one recipient differ in nothing else."""


def body(size: int = BODY_BYTES) -> bytes:
    """A compact JSON body of exactly `size` bytes."""
    return b'{"text":"%b"}' % (b"x" * (size - WRAPPING))


BODY = body()


def send_frame(message_id: bytes, to: bytes) -> bytes:
    """A WebSocket frame with one `send`."""
    return encode(b'{"type":"send","id":"%b","to":"%b","body":%b}' % (message_id, to, BODY))


class Sends:
    """Frames with one `send` each that differ in the id alone, as cheap to make as can be."""

    __slots__ = ("_head", "_tail")

    def __init__(self, to: bytes, word: bytes = b"to") -> None:
        """`word`: `to`, or `group`."""
        frame = encode(b'{"type":"send","id":"%b","%b":"%b","body":%b}' % (NUMBER % 0, word, to, BODY))
        self._head, self._tail = frame.split(NUMBER % 0, 1)

    def frame(self, number: int) -> bytes:
        return self._head + NUMBER % number + self._tail


def message(message_id: str, to: str) -> bytes:
    """One message as HTTP takes it."""
    return b'{"id":"%b","to":"%b","body":%b}' % (message_id.encode(), to.encode(), BODY)


def batch(messages: list[bytes]) -> bytes:
    """The body of `POST /v1/messages/batch`."""
    return b'{"messages":[' + b",".join(messages) + b"]}"


def batch_statuses(answer: bytes) -> list[int]:
    """The status of each message of a batch."""
    return [result["status"] for result in orjson.loads(answer)["results"]]
