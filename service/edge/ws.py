"""`GET /v1/ws`: the wire protocol over WebSocket."""

import asyncio
import logging
import re
from typing import Any

from starlette.types import Receive, Scope, Send

from service.core import strict_json
from service.core.cursor import Cursor
from service.core.errors import ClientError, Fault, Unavailable
from service.core.frames import (
    Ack,
    Auth,
    ClientFrame,
    Delete,
    Edit,
    Hello,
    History,
    Ping,
    React,
    Read,
    SendFrame,
    Signal,
    Skip,
    Unwatch,
    Watch,
    authed_frame,
    error_frame,
    pong_frame,
)
from service.core.identity import Identity
from service.core.reading import read_frame
from service.core.reading import read_object as parse
from service.core.sending import Message, change_of, message_of
from service.delivery.connection import Connection
from service.delivery.worker import Worker
from service.edge.auth import CHATTERS, Gate, named, origin_allowed, sender_of
from service.edge.expiry import Expiry
from service.edge.rates import Rates
from service.edge.signals import signal
from service.edge.ws_opening import socket_of
from service.edge.ws_protocol import Later, Socket

log = logging.getLogger("inboxd.ws")

SUBPROTOCOL = "inboxd.v1"
PROTOCOL_ERROR, NOT_AUTHENTICATED, FORBIDDEN, HELLO_LATE, TOKEN_EXPIRED = 4500, 4501, 4503, 4000, 4002
_SURROGATE = re.compile(r"[\ud800-\udfff]")
LINES_AT_ONCE, LINES_A_TURN = 16, 64
"""Lines of a frame that are handled without a task; and in one, before the others have their turn."""
_NAMING = (b"x-inboxd-user", b"authorization")
_FATAL_TYPES = ("hello", "ack")
"""Frames in which a fault ends the connection."""


class WebSocketEndpoint:
    """ASGI application of the one route. One instance per process; one call per socket, until it is open."""

    rule = CHATTERS

    def __init__(self, worker: Worker, gate: Gate, rates: Rates) -> None:
        self._worker = worker
        self._gate = gate
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if not origin_allowed(scope, self._worker.settings.origins):
            await send({"type": "websocket.close", "code": 1008})  # before the accept: a 403
            return
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        if (socket := socket_of(scope)) is None:
            return
        if self._gate.tokens is None:
            try:
                named(scope)  # no hello can help whoever names nobody
            except ClientError as error:
                refuse(socket, error.fault, NOT_AUTHENTICATED)
                return
        socket.begin(Conversation(self._worker, self._gate, self._rates, socket, scope))


class LinePeer:
    """Frames as they are, one per line."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def send(self, lines: list[bytes]) -> None:
        self._socket.write(b"\n".join(lines))

    def close(self, code: int, reason: str) -> None:
        self._socket.end(code, reason)

    @property
    def gone(self) -> bool:
        return self._socket.gone

    @property
    def flooded(self) -> bool:
        return self._socket.flooded


def code_of(fault: Fault) -> int:
    """The close code for who is not let in."""
    return {"forbidden": FORBIDDEN, "unavailable": 1013}.get(fault.code, NOT_AUTHENTICATED)


def refuse(socket: Socket, fault: Fault, code: int) -> None:
    """Says why, then closes."""
    socket.write(error_frame(fault))
    socket.end(code, fault.code)


class Conversation:
    """What one socket's frames mean, line by line, until it closes.

    Whatever can be done at once is done in `take`. The rest becomes a coroutine, which the socket runs, and what comes
    next waits for it: so a connection has a task only while something has to wait.
    """

    def __init__(self, worker: Worker, gate: Gate, rates: Rates, socket: Socket, scope: Scope) -> None:
        self._worker = worker
        self._gate = gate
        self._rates = rates
        self._socket = socket
        self._asked = asked_with(scope)
        self._expiry = Expiry(self._expired)
        self._patience = socket.loop.call_later(worker.settings.hello_timeout, self._late)
        self._connection: Connection | None = None
        self._over = False  # it was told why, and the socket is closed

    # For the socket.

    def greet(self) -> Later | None:
        """The client says hello first."""
        return None

    def take(self, text: bytes | None) -> Later | None:
        if self._over:
            return None
        self._patience.cancel()
        try:
            return self._lines(text)
        except ClientError as error:
            self._fail(error.fault)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._break(error)
        return None

    def left(self) -> None:
        self._over = True
        self._patience.cancel()
        self._expiry.cancel()
        if self._connection is not None:
            self._worker.watching.leave(self._connection)
            self._connection.lost()

    # Lines.

    def _lines(self, text: bytes | None) -> Later | None:
        """Raises ClientError."""
        if text is None:
            raise ClientError("malformed_json", "binary frames are not taken")
        lines = [line for line in text.split(b"\n") if line.strip()]
        if not lines:
            raise ClientError("malformed_json", "the frame is empty")
        if len(lines) > LINES_AT_ONCE:
            return self._go_on(None, lines)
        for number, line in enumerate(lines, 1):
            if (later := self._take(line)) is not None:
                return self._go_on(later, lines[number:])
        return self._socket.drained() if self._socket.congested else None

    async def _go_on(self, later: Later | None, lines: list[bytes]) -> None:
        """What has to wait, then the lines behind it."""
        try:
            if later is not None:
                await later
            for number, line in enumerate(lines, 1):
                if self._over:
                    return
                if (later := self._take(line)) is not None:
                    await later
                if number % LINES_A_TURN == 0:  # a frame may hold tens of thousands; the others have their turn
                    await asyncio.sleep(0)
                    await self._socket.drained()
            await self._socket.drained()
        except ClientError as error:
            self._fail(error.fault)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._break(error)

    def _take(self, line: bytes) -> Later | None:
        """Raises ClientError where the connection cannot stay."""
        connection = self._connection
        if connection is None:
            return self._meet(line)
        content: dict[str, Any] = {}
        try:
            content = parse(line)
            later = self._handle(connection, read_frame(content))
        except ClientError as error:
            self._tell_why(connection, error.fault, content or strict_json.salvage(line))
            return None
        return None if later is None else self._in_time(connection, later, content)

    async def _in_time(self, connection: Connection, later: Later, content: dict[str, Any]) -> None:
        try:
            await later
        except ClientError as error:
            self._tell_why(connection, error.fault, content)

    def _tell_why(self, connection: Connection, fault: Fault, content: dict[str, Any]) -> None:
        if fault.code in ("malformed_json", "hello_repeated") or content.get("type") in _FATAL_TYPES:
            raise ClientError(fault.code, fault.detail, fault.field)
        connection.tell(error_frame(fault, id=_text(content.get("id")), ref=_text(content.get("ref"))))

    # The first line.

    async def _meet(self, line: bytes) -> None:
        """Raises ClientError."""
        hello = _hello(line)
        identity = await self._admitted(hello.token)
        if identity is None:
            return
        if self._worker.draining:  # looked at last: whoever connects from here on is known to the drain
            self._end(1012, "the worker is restarting")
            return
        peer = LinePeer(self._socket)
        self._connection = Connection(self._worker, peer, identity.user, hello.device, hello.attempt or 0)
        self._trust(identity)
        await self._connection.open(hello)

    async def _admitted(self, token: str | None) -> Identity | None:
        """None: it was told why not, and the socket is closed."""
        try:
            identity = await self._gate.identify(self._asked, token)
            CHATTERS.check(identity)
        except ClientError as error:
            self._over = True
            refuse(self._socket, error.fault, code_of(error.fault))
            return None
        return identity

    def _late(self) -> None:
        self._end(HELLO_LATE, "hello did not come in time")

    def _trust(self, identity: Identity) -> None:
        self._identity = identity
        self._expiry.at(identity.expires)

    def _expired(self) -> None:
        assert self._connection is not None  # it is made before the timer runs
        self._connection.end(TOKEN_EXPIRED, "the token has expired")

    # All others.

    def _handle(self, connection: Connection, frame: ClientFrame) -> Later | None:
        """What is left to be done, if it cannot be done at once. Raises ClientError, as does that."""
        match frame:
            case SendFrame():
                return self._send(connection, frame)
            case Ack():
                connection.ack(Cursor.parse(frame.cursor))
            case Skip():
                connection.sends.skip(frame.id)
            case Ping():
                connection.tell(pong_frame(frame.ref))
            case Hello():
                raise ClientError("hello_repeated", "hello comes once, first")
            case _:
                return self._handle_slowly(connection, frame)
        return None

    def _send(self, connection: Connection, frame: SendFrame) -> Later | None:
        wait = self._rates.turn(self._identity)
        if wait > 0 or not connection.sends.free(frame.group):
            return self._send_late(connection, frame, wait)
        connection.sends.submit(self._message(frame), frame.group)
        return None

    async def _send_late(self, connection: Connection, frame: SendFrame, wait: float) -> None:
        await self._rest(wait)
        message = self._message(frame)
        await connection.sends.ready(frame.group)
        connection.sends.submit(message, frame.group)

    def _message(self, frame: SendFrame) -> Message:
        sender = sender_of(self._identity, frame.sender)
        return message_of(frame, sender, frame.id, self._worker.settings.max_body)

    async def _handle_slowly(self, connection: Connection, frame: ClientFrame) -> None:
        match frame:
            case Edit() | Delete() | React():
                await self._change(connection, frame)
            case History():
                await connection.history(frame)
                await self._socket.drained()
            case Read():
                await self._read(connection, frame)
            case Signal() | Watch() | Unwatch():
                await self._aside(connection, frame)
            case Auth():
                await self._renew(connection, frame.token)
            case _:
                raise ClientError("unknown_type", f"{frame.type} is not taken here", "type")

    async def _change(self, connection: Connection, frame: Edit | Delete | React) -> None:
        await self._rested()
        message = change_of(frame, sender_of(self._identity, frame.sender), self._worker.settings.max_body)
        if frame.group is None:
            await connection.sends.change(message)
        else:
            await connection.sends.ready(frame.group)
            connection.sends.submit(message, frame.group)

    async def _aside(self, connection: Connection, frame: Signal | Watch | Unwatch) -> None:
        """What is never stored. Raises ClientError."""
        await self._rested()
        match frame:
            case Signal():
                signal(self._worker, connection, self._identity, frame)
            case Watch():
                self._worker.watching.watch(connection, frame.users)
            case Unwatch():
                self._worker.watching.unwatch(connection, frame.users)

    async def _read(self, connection: Connection, frame: Read) -> None:
        """The answer is the `read` entry; an `error` names what was said, since that has no id."""
        await self._rested()
        try:
            await self._worker.reads.take(connection.claim.user, frame)
        except (ClientError, Unavailable) as error:
            away = Fault("unavailable", "the store cannot be reached; say it again", "upto")
            whose = {"from": frame.sender} if frame.group is None else {"group": frame.group}
            fault = error.fault if isinstance(error, ClientError) else away
            connection.tell(error_frame(fault, **whose, upto=frame.upto))

    async def _renew(self, connection: Connection, token: str) -> None:
        """Raises ClientError: then the old token counts, as long as it lasts."""
        identity = await self._gate.identify(self._asked, token)
        CHATTERS.check(identity)
        if identity.user != connection.claim.user:
            raise ClientError("forbidden", "the token is for another user")
        self._trust(identity)
        connection.tell(authed_frame())

    async def _rested(self) -> None:
        """Draws one message from the user's rate. Raises ClientError, as does what follows."""
        await self._rest(self._rates.turn(self._identity))

    async def _rest(self, wait: float) -> None:
        if wait > 0 and not await self._socket.rest(wait):
            self._over = True  # or whoever leaves would wait for nothing
            raise ClientError("rate_limited", "the connection ended before the message's turn")

    # The end.

    def _end(self, code: int, reason: str) -> None:
        self._over = True
        self._socket.end(code, reason)

    def _fail(self, fault: Fault) -> None:
        self._over = True
        if self._connection is None or self._connection.session is None:
            refuse(self._socket, fault, PROTOCOL_ERROR)
            return
        self._connection.tell(error_frame(fault))
        self._connection.end(PROTOCOL_ERROR, fault.code)

    def _break(self, error: Exception) -> None:
        """A failure of our own."""
        user = self._connection.claim.user if self._connection is not None else "nobody yet"
        log.error("a socket of %s failed", user, exc_info=error)
        self._end(1011, "internal")


def asked_with(scope: Scope) -> Scope:
    """So much of a scope as says who asks: the rest need not be kept for as long as the connection lives."""
    headers = [(name, value) for name, value in scope["headers"] if name in _NAMING]
    return {"type": scope["type"], "headers": headers, "query_string": scope["query_string"]}


def _hello(line: bytes) -> Hello:
    content = parse(line)
    if content.get("type") != "hello":
        raise ClientError("hello_expected", "the first frame must be hello")
    frame = read_frame(content)
    assert isinstance(frame, Hello)  # by its type
    return frame


def _text(value: object) -> str | None:
    """An id or ref worth repeating back: a faulty one may be anything."""
    return value if isinstance(value, str) and len(value) <= 128 and not _SURROGATE.search(value) else None
