"""An open WebSocket: frames in and out, without ASGI and without a task of its own.

Frames go straight to whoever talks here and are written without a coroutine each; only what has to wait becomes a
task, and what comes meanwhile waits behind it. The keep-alive closes with our codes and aborts a peer that stopped
reading, pings can be asked for, and a shutdown leaves the goodbye to the worker. What comes is taken apart only as fast
as whoever talks and the peer itself keep up: no flood fills the memory or keeps the others waiting.

How it came to be open: `ws_opening.py`. The frames themselves: `ws_reader.py`.
"""

import asyncio
import logging
import random
import socket
from asyncio.transports import BaseTransport
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from uvicorn.server import ServerState

from service.edge.ws_reader import CLOSE, CONTINUATION, PING, PONG, TEXT, BrokenError, FrameReader, framed

log = logging.getLogger("inboxd.socket")

HEARTBEAT_MISSED = 4001
LAST_LOOK = 0.05
"""Seconds in which what lies there is read before somebody is given up: this process may have stood still meanwhile."""
QUEUED_FRAMES = 4
"""Frames that may wait behind one that is being handled before the socket is read no further."""
FRAMES_A_TICK = 64
"""Frames after which the other connections have their turn."""
MOST_UNWRITTEN = 2 << 20
"""Bytes that wait for the peer to read them; beyond, it is not read either. More than a full window."""
GOODBYE = 2.0
"""Seconds a peer has to answer a close before it is aborted."""

Later = Coroutine[Any, Any, None]


class Talker(Protocol):
    """Whoever talks over a socket. No call raises, nor does what it returns: where one does, the socket ends (1011)."""

    def greet(self) -> Later | None:
        """The first call. As of `take`, what it returns is run."""

    def take(self, text: bytes | None) -> Later | None:
        """One message; None: a binary one. What cannot be done at once is returned: it is run, and the next message
        waits for it.
        """

    def left(self) -> None:
        """The last call, once: nothing comes any more, and nothing can be said."""


class Socket(asyncio.Protocol):
    """`write`, `ask` and `end` may be called from the beginning; `begin` says whom the frames are for."""

    __slots__ = (
        *("_asked", "_busy", "_close_timer", "_closing", "_count", "_left", "_lost", "_over", "_paused", "_pinged"),
        *("_reader", "_resting", "_server", "_silence", "_soon", "_taken", "_talker", "_timer", "_waiting"),
        *("_writable", "loop", "transport"),
    )

    def __init__(self, transport: asyncio.Transport, server: ServerState, most: int, silence: float | None) -> None:
        """`most`: bytes of a message. `silence`: seconds between two pings, and for an answer to one."""
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self._server = server
        self._reader = FrameReader(most)
        self._talker: Talker | None = None
        self._busy: asyncio.Task[None] | None = None
        self._waiting: deque[bytes | None] | None = None  # messages behind what is being done
        self._taken = 0  # frames in this tick
        self._paused = False
        self._soon = False
        self._closing = False  # a close was sent: nothing else is
        self._over = False  # nothing that comes matters any more
        self._lost = False
        self._left = False
        self._close_timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Event | None = None  # while the peer reads slower than it is written to
        self._resting: asyncio.Future[None] | None = None
        self._asked: dict[bytes, Callable[[], None]] | None = None
        self._count = 0
        self._silence = silence
        self._pinged: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the next ping, or of the answer to the last
        if silence:
            self._timer = self.loop.call_later(silence, self._ping)
        server.connections.add(self)  # type: ignore[arg-type]  # all that is asked of them is `shutdown`

    # For whoever talks.

    def begin(self, talker: Talker) -> None:
        self._talker = talker
        self._do(talker.greet())
        if self._over:
            self.loop.call_soon(self._leave)
        elif self._paused:
            self._digest_soon()

    def write(self, text: bytes) -> None:
        """One text frame. Never blocks; the caller bounds what is in flight."""
        if self._open():
            self.transport.write(framed(text))

    def ask(self, answered: Callable[[], None]) -> None:
        """Pings the peer; `answered` is called when everything written before has been read."""
        if not self._open():
            return
        self._count += 1
        payload = b"a%d" % self._count
        self._asked = self._asked or {}
        self._asked[payload] = answered
        self.transport.write(framed(payload, PING))

    def end(self, code: int, reason: str) -> None:
        """Sends a close; whoever talks has left soon after."""
        if self._closing:
            return
        if self._open():
            self._say_goodbye(code, reason)
            self._close_timer = self.loop.call_later(GOODBYE, self.transport.abort)
            if self._paused:
                self._digest_soon()  # up to the peer's own close
        self._finish()

    def _say_goodbye(self, code: int, reason: str) -> None:
        self.transport.write(framed(code.to_bytes(2) + reason.encode(), CLOSE))
        self._closing = True

    def _open(self) -> bool:
        return not (self._closing or self.transport.is_closing())

    @property
    def gone(self) -> bool:
        """The connection is lost, or about to be."""
        return self._lost or self.transport.is_closing()

    @property
    def congested(self) -> bool:
        """The peer reads slower than it is written to."""
        return self._writable is not None

    @property
    def flooded(self) -> bool:
        """More is unwritten than a full window."""
        return self.transport.get_write_buffer_size() >= MOST_UNWRITTEN

    async def drained(self) -> None:
        """Returns when the peer has read enough, or is gone."""
        if self._writable is not None:
            await self._writable.wait()

    async def rest(self, seconds: float) -> bool:
        """Returns after that time, or, False, when the connection ends. No message is taken meanwhile."""
        if not self._open():
            return False
        self._resting = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self._resting
        finally:
            timer.cancel()
            self._resting = None
        return self._open()

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    # The end.

    def _finish(self) -> None:
        """Whoever talks leaves soon: it may be within a call of theirs that this is noticed."""
        if not self._over:
            self._over = True
            self._wake()
            self.loop.call_soon(self._leave)

    def _leave(self) -> None:
        if self._busy is None and self._talker is not None and not self._left:
            self._left = True
            self._talker.left()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._asked = None
        for timer in (self._timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self.resume_writing()
        self._server.connections.discard(self)
        self._finish()

    def shutdown(self) -> None:
        """Called by uvicorn, long after the worker has said goodbye."""
        if self._closing:
            self.transport.close()
        else:
            self.end(1012, "the worker is restarting")

    # What comes.

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._taken = 0
        self._digest()

    def _digest(self) -> None:
        """Takes apart what has come, as far as it is wanted now; reads on when that is all."""
        more: tuple[int, bytes] | None = (CONTINUATION, b"")
        try:
            while self._wanted():
                if self._taken >= FRAMES_A_TICK:
                    self._digest_soon()
                    break
                if (more := self._reader.next()) is None:
                    break
                self._taken += 1
                self._handle(*more)
        except BrokenError as error:
            self._fail(error.code, error.reason)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._break(error)
        self._pause(more is not None)

    def _pause(self, paused: bool) -> None:
        if paused != self._paused and not self.transport.is_closing():
            self._paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _digest_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self.loop.call_soon(self._digest_on)

    def _digest_on(self) -> None:
        self._soon = False
        self._taken = 0
        if self._paused:
            self._digest()

    def _wanted(self) -> bool:
        """A few frames are read ahead, or a close behind one would go unnoticed while it is being handled."""
        if self._over:
            return not self.transport.is_closing()
        if self._talker is None or (self._waiting is not None and len(self._waiting) >= QUEUED_FRAMES):
            return False
        return self._writable is None or self.transport.get_write_buffer_size() < MOST_UNWRITTEN

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == PONG:
            self._pong(payload)
        elif opcode == CLOSE:
            self._closed(payload)
        elif opcode != CONTINUATION and not self._closing:
            if opcode == PING:
                self.transport.write(framed(payload, PONG))
            else:
                self._take(payload if opcode == TEXT else None)

    def _closed(self, payload: bytes) -> None:
        """By the peer, or in answer to our own close."""
        if not self._closing:
            self.transport.write(framed(payload, CLOSE))
            self._closing = True
        self.transport.close()
        self._finish()

    def _fail(self, code: int, reason: str) -> None:
        """The peer keeps to no rules."""
        if not self._closing:
            self._say_goodbye(code, reason)
        self.transport.close()
        self._finish()

    def _break(self, error: Exception) -> None:
        """A failure of our own: a message was not taken, so none behind it may be."""
        log.error("a socket failed", exc_info=error)
        self.end(1011, "internal")
        self._digest_soon()  # up to the peer's own close

    # Messages, in order.

    def _take(self, message: bytes | None) -> None:
        if self._busy is not None:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(message)
            return
        assert self._talker is not None  # or nothing is taken apart
        self._do(self._talker.take(message))

    def _do(self, later: Later | None) -> None:
        if later is not None:
            self._busy = self.loop.create_task(self._work(later))
            self._server.tasks.add(self._busy)
            self._busy.add_done_callback(self._worked)

    async def _work(self, later: Later | None) -> None:
        """What had to wait, then what has come behind it."""
        talker = self._talker
        assert talker is not None  # it is whose work this is
        try:
            while True:
                if later is not None:
                    await later
                if not self._waiting:
                    return
                later = talker.take(self._waiting.popleft())
                if self._paused:
                    self._digest()
        except Exception as error:  # noqa: BLE001 - it is logged
            self._break(error)
        finally:
            self._busy = self._waiting = None  # at once: what comes next does not wait for this

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        if task.cancelled():  # uvicorn's patience is over
            self._busy = self._waiting = None
            self._finish()
        if self._over:
            self._leave()
        elif self._paused:
            self._digest()

    # What goes.

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        if self._paused and not self._lost:
            self._digest()

    # Whether anybody is there.

    def _ping(self) -> None:
        if not self._open():
            return
        assert self._silence is not None  # or there would be no timer
        self._pinged = random.randbytes(4)
        self.transport.write(framed(self._pinged, PING))
        self._timer = self.loop.call_later(self._silence, self._due)

    def _due(self) -> None:
        self._timer = self.loop.call_later(LAST_LOOK, self._missed)

    def _pong(self, payload: bytes) -> None:
        if self._asked and (answered := self._asked.pop(payload, None)) is not None:
            answered()
        elif payload == self._pinged and self._timer is not None:
            self._pinged = None
            due = self._timer.when()  # the answer's; the next ping is due at the same time
            self._timer.cancel()
            self._timer = self.loop.call_at(due, self._ping)

    def _missed(self) -> None:
        assert self._silence is not None
        if self._paused and self._writable is None:
            # It is this side that does not read: the pong may lie in the buffer.
            self._timer = self.loop.call_later(self._silence, self._due)
            return
        self._timer = None
        if not self._open():
            self.transport.abort()
            return
        self._say_goodbye(HEARTBEAT_MISSED, "heartbeat missed")
        self._finish()
        # With a full buffer a mere close would wait for the peer for ever.
        self.loop.call_soon(self.transport.abort if self.congested else self.transport.close)


def bound_silence(transport: BaseTransport, seconds: float) -> None:
    """A network or peer that swallows what it is sent is noticed by the kernel, too, whoever waits for it."""
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
