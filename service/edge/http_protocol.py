"""The HTTP engine: uvicorn's httptools protocol, with bounds on how slowly and how much a peer may send.

uvicorn bounds neither the head of a request nor the time it takes to come. Here a request has a deadline from
its first byte on: its head must be whole in time, its body must come at a pace. A worker holds so many
connections; one more is told so.
"""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.core.errors import Fault
from service.edge.headers import RAW, guarded, lines
from service.edge.problems import MEDIA_TYPE, problem, problem_response
from service.edge.ws_opening import Opening
from service.edge.ws_protocol import MOST_UNWRITTEN, bound_silence
from service.telemetry import CONNECTIONS_REFUSED, REQUESTS_TOO_SLOW

MOST_HEAD = 64 << 10
"""Bytes of a request's line and fields, trailers included; a token with many claims needs a few of them."""
MOST_FIELDS = 128
SLICE = 4 << 10
"""Bytes that are taken apart at a time: they may be hundreds of requests."""
PACE = 4 << 10
"""Bytes a second at which a body must come, once the first time-out is over: slower than any modem."""
OVERFLOW = 256
"""Connections beyond the limit that are still told so; those beyond are closed without a word."""

EXTENSION, REQUEST = "inboxd.http", "inboxd.request"
"""ASGI extensions under which an endpoint finds its connection, and there its request."""
_VERSIONS = ("1.1", "1.0")
_TOO_SLOW = Fault("too_slow", "the request did not come in time")
_TOO_LARGE = Fault("head_too_large", f"a head has at most {MOST_HEAD} bytes and {MOST_FIELDS} fields")
_NO_HTTP = Fault("malformed_request", "this is no HTTP/1.1 request")
OVERLOADED = Fault("overloaded", "this worker holds as many connections as it may")


@dataclass(frozen=True, slots=True)
class Bounds:
    """`connections` of one worker; seconds for a head; seconds between two requests; seconds of a silent peer."""

    connections: int
    handshake: float
    keep_alive: float
    silence: float


class HttpConnection(HttpToolsProtocol):
    """One TCP connection, until it becomes a WebSocket."""

    def __init__(self, *args: Any, bounds: Bounds, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self.timeout_keep_alive = bounds.keep_alive  # type: ignore[assignment]  # it may be half a second
        self._timed = False  # a request is coming; the timer is set once it has not come at one go
        self._deadline: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._came = 0  # bytes since then
        self._head = 0  # bytes of the head among them
        self._fields = 0
        self._in_head = True
        self._excess = False  # more than the bounds of a head
        self._broken = False  # what comes is read no further
        self._unread = b""  # what came behind requests that wait for their turn
        self._extensions: dict[str, Any] = {EXTENSION: weakref.ref(self)}
        self._serving: RequestResponseCycle | None = None  # the one that was begun last: others may wait behind it
        self._endless: RequestResponseCycle | None = None
        self._lost: Callable[[], None] | None = None
        self._pushed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        excess = len(self.connections) - self._bounds.connections
        if excess > 0:
            CONNECTIONS_REFUSED.inc()
            self.app = _overloaded
            self.ws_protocol_class = None  # a WebSocket's handshake is answered as any request
        if excess > OVERFLOW:
            transport.abort()
            return
        bound_silence(transport, self._bounds.silence)
        self._start_clock()
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._unread = b""
        self._endless = None
        self._give_up(self._serving)  # the library knows of the newest only
        super().connection_lost(exc)
        if self._lost is not None:
            self._lost()

    # For an answer that has no end. Frames are written without a coroutine each, as to a WebSocket.

    def without_end(self, scope: Any, lost: Callable[[], None]) -> None:
        """Before the answer to that request begins. `lost` is called when nobody is there any more."""
        self._lost = lost
        self._endless = request = scope["extensions"][REQUEST]()  # not the newest: others may have come behind it
        if request is None or request.disconnected:
            lost()
        elif scope["http_version"] == "1.0":
            request.chunked_encoding = False  # it ends with the connection

    def push(self, data: bytes) -> None:
        """Once the answer has begun. Never blocks; the caller bounds what is in flight."""
        if self.gone or self._endless is None:
            return
        self._pushed += len(data)
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._endless.chunked_encoding else data)

    @property
    def gone(self) -> bool:
        return self.transport.is_closing()

    @property
    def flooded(self) -> bool:
        """More is unwritten than a full window."""
        return self.transport.get_write_buffer_size() >= MOST_UNWRITTEN

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes that were pushed, and how many of them, at least, have left."""
        return self._pushed, self._pushed - self.transport.get_write_buffer_size()

    def abort(self) -> None:
        self.transport.abort()

    @property
    def _request(self) -> RequestResponseCycle | None:
        """The newest one; None before the first."""
        return self.cycle

    @staticmethod
    def _give_up(request: RequestResponseCycle | None) -> None:
        """Nobody hears what is still said to it."""
        if request is not None and not request.response_complete:
            request.disconnected = True
            request.message_event.set()

    def _answered(self) -> bool:
        return self._request is None or self._request.response_complete

    async def answer(self, request: RequestResponseCycle, status: int, lines: bytes, content: bytes) -> None:
        """A whole answer in one write: as `request.send` gives it in two steps, which look at each field. `lines`: the
        fields but those that are the engine's own.
        """
        if self.flow.write_paused and not request.disconnected:
            await self.flow.drain()
        if request.disconnected:
            return
        request.response_started = request.response_complete = True
        request.waiting_for_100_continue = False
        own = b"".join(b"%b: %b\r\n" % field for field in self.server_state.default_headers)
        end = b"\r\n" if request.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], own, lines, end, content)))
        request.message_event.set()
        if not request.keep_alive:
            self.transport.close()
        request.on_response()

    # What comes.

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        self._unread = self._unread + data if self._unread else data
        self._digest()

    def _digest(self) -> None:
        """Takes apart what has come, until a request has to wait for the one before: each is an object, and thousands
        of them may come at once.
        """
        if not self._timed and self._answered():
            self._in_head = True  # or what may become one, such as empty lines
            self._start_clock()
        while self._unread and not self.pipeline and not self.transport.is_closing():
            piece, self._unread = self._unread[:SLICE], self._unread[SLICE:]
            self._came += len(piece)
            if self._in_head and self._came > MOST_HEAD + len(piece):
                self._excess = True  # of a field that has no end the parser tells nothing
                self.send_400_response("")
                return
            super().data_received(piece)
            if self.transport.get_protocol() is not self:
                return  # a WebSocket now
        if self._unread:
            self.flow.pause_reading()
        self._set_timer()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._serving = self.pipeline[-1][0]  # it is begun now
        super().on_response_complete()
        if self._broken and self._answered():
            if not self.transport.is_closing():
                self._refuse(_TOO_LARGE if self._excess else _NO_HTTP)
        elif self._unread:
            self._unset_keepalive_if_required()
            self.loop.call_soon(self._digest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head, self._fields = True, 0, 0
        if not self._timed:  # one more of a pipeline
            self._start_clock()

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        if self._head > MOST_HEAD:
            self._refuse_head()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head += len(name) + len(value)
        if self._head > MOST_HEAD or self._fields > MOST_FIELDS:
            self._refuse_head()
        super().on_header(name, value)

    def _refuse_head(self) -> None:
        self._excess = True
        raise ValueError("the head is too large")  # the parser stops, and has the answer below sent

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError("neither HTTP/1.1 nor 1.0")  # the parser knows 0.9 and 2.0, too
        self._in_head = False
        self._came = 0
        super().on_headers_complete()  # starts a task, which runs later
        if (request := self._request) is not None:  # none: it becomes a WebSocket
            cast("dict[str, Any]", self.scope)["extensions"] = self._extensions | {REQUEST: weakref.ref(request)}
            if not self.pipeline:
                self._serving = request
        if self.app is _overloaded:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._stop_clock()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_clock()
        if not self._answered():  # or the answers to those before it would come among its frames
            self._broken, self._unread = True, b""
            return
        super().handle_websocket_upgrade()
        upgraded = self.transport.get_protocol()
        if isinstance(upgraded, Opening):
            upgraded.check_handshake(raw_answer(_NO_HTTP))
        del self.parser  # which points back here: nothing is left of a request while the socket lives

    # What does not come.

    def _start_clock(self) -> None:
        self._began, self._came, self._timed = self.loop.time(), 0, True

    def _set_timer(self) -> None:
        if self._timed and self._deadline is None:
            self._deadline = self.loop.call_later(self._bounds.handshake, self._look)

    def _stop_clock(self) -> None:
        self._timed = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _look(self) -> None:
        """The first time-out is over; a body may take longer if it keeps a pace."""
        self._deadline = None
        if self.transport.is_closing():
            return
        due = self._began + self._bounds.handshake
        if not self._in_head:
            due += self._came / PACE
        now = self.loop.time()
        if self.flow.read_paused:  # it is this side that does not read
            due = now + self._bounds.handshake
        if now < due:
            self._deadline = self.loop.call_later(due - now, self._look)
            return
        REQUESTS_TOO_SLOW.inc()
        if (self._came or not self._in_head) and self._may_answer():
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    # Refusals of the engine's own.

    def _may_answer(self) -> bool:
        """Whether an answer here would be taken for that of the request at fault."""
        if self._in_head or self._request is None:
            return self._answered()
        return self._request is self._serving and not self._request.response_started

    def _unsupported_upgrade_warning(self) -> None:
        """Anybody may ask for one: nothing to be logged."""

    def send_400_response(self, msg: str) -> None:
        if self._may_answer():
            self._refuse(_TOO_LARGE if self._excess else _NO_HTTP)
        elif self._in_head:  # those before it have their answers first
            self._broken, self._unread = True, b""
            self._stop_clock()
        else:
            self.transport.close()

    def _refuse(self, fault: Fault) -> None:
        """Answers and closes; what the application may still say to this request goes nowhere."""
        self._give_up(self._request)
        self._stop_clock()
        self.transport.write(raw_answer(fault))
        self.transport.close()


def raw_answer(fault: Fault) -> bytes:
    """A whole answer as a problem, for where there is no application to ask."""
    content = orjson.dumps(problem(fault))
    fields = [*RAW, (b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(content))]
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return STATUS_LINE[fault.status] + lines + b"connection: close\r\n\r\n" + content


def connection_of(scope: Any) -> HttpConnection:
    """The connection behind a request. Raises TypeError under another server."""
    found = scope.get("extensions", {}).get(EXTENSION, lambda: None)()
    if not isinstance(found, HttpConnection):
        raise TypeError("run this under `inboxd serve`: its HTTP engine is needed")
    return found


async def answer_whole(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """`response` as the answer to this request. At once, where it is one of JSON and this engine has the connection."""
    connection = scope.get("extensions", {}).get(EXTENSION, lambda: None)()
    request = scope["extensions"][REQUEST]() if isinstance(connection, HttpConnection) else None
    if request is None or response.media_type != "application/json":
        await response(scope, receive, send)
        return
    own = b"".join(b"%b: %b\r\n" % field for field in response.raw_headers)
    await connection.answer(request, response.status_code, own + lines(scope), response.body)


async def _overloaded(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """ASGI application of a connection that is one too many."""
    await guarded(problem_response(OVERLOADED))(scope, receive, send)
