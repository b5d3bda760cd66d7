"""The wire's words: what clients send, validated, and the plain frames they get.

The models are strict (`true` is no number) and refuse unknown fields; `docs/protocol.md` says the
same, and a test holds the two together.
"""

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.core.cursor import Cursor
from service.core.errors import Fault

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")]
"""A user or a device."""
MessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-@:+]{1,64}$")]
CursorText = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$")]

MAX_RECIPIENTS = 100
MAX_WATCHED = 200
SIGNAL_BYTES = 1024
MAX_EXPIRES_IN = 2_592_000
MAX_WINDOW = 1024


class Strict(BaseModel):
    """What a client wrote: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Users = Name | Annotated[list[Name], Field(min_length=1, max_length=MAX_RECIPIENTS)]
"""One user, or several."""
TO_OR_GROUP: ConfigDict = {"json_schema_extra": {"oneOf": [{"required": ["to"]}, {"required": ["group"]}]}}


class FieldError(ValueError):
    """What is wrong with fields together; `field` is the one that is told."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def _one_of(field: str, value: object, group: object) -> None:
    """Raises what names `field` unless exactly one of the two is there."""
    if (value is None) == (group is None):
        raise FieldError(field, f"exactly one of {field} and group is wanted")


class Addressed(Strict):
    """What goes to users or to a group. `from`: only with the scope `send:any` another than oneself."""

    model_config = TO_OR_GROUP

    to: Users | None = None
    group: Name | None = None
    sender: Annotated[Name | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        _one_of("to", self.to, self.group)
        return self


class Send(Addressed):
    """A message as it is asked for, over HTTP and WebSocket. `receipts` False: the sender wants to hear of none."""

    id: MessageId | None = None
    body: Any
    expires_in: Annotated[int, Field(ge=1, le=MAX_EXPIRES_IN)] | None = None
    receipts: bool = True


class SendFrame(Send):
    """`send`: answered by `accepted` or `error` with the same id."""

    type: Literal["send"]
    id: MessageId


class Change(Addressed):
    """What changes a message that was sent: `target` is its id, `target_from` its sender (absent: oneself)."""

    id: MessageId
    target: MessageId
    target_from: Name | None = None


class Edit(Change):
    """`edit`: one's own message says this instead."""

    type: Literal["edit"]
    body: Any


class Delete(Change):
    """`delete`: one's own message is gone, and erased where it lay."""

    type: Literal["delete"]


class React(Change):
    """`react`: what one has to say of a message, in a few bytes; null takes it back."""

    type: Literal["react"]
    body: Any


class ReadUpto(Strict):
    """The user has read the messages `from` somebody up to the id `upto`, or of a group up to that number."""

    sender: Annotated[Name | None, Field(alias="from")] = None
    group: Name | None = None
    upto: MessageId | Annotated[int, Field(ge=1, lt=2**53)]

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        _one_of("from", self.sender, self.group)
        if isinstance(self.upto, int) != (self.group is not None):
            raise FieldError("upto", "a message's id, or of a group its number there")
        return self


class Read(ReadUpto):
    """`read`: as `ReadUpto`."""

    type: Literal["read"]


class Signal(Addressed):
    """`signal`: typing and the like, to whoever is online now."""

    type: Literal["signal"]
    body: Any


class Watch(Strict):
    """`watch`: tell the presence of these users, now and on change."""

    type: Literal["watch"]
    users: Annotated[list[Name], Field(min_length=1, max_length=MAX_WATCHED)]


class Unwatch(Strict):
    """`unwatch`: no more of these."""

    type: Literal["unwatch"]
    users: Annotated[list[Name], Field(min_length=1, max_length=MAX_WATCHED)]


class Hello(Strict):
    """`hello`: the first frame of a connection."""

    type: Literal["hello"]
    device: Name
    token: Annotated[str | None, Field(repr=False)] = None
    cursor: CursorText | None = None
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = 256
    attempt: Annotated[int, Field(ge=0, lt=2**53)] | None = None


class Ack(Strict):
    """`ack`: everything up to `cursor` is handled by this device."""

    type: Literal["ack"]
    cursor: CursorText


class Skip(Strict):
    """`skip`: gives up a send that failed with `unavailable`."""

    type: Literal["skip"]
    id: MessageId


class History(Strict):
    """`history`: one page of one's own inbox: `before` a cursor newest first, `after` one oldest first."""

    type: Literal["history"]
    ref: Annotated[str, StringConstraints(max_length=128)]
    before: CursorText | None = None
    after: CursorText | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    peer: Annotated[Name | None, Field(alias="with")] = None
    group: Name | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.before is not None and self.after is not None:
            raise FieldError("after", "before or after, not both")
        if self.peer is not None and self.group is not None:
            raise FieldError("group", "with or group, not both")
        return self


class Auth(Strict):
    """`auth`: a fresh token for the same user, before the old one is over. Answered by `authed`."""

    type: Literal["auth"]
    token: Annotated[str, Field(repr=False)]


class Ping(Strict):
    """`ping`: answered by `pong`."""

    type: Literal["ping"]
    ref: Annotated[str, StringConstraints(max_length=128)] | None = None


ClientFrame = (
    SendFrame | Edit | Delete | React | Ack | Hello | Skip | Read | Signal | Watch | Unwatch | History | Auth | Ping
)
FRAMES: dict[str, type[ClientFrame]] = {
    "send": SendFrame,
    "ack": Ack,
    "hello": Hello,
    "skip": Skip,
    "edit": Edit,
    "delete": Delete,
    "react": React,
    "read": Read,
    "signal": Signal,
    "watch": Watch,
    "unwatch": Unwatch,
    "history": History,
    "auth": Auth,
    "ping": Ping,
}


def error_frame(fault: Fault, *, id: str | None = None, ref: str | None = None, **more: Any) -> bytes:
    """`error`: the connection stays, unless a close follows. `more`: `recipients`, where all of several refused."""
    content: dict[str, Any] = {"type": "error", "code": fault.code, "message": fault.detail}
    if id is not None:
        content["id"] = id
    if ref is not None:
        content["ref"] = ref
    if fault.field is not None:
        content["field"] = fault.field
    content["retryable"] = fault.retryable
    content.update(more)
    return orjson.dumps(content)


def pong_frame(ref: str | None) -> bytes:
    """`pong`: the answer to `ping`."""
    return orjson.dumps({"type": "pong"} if ref is None else {"type": "pong", "ref": ref})


def authed_frame() -> bytes:
    """`authed`: the answer to `auth`; from here on the fresh token counts."""
    return b'{"type":"authed"}'


def live_frame(cursor: Cursor) -> bytes:
    """`live`: replay has caught up."""
    return f'{{"type":"live","cursor":"{cursor}"}}'.encode()


def closing_frame(reason: str, reconnect_after_ms: int) -> bytes:
    """`closing`: the server is about to close; reconnect after that many ms."""
    return orjson.dumps({"type": "closing", "reason": reason, "reconnect_after_ms": reconnect_after_ms})


def broadcast_frame(body: bytes, ts: int) -> bytes:
    """`body`: compact JSON."""
    return b'{"type":"broadcast","body":' + body + b',"ts":%d}' % ts


def signal_frame(sender: str, user: str, group: str | None, body: bytes, ts: int) -> bytes:
    """`body`: compact JSON; `user`: who gets it, unless it is a group's. Names need no escaping."""
    where = f'"to":"{user}"' if group is None else f'"group":"{group}"'
    return f'{{"type":"signal","from":"{sender}",{where},"body":'.encode() + body + b',"ts":%d}' % ts


def presence_frame(user: str, online: bool, last_seen: int | None) -> bytes:
    """`last_seen`: ms."""
    status, seen = ("online" if online else "offline"), ("null" if last_seen is None else last_seen)
    return f'{{"type":"presence","user":"{user}","status":"{status}","last_seen":{seen}}}'.encode()


def history_frame(ref: str, entries: list[bytes], more: bool) -> bytes:
    """`entries`: frames, newest first."""
    tail = b',"more":true}' if more else b',"more":false}'
    return b'{"type":"history","ref":' + orjson.dumps(ref) + b',"entries":[' + b",".join(entries) + b"]" + tail
