"""The socket by itself, on a transport that only notes: what waits, what is read no further, what the end is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from scripts.lab.timing import eventually_async
from service.edge.ws_protocol import FRAMES_A_TICK, QUEUED_FRAMES, Later, Socket
from service.edge.ws_reader import BINARY, CLOSE, PING, framed
from tests.hostile.raw import frame


class Wire(asyncio.Transport):
    """Notes what is written, and whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = self.closed = self.aborted = False
        self.unwritten = 0

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unwritten


class Listener:
    """Takes what it is told to take at once; all else waits until `go` is set."""

    def __init__(self) -> None:
        self.taken: list[bytes | None] = []
        self.goes = 0
        self.fails = False  # what waits, once it need not any more
        self.go = asyncio.Event()
        self.slow: Callable[[bytes | None], bool] = lambda text: text == b"slow"

    def greet(self) -> Later | None:
        return None

    def take(self, text: bytes | None) -> Later | None:
        if text == b"failing":
            raise RuntimeError("on purpose")
        self.taken.append(text)
        return self._wait() if self.slow(text) else None

    async def _wait(self) -> None:
        await self.go.wait()
        if self.fails:
            raise RuntimeError("on purpose")

    def left(self) -> None:
        self.goes += 1


class Rig:
    """A socket, its two sides and its server."""

    def __init__(self) -> None:
        self.wire, self.listener, self.server = Wire(), Listener(), ServerState()
        self.socket = Socket(self.wire, self.server, 1 << 20, None)

    def begin(self) -> "Rig":
        self.socket.begin(self.listener)
        return self

    def come(self, *texts: bytes) -> None:
        self.socket.data_received(b"".join(frame(text) for text in texts))


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def ticks(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_can_be_taken_at_once_needs_no_task(rig: Rig) -> None:
    rig.begin().come(b"a", b"b")
    assert rig.listener.taken == [b"a", b"b"]
    assert not rig.server.tasks


async def test_what_comes_behind_something_slow_waits_and_keeps_its_order(rig: Rig) -> None:
    rig.begin().come(b"a", b"slow", b"b")
    rig.come(b"slow", b"c")
    await ticks()
    assert rig.listener.taken == [b"a", b"slow"]
    rig.listener.go.set()
    await eventually_async(lambda: done(not rig.server.tasks), "the end of the work")
    assert rig.listener.taken == [b"a", b"slow", b"b", b"slow", b"c"]


async def test_what_comes_in_the_very_moment_the_work_ends_is_not_lost(rig: Rig) -> None:
    rig.begin().come(b"slow")
    await ticks()
    rig.listener.go.set()
    for number in range(10):  # one of them falls between the end of the task and the loop's telling of it
        rig.come(b"%d" % number)
        await asyncio.sleep(0)
    assert rig.listener.taken == [b"slow", *(b"%d" % number for number in range(10))]


async def test_behind_something_slow_a_few_frames_are_read_and_no_more(rig: Rig) -> None:
    rig.begin().come(b"slow", *[b"x"] * 20)
    await ticks()
    assert rig.wire.paused
    rig.socket.data_received(frame(b"ping", PING))
    assert len(rig.wire.written) == 0, "it stands behind those that are not read yet"
    rig.listener.go.set()
    await eventually_async(lambda: done(not rig.wire.paused), "it is read again")
    assert rig.listener.taken == [b"slow", *[b"x"] * 20]
    assert rig.wire.written == b"\x8a\x04ping"


async def test_a_close_behind_something_slow_is_noticed_and_told_once_that_is_done(rig: Rig) -> None:
    rig.begin().come(b"slow", *[b"x"] * (QUEUED_FRAMES - 1))
    rig.socket.data_received(frame(b"\x03\xe8", CLOSE))
    assert (rig.socket.gone, rig.wire.written) == (True, framed(b"\x03\xe8", CLOSE))
    await ticks()
    assert rig.listener.goes == 0
    rig.listener.go.set()
    await eventually_async(lambda: done(rig.listener.goes == 1), "the listener's leaving")
    assert len(rig.listener.taken) == QUEUED_FRAMES, "what came before the close counts"


async def test_many_frames_at_once_leave_the_others_their_turn(rig: Rig) -> None:
    rig.begin().come(*[b"x"] * (FRAMES_A_TICK * 2 + 1))
    assert (len(rig.listener.taken), rig.wire.paused) == (FRAMES_A_TICK, True)
    await ticks()
    assert (len(rig.listener.taken), rig.wire.paused) == (FRAMES_A_TICK * 2 + 1, False)


async def test_nothing_is_taken_before_somebody_talks(rig: Rig) -> None:
    rig.come(b"early")
    assert rig.wire.paused
    rig.begin()
    await ticks()
    assert (rig.listener.taken, rig.wire.paused) == ([b"early"], False)


async def test_a_binary_message_is_told_as_such(rig: Rig) -> None:
    rig.begin().socket.data_received(frame(b"x", BINARY))
    assert rig.listener.taken == [None]


async def test_after_our_own_close_nothing_is_taken_or_written_and_the_peer_has_time_to_answer(rig: Rig) -> None:
    rig.begin().socket.end(4509, "replaced")
    said = rig.wire.written
    rig.socket.write(b"more")
    rig.socket.end(1011, "again")
    rig.come(b"late")
    assert rig.wire.written == said == framed((4509).to_bytes(2) + b"replaced", CLOSE)
    assert (rig.listener.taken, rig.wire.closed) == ([], False)
    await ticks()
    assert rig.listener.goes == 1
    rig.socket.data_received(frame(b"\x11\x9d", CLOSE))
    assert rig.wire.closed
    rig.socket.connection_lost(None)
    await ticks()
    assert (rig.listener.goes, len(rig.server.connections)) == (1, 0)


async def test_a_peer_that_does_not_read_is_not_read(rig: Rig) -> None:
    rig.begin().socket.pause_writing()
    rig.come(b"a")
    assert (rig.socket.congested, rig.wire.paused, rig.listener.taken) == (True, False, [b"a"])
    rig.wire.unwritten = 2 << 20
    rig.come(b"b")
    assert (rig.socket.flooded, rig.wire.paused, rig.listener.taken) == (True, True, [b"a"])
    rig.wire.unwritten = 0
    rig.socket.resume_writing()
    assert (rig.socket.congested, rig.wire.paused, rig.listener.taken) == (False, False, [b"a", b"b"])


async def test_a_rest_ends_with_the_connection(rig: Rig) -> None:
    rig.begin()
    resting = asyncio.ensure_future(rig.socket.rest(3600))
    await ticks()
    rig.wire.abort()
    rig.socket.connection_lost(None)
    assert not await resting
    assert rig.listener.goes == 1


async def test_work_that_is_cancelled_ends_the_conversation(rig: Rig) -> None:
    rig.begin().come(b"slow", b"behind")
    await ticks()
    for task in list(rig.server.tasks):
        task.cancel()
    await eventually_async(lambda: done(rig.listener.goes == 1), "the listener's leaving")
    assert not rig.server.tasks


async def test_what_cannot_be_taken_is_logged_and_ends_the_connection(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.come(b"failing", b"behind")
    rig.begin()
    await eventually_async(lambda: done(rig.listener.goes == 1), "the listener's leaving")
    assert rig.wire.written == framed((1011).to_bytes(2) + b"internal", CLOSE)
    assert (rig.listener.taken, rig.wire.paused) == ([], False), "it is read up to the peer's close"
    assert "on purpose" in caplog.text


async def test_work_that_fails_is_logged_and_ends_the_connection(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.listener.fails = True
    rig.begin().come(b"slow", b"behind")
    rig.listener.go.set()
    await eventually_async(lambda: done(rig.listener.goes == 1), "the listener's leaving")
    assert rig.listener.taken == [b"slow"]
    assert rig.wire.written == framed((1011).to_bytes(2) + b"internal", CLOSE)
    assert "on purpose" in caplog.text


async def done(condition: bool) -> bool:
    return condition
