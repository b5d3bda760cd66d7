"""The older protocol: clients of the pub/sub chat that this service replaces connect unchanged.

Underneath it is the same inbox, with the device name `legacy`. Such a client cannot ack, so an entry
counts as handled when its frame has been written and the connection has answered a ping since.
"""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import StringConstraints
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.cursor import Cursor
from service.core.errors import ClientError, Fault
from service.core.frames import Hello, Name, Strict
from service.core.frames import Send as SendBody
from service.core.identity import CHAT, SEND_ANY, Identity
from service.core.reading import read_object, validate
from service.core.sending import Appended, Message, message_of, outcome
from service.delivery.connection import Connection
from service.delivery.worker import Worker
from service.edge.auth import CHATTERS, Gate, Rule, check_name, origin_allowed, sender_of
from service.edge.bodies import commit, new_id, read_model, worker_of
from service.edge.expiry import Expiry
from service.edge.http import rates_of
from service.edge.openapi import ASKING, BODY, COUNT, TEXT, answer, described, fields, refusals
from service.edge.problems import Denied
from service.edge.rates import Rates
from service.edge.ws import TOKEN_EXPIRED, code_of
from service.edge.ws_opening import socket_of
from service.edge.ws_protocol import Later, Socket

log = logging.getLogger("inboxd.legacy")

router = APIRouter(tags=["older protocol"])

POSTING = Rule((CHAT, SEND_ANY), nameless=True, itself=True)

DEVICE = "legacy"
WINDOW = 256
WELCOME = "Welcome to the chat app!"
MISSED = "Some messages are no longer kept and will not come."


class PrivateMessage(Strict):
    """What such a client sends over its socket."""

    type: str
    recipient: Name
    msg: Annotated[str, StringConstraints()]


class CreateChat(Strict):
    """What such a client posts."""

    msg: str
    sender: Name
    recipient: Name


TOLD = fields({"code": COUNT, "msg": TEXT, "data": TEXT})
"""The older service's answers, failures included."""


def system(text: str, user: str) -> bytes:
    return orjson.dumps({"type": "system", "msg": text, "sender": "system", "recipient": user})


class LegacyPeer:
    """Turns frames of the wire protocol into those of the older one, and pongs into acks."""

    def __init__(self, socket: Socket, user: str) -> None:
        self._socket = socket
        self._user = user
        self.connection: Connection | None = None
        self._written: Cursor | None = None
        self._asking = False

    def send(self, lines: list[bytes]) -> None:
        for line in lines:
            frame = orjson.loads(line)
            if (text := self._translate(frame)) is not None:
                self._socket.write(text)
            if "cursor" in frame and frame["type"] not in ("welcome", "live"):
                self._written = Cursor.parse(frame["cursor"])
        self._ask()

    def close(self, code: int, reason: str) -> None:
        self._socket.end(code, reason)

    @property
    def gone(self) -> bool:
        return self._socket.gone

    @property
    def flooded(self) -> bool:
        return self._socket.flooded

    def _translate(self, frame: dict[str, Any]) -> bytes | None:
        """None: nothing such a client knows."""
        match frame["type"]:
            case "welcome":
                return system(WELCOME, self._user)
            case "message" if "to" in frame and (frame["from"] != self._user or self._user in _list(frame["to"])):
                return orjson.dumps(
                    {
                        "type": "private_message",
                        "sender": frame["from"],
                        "msg": text_of(frame["body"]),
                        "recipient": self._user,
                    }
                )
            case "gap":
                return system(MISSED, self._user)
            case "broadcast":
                return system(text_of(frame["body"]), self._user)
            case "error":
                return system(frame["message"], self._user)
        return None

    def _ask(self) -> None:
        if self._written is None or self._asking:
            return
        written, self._written = self._written, None
        self._asking = True

        def answered() -> None:
            self._asking = False
            if self.connection is not None:
                self.connection.ack(written)
            self._ask()

        self._socket.ask(answered)


def _list(to: Any) -> list[str]:
    return to if isinstance(to, list) else [to]


def text_of(body: Any) -> str:
    """What a client that knows only text is shown of any body."""
    if isinstance(body, dict) and isinstance(body.get("text"), str):
        return str(body["text"])
    return orjson.dumps(body).decode()


class LegacyEndpoint:
    """ASGI application of `WS /api/chat/connect_chat?user_code=U`, until the socket is open."""

    rule = CHATTERS

    def __init__(self, worker: Worker, gate: Gate, rates: Rates) -> None:
        self._worker = worker
        self._gate = gate
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if not origin_allowed(scope, self._worker.settings.origins):
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        if (socket := socket_of(scope)) is None:
            return
        try:
            identity = await self._identify(scope)
        except ClientError as error:
            socket.write(system(error.fault.detail, ""))
            socket.end(code_of(error.fault), "unauthenticated" if error.fault.status == 422 else error.fault.code)
            return
        socket.begin(LegacyConversation(self._worker, self._rates, socket, identity))

    async def _identify(self, scope: Scope) -> Identity:
        """By the token of the header; while authentication is off by `user_code`. Raises ClientError."""
        code = QueryParams(scope["query_string"]).get("user_code")
        if self._gate.tokens is None:
            return Identity(check_name(code or "", "user_code"))
        identity = await self._gate.identify(scope)
        CHATTERS.check(identity)
        if code not in (None, identity.user):
            raise ClientError("forbidden", "the token is for another user")
        return identity


class LegacyConversation:
    """One socket of the older protocol. Here every message is a task: such clients are few."""

    def __init__(self, worker: Worker, rates: Rates, socket: Socket, identity: Identity) -> None:
        self._worker = worker
        self._rates = rates
        self._socket = socket
        self._identity = identity
        peer = LegacyPeer(socket, identity.user)
        self._connection = peer.connection = Connection(worker, peer, identity.user, DEVICE, 0)
        self._expiry = Expiry(lambda: self._connection.end(TOKEN_EXPIRED, "the token has expired"))
        self._expiry.at(identity.expires)

    def greet(self) -> Later:
        return self._safely(self._connection.open(Hello(type="hello", device=DEVICE, window=WINDOW)))

    def take(self, text: bytes | None) -> Later | None:
        return None if self._connection.closed else self._safely(self._send(text))

    def left(self) -> None:
        self._expiry.cancel()
        self._connection.lost()

    async def _safely(self, doing: Later) -> None:
        try:
            await doing
        except ClientError as error:
            self._socket.write(system(error.fault.detail, self._identity.user))
            self._connection.end(4500, error.fault.code)
        except Exception:
            log.exception("a socket of %s failed", self._identity.user)
            self._connection.end(1011, "internal")

    async def _send(self, text: bytes | None) -> None:
        """Raises ClientError where the connection cannot stay."""
        if text is None:
            raise ClientError("malformed_json", "binary frames are not taken")
        if (wait := self._rates.turn(self._identity)) > 0 and not await self._socket.rest(wait):
            return
        try:
            message = self._message(text)
        except ClientError as error:
            self._tell(error.fault)
            return
        await self._socket.drained()

        def done(results: Sequence[Appended] | Fault) -> None:
            fault = results if isinstance(results, Fault) else outcome(message, results, "").fault
            if fault is not None:
                self._tell(fault)

        await self._connection.sends.ready()
        self._connection.sends.submit_unordered(message, done)

    def _message(self, text: bytes) -> Message:
        asked = validate(PrivateMessage, read_object(text))
        if asked.type != "private_message":
            raise ClientError("unknown_type", "only private_message is known here")
        return _message(self._worker, self._identity.user, asked.recipient, asked.msg)

    def _tell(self, fault: Fault) -> None:
        self._socket.write(system(f"not sent: {fault.detail}", self._identity.user))


def _message(worker: Worker, sender: str, recipient: str, text: str) -> Message:
    body = {"text": text}
    return message_of(SendBody(to=recipient, body=body), sender, new_id(), worker.settings.max_body)


@router.post(
    "/api/chat/create_chat",
    dependencies=[Depends(POSTING)],
    openapi_extra=described(CreateChat, "One text."),
    responses=answer(200, "sent", TOLD)
    | refusals(TOLD, *ASKING, *BODY, "forbidden", "refused", "rate_limited", "inbox_full", "internal"),
)
async def create_chat(request: Request) -> Response:
    """Sends a text. The answer's shape is the older service's, failures included."""
    worker = worker_of(request)
    headers: dict[str, str] = {}
    try:
        asking = await POSTING.admit(request)
        if asking is not None:
            rates_of(request).admit(request, asking)
        asked = await read_model(request, CreateChat, worker.settings.max_frame)
        if asking is not None and asked.sender != asking.user:
            sender_of(asking, asked.sender)
        told = await commit(worker, _message(worker, asked.sender, asked.recipient, asked.msg))
        fault = told.fault
    except ClientError as error:
        fault = error.fault
        headers = error.headers if isinstance(error, Denied) else {}
    if fault is None:
        return _answer(200, "成功")
    return _answer(fault.status, fault.detail, headers)


def _answer(code: int, text: str, headers: dict[str, str] | None = None) -> Response:
    content = orjson.dumps({"code": code, "msg": text, "data": ""})
    return Response(content, code, headers, media_type="application/json")
