"""`GET /v1/ws`: the wire protocol over WebSocket."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
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
    read_frame,
)
from service.core.frames import read_object as parse
from service.core.identity import Identity
from service.core.sending import change_of, message_of
from service.delivery.connection import Connection
from service.delivery.worker import Worker
from service.edge.auth import CHATTERS, Gate, named, origin_allowed, sender_of
from service.edge.expiry import Expiry
from service.edge.rates import Rates
from service.edge.signals import signal
from service.edge.ws_protocol import Socket, socket_of

log = logging.getLogger("inboxd.ws")

SUBPROTOCOL = "inboxd.v1"
PROTOCOL_ERROR, NOT_AUTHENTICATED, FORBIDDEN, HELLO_LATE, TOKEN_EXPIRED = 4500, 4501, 4503, 4000, 4002
_SURROGATE = re.compile("[\ud800-\udfff]")
LINES_A_TURN = 64
_FATAL_TYPES = ("hello", "ack")
"""Frames in which a fault ends the connection."""


class WebSocketEndpoint:
    """ASGI application of the one route. One instance per process; one call per socket."""

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
        socket = socket_of(scope)
        if self._gate.tokens is None:
            try:
                named(scope)  # no hello can help whoever names nobody
            except ClientError as error:
                refuse(socket, error.fault, NOT_AUTHENTICATED)
                return
        await Conversation(self._worker, self._gate, self._rates, socket, scope, receive).run()


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


async def texts(receive: Receive) -> AsyncIterator[str]:
    """Text frames until the socket closes. Raises ClientError for a binary one."""
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        if text is None:
            raise ClientError("malformed_json", "binary frames are not taken")
        yield text


class Conversation:
    """Reads one socket, line by line, until it closes."""

    def __init__(
        self, worker: Worker, gate: Gate, rates: Rates, socket: Socket, scope: Scope, receive: Receive
    ) -> None:
        self._worker = worker
        self._gate = gate
        self._rates = rates
        self._socket = socket
        self._scope = scope
        self._expiry = Expiry(self._expired)
        self._lines = self._split(receive)
        self._connection: Connection | None = None

    async def run(self) -> None:
        try:
            await self._talk()
        except ClientError as error:
            self._fail(error.fault)
        except Exception:
            log.exception("a socket of %s failed", self._connection.claim.user if self._connection else "nobody yet")
            self._socket.end(1011, "internal")
        finally:
            self._expiry.cancel()
            if self._connection is not None:
                self._worker.watching.leave(self._connection)
                self._connection.lost()

    async def _talk(self) -> None:
        try:
            first = await asyncio.wait_for(anext(self._lines, None), self._worker.settings.hello_timeout)
        except TimeoutError:
            self._socket.end(HELLO_LATE, "hello did not come in time")
            return
        if first is None:
            return
        hello = _hello(first)
        identity = await self._admitted(hello.token)
        if identity is None:
            return
        if self._worker.draining:  # looked at last: whoever connects from here on is known to the drain
            self._socket.end(1012, "the worker is restarting")
            return
        peer = LinePeer(self._socket)
        self._connection = Connection(self._worker, peer, identity.user, hello.device, hello.attempt or 0)
        self._trust(identity)
        await self._connection.open(hello)
        async for line in self._lines:
            await self._take(self._connection, line)

    async def _admitted(self, token: str | None) -> Identity | None:
        """None: it was told why not, and the socket is closed."""
        try:
            identity = await self._gate.identify(self._scope, token)
            CHATTERS.check(identity)
        except ClientError as error:
            refuse(self._socket, error.fault, code_of(error.fault))
            return None
        return identity

    def _trust(self, identity: Identity) -> None:
        self._identity = identity
        self._expiry.at(identity.expires)

    def _expired(self) -> None:
        assert self._connection is not None  # it is made before the timer runs
        self._connection.end(TOKEN_EXPIRED, "the token has expired")

    async def _renew(self, connection: Connection, token: str) -> None:
        """Raises ClientError: then the old token counts, as long as it lasts."""
        identity = await self._gate.identify(self._scope, token)
        CHATTERS.check(identity)
        if identity.user != connection.claim.user:
            raise ClientError("forbidden", "the token is for another user")
        self._trust(identity)
        connection.tell(authed_frame())

    async def _split(self, receive: Receive) -> AsyncIterator[bytes]:
        async for text in texts(receive):
            lines = [line for line in text.encode().split(b"\n") if line.strip()]
            if not lines:
                raise ClientError("malformed_json", "the frame is empty")
            for number, line in enumerate(lines, 1):
                yield line
                if number % LINES_A_TURN == 0:  # a frame may hold tens of thousands; the others have their turn
                    await asyncio.sleep(0)
                    await self._socket.drained()
            if self._socket.congested:
                await self._socket.drained()

    async def _take(self, connection: Connection, line: bytes) -> None:
        content: dict[str, Any] = {}
        try:
            content = parse(line)
            await self._handle(connection, read_frame(content))
        except ClientError as error:
            fault = error.fault
            content = content or strict_json.salvage(line)
            if fault.code in ("malformed_json", "hello_repeated") or content.get("type") in _FATAL_TYPES:
                raise
            connection.tell(error_frame(fault, id=_text(content.get("id")), ref=_text(content.get("ref"))))

    async def _handle(self, connection: Connection, frame: ClientFrame) -> None:
        """Raises ClientError."""
        match frame:
            case SendFrame() | Edit() | Delete() | React():
                await self._send(connection, frame)
            case Ack():
                connection.ack(Cursor.parse(frame.cursor))
            case Skip():
                connection.sends.skip(frame.id)
            case History():
                await connection.history(frame)
                await self._socket.drained()
            case Read():
                await self._read(connection, frame)
            case Signal() | Watch() | Unwatch():
                await self._aside(connection, frame)
            case Auth():
                await self._renew(connection, frame.token)
            case Ping():
                connection.tell(pong_frame(frame.ref))
            case Hello():
                raise ClientError("hello_repeated", "hello comes once, first")
            case _:
                raise ClientError("unknown_type", f"{frame.type} is not taken here", "type")

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

    async def _send(self, connection: Connection, frame: SendFrame | Edit | Delete | React) -> None:
        await self._rested()
        sender, most = sender_of(self._identity, frame.sender), self._worker.settings.max_body
        if isinstance(frame, SendFrame):
            message = message_of(frame, sender, frame.id, most)
        else:
            message = change_of(frame, sender, most)
        if message.target and frame.group is None:
            await connection.sends.change(message)
        else:
            await connection.sends.ready(frame.group)
            connection.sends.submit(message, frame.group)

    async def _rested(self) -> None:
        """Draws one message from the user's rate."""
        if (wait := self._rates.turn(self._identity)) > 0:
            await self._socket.rest(wait)

    def _fail(self, fault: Fault) -> None:
        if self._connection is None or self._connection.session is None:
            refuse(self._socket, fault, PROTOCOL_ERROR)
            return
        self._connection.tell(error_frame(fault))
        self._connection.end(PROTOCOL_ERROR, fault.code)


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
