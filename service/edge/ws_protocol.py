"""The WebSocket engine: uvicorn's sans-I/O protocol, with what a delivery service needs beside ASGI.

Frames are written without a coroutine each, the keep-alive closes with our codes and aborts a peer
that stopped reading, pings can be asked for, and a shutdown leaves the goodbye to the worker. What comes
is taken apart only as fast as the endpoint and the peer itself keep up: no flood fills the memory or
keeps the others waiting.
"""

import asyncio
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from typing import Any, cast

import orjson
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from service.core.errors import Fault
from service.edge.headers import RAW
from service.edge.problems import MEDIA_TYPE, problem

EXTENSION = "inboxd.socket"
"""ASGI extension under which the endpoint finds its socket."""
HEARTBEAT_MISSED = 4001
QUEUED_FRAMES = 4
"""Frames that may wait for the endpoint before the socket is read no further."""
SLICE = 4 << 10
"""Bytes that are taken apart at a time: they may be hundreds of frames."""
FRAMES_A_TICK = 128
"""Frames after which the other connections have their turn."""
MOST_UNWRITTEN = 2 << 20
"""Bytes that wait for the peer to read them; beyond, it is not read either. More than a full window."""
GOODBYE = 2.0
"""Seconds a peer has to answer a close before it is aborted."""


_FAULTS = {
    400: Fault("malformed_request", "this is no WebSocket handshake (RFC 6455)"),
    405: Fault("method_not_allowed", "a WebSocket is opened with GET"),
    431: Fault("head_too_large", "a handshake has at most 128 fields of 8 KiB each"),
}
"""What the library says about a handshake that is none, in words that repeat nothing of it."""


class Handshake(ServerProtocol):
    """The wire, with the fields that every HTTP answer has on those that refuse a handshake."""

    def send_response(self, response: Response) -> None:
        if (fault := _FAULTS.get(response.status_code)) is not None:
            response.body = orjson.dumps(problem(fault))
            fields = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(response.body))}
            for field, text in (fields | ({"Allow": "GET"} if response.status_code == 405 else {})).items():
                del response.headers[field]
                response.headers[field] = text
        if response.status_code != 101:
            for name, value in RAW:
                response.headers[name.decode()] = value.decode()
        super().send_response(response)


class Socket(WebSocketsSansIOProtocol):
    """`write` and `end` may be called once the handshake is complete."""

    close_timeout = GOODBYE
    frames: list[Any]  # the fragments of one message, in one piece

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Handshake(max_size=self.config.ws_max_size, logger=self.logger)
        self.close_timeout = GOODBYE
        self._unread = b""
        self._at = 0  # so much of it has been taken apart
        self._frames = 0  # taken apart in this tick
        self._scheduled = False
        self._resting: asyncio.Future[None] | None = None
        self._asked: dict[bytes, Callable[[], None]] = {}
        self._count = 0

    # For the endpoint.

    def write(self, text: bytes) -> None:
        """One text frame. Never blocks; the caller bounds what is in flight."""
        if not self._open():
            return
        self.conn.send_text(text)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def ask(self, answered: Callable[[], None]) -> None:
        """Pings the peer; `answered` is called when everything written before has been read."""
        if not self._open():
            return
        self._count += 1
        payload = b"a%d" % self._count
        self._asked[payload] = answered
        self.conn.send_ping(payload)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def end(self, code: int, reason: str) -> None:
        """Sends a close; the endpoint's next receive is the disconnect."""
        if self.close_sent or self.disconnected:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if not self._open():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._wake()
        if self.read_paused:
            self._digest_soon()  # up to the peer's own close
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def _open(self) -> bool:
        return self.conn.state is State.OPEN and not (
            self.close_sent or self.disconnected or self.transport.is_closing()
        )

    @property
    def gone(self) -> bool:
        """The connection is lost, or about to be."""
        return self.disconnected or self.transport.is_closing()

    @property
    def congested(self) -> bool:
        """The peer reads slower than it is written to."""
        return not self.writable.is_set()

    @property
    def flooded(self) -> bool:
        """More is unwritten than a full window."""
        return self.transport.get_write_buffer_size() >= MOST_UNWRITTEN

    async def drained(self) -> None:
        """Returns when the peer has read enough, or is gone."""
        await self.writable.wait()

    async def rest(self, seconds: float) -> None:
        """Returns after that time, or when the connection ends. The endpoint reads nothing meanwhile."""
        if not self._open():
            return
        self._resting = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self._resting
        finally:
            timer.cancel()
            self._resting = None

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    # For uvicorn.

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        if self.ping_interval:
            bound_silence(transport, 2 * self.ping_interval)

    def connection_lost(self, exc: Exception | None) -> None:
        self._asked.clear()
        self._unread = b""
        super().connection_lost(exc)
        self._wake()

    def check_handshake(self, otherwise: bytes) -> None:
        """Called with the whole handshake: where it is none, uvicorn would wait for ever. `otherwise`: what is said
        where the library says nothing.
        """
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()) or otherwise)
            self.transport.close()

    # What comes.

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread[self._at :] + data
        self._at = 0
        self._frames = 0
        self._digest()

    def _digest(self) -> None:
        """Takes apart what has come, as far as it is wanted now; reads on when that is all."""
        self.read_paused = True  # or uvicorn would pause and resume with every frame
        while self._at < len(self._unread) and not self.transport.is_closing() and self._wanted():
            if self._frames >= FRAMES_A_TICK:
                self._digest_soon()
                break
            piece = self._unread[self._at : self._at + SLICE]
            self._at += len(piece)
            super().data_received(piece)
        if self.transport.is_closing():
            self._unread = b""
            return
        all_read = self._at >= len(self._unread)
        if all_read:
            self._unread, self._at = b"", 0
        self.read_paused = not (all_read and self._wanted())
        if self.read_paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _digest_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._digest_on)

    def _digest_on(self) -> None:
        self._scheduled = False
        self._frames = 0
        if self.read_paused:
            self._digest()

    def _wanted(self) -> bool:
        """A few frames are read ahead, or a close behind one would go unnoticed while the endpoint is busy."""
        if self.close_sent:
            return True
        unwritten = self.transport.get_write_buffer_size() if self.congested else 0
        return self.queue.qsize() < QUEUED_FRAMES and unwritten < MOST_UNWRITTEN

    def handle_events(self) -> None:
        self._frames += len(self.conn.events)
        super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        """Fragments are gathered in one place: thousands of small ones, or empty ones, weigh no more than they hold."""
        if len(self.frames) == 1 and not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])
        self.frames[0].extend(event.data)
        if event.fin:
            self.send_receive_event_to_app()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused:
            self._digest()
        return message

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.read_paused:
            self._digest()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The endpoint's task has been made but has not run yet.
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    def handle_pong(self, event: Frame) -> None:
        answered = self._asked.pop(bytes(event.data), None)
        if answered is not None:
            answered()
        else:
            super().handle_pong(event)

    def keepalive_timeout(self) -> None:
        if self.read_paused and not self.congested:
            # It is this side that does not read: the pong may lie in the buffer.
            self.pong_timer = self.loop.call_later(self.ping_timeout or GOODBYE, self.keepalive_timeout)
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()
            return
        self.conn.fail(HEARTBEAT_MISSED, "heartbeat missed")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        # With a full buffer a mere close would wait for the peer for ever.
        self.loop.call_later(0, self.transport.abort if self.congested else self.transport.close)

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent:
            self.end(1012, "the worker is restarting")
        else:
            super().shutdown()


def bound_silence(transport: BaseTransport, seconds: float) -> None:
    """A network or peer that swallows what it is sent is noticed by the kernel, too, whoever waits for it."""
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def socket_of(scope: Any) -> Socket:
    """The socket behind an accepted WebSocket scope. Raises TypeError under another server."""
    found = scope.get("extensions", {}).get(EXTENSION)
    if not isinstance(found, Socket):
        raise TypeError("run this under `inboxd serve`: its WebSocket engine is needed")
    return found
