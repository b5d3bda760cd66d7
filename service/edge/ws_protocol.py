"""The WebSocket engine: uvicorn's sans-I/O protocol, with what a delivery service needs beside ASGI.

Frames are written without a coroutine each, the keep-alive closes with our codes and aborts a peer
that stopped reading, pings can be asked for, and a shutdown leaves the goodbye to the worker.
"""

import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

EXTENSION = "inboxd.socket"
"""ASGI extension under which the endpoint finds its socket."""
HEARTBEAT_MISSED = 4001
QUEUED_FRAMES = 4
"""Frames that may wait for the endpoint before the socket is read no further."""
GOODBYE = 2.0
"""Seconds a peer has to answer a close before it is aborted."""


class Socket(WebSocketsSansIOProtocol):
    """`write` and `end` may be called once the handshake is complete."""

    close_timeout = GOODBYE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = GOODBYE
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
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
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

    async def drained(self) -> None:
        """Returns when the peer has read enough, or is gone."""
        await self.writable.wait()

    # For uvicorn.

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if self.ping_interval and sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A network that swallows what is sent is noticed by the kernel, too.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2000 * self.ping_interval))

    def connection_lost(self, exc: Exception | None) -> None:
        self._asked.clear()
        super().connection_lost(exc)

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

    def send_receive_event_to_app(self) -> None:
        super().send_receive_event_to_app()
        if self.read_paused and self.queue.qsize() < QUEUED_FRAMES:
            # Read on, or a close behind this frame would go unnoticed while the endpoint is busy.
            self.read_paused = False
            self.transport.resume_reading()

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


def socket_of(scope: Any) -> Socket:
    """The socket behind an accepted WebSocket scope. Raises TypeError under another server."""
    found = scope.get("extensions", {}).get(EXTENSION)
    if not isinstance(found, Socket):
        raise TypeError("run this under `inboxd serve`: its WebSocket engine is needed")
    return found
