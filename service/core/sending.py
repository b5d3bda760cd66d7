"""A message on its way in: from what a sender asked for to what it is told became of it. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from service.core import strict_json
from service.core.cursor import Cursor
from service.core.entries import message_fields, message_tail
from service.core.errors import ClientError, Fault
from service.core.frames import Send

_CANONICAL = orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True)
class Message:
    """A validated message. `body`: compact JSON; `print`: its fingerprint, the same for any key order."""

    id: str
    sender: str
    to: tuple[str, ...]
    body: bytes
    print: str
    expires_in: int = 0  # seconds; 0: never
    listed: bool = False  # `to` was a list

    @property
    def identity(self) -> str:
        """Field of the `seen` hashes."""
        return f"m/{self.sender}/{self.id}"

    def to_of(self, user: str) -> str:
        """What the entry in `user`'s inbox says in `to`: the list only in the sender's own."""
        return ",".join(self.to) if user == self.sender else user

    def fields(self, user: str) -> list[str | bytes]:
        return message_fields(self.id, self.sender, self.to_of(user), self.body)

    def tail(self, user: str) -> bytes:
        return message_tail(self.id, self.sender, self.to_of(user), self.body)


def message_of(send: Send, sender: str, id: str, max_body: int) -> Message:
    """Raises ClientError `too_large`, `invalid_field`."""
    to = (send.to,) if isinstance(send.to, str) else tuple(send.to)
    if len(set(to)) != len(to):
        raise ClientError("invalid_field", "to: names a user twice", "to")
    body = strict_json.compact(send.body, max_body)
    return Message(id, sender, to, body, fingerprint(send.body), send.expires_in or 0, not isinstance(send.to, str))


def fingerprint(body: Any) -> str:
    """16 hex digits that are equal for equal JSON values."""
    return hashlib.blake2b(orjson.dumps(body, option=_CANONICAL), digest_size=8).hexdigest()


class AppendStatus(IntEnum):
    """What `append.lua` says of one op."""

    APPENDED = 1
    DUPLICATE = 2
    REUSED = 3
    FULL = 4
    LEFT_OUT = 5
    FAILED = 6


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer for one recipient. `presence`: device → worker/session/attempt at that instant."""

    status: AppendStatus
    cursor: Cursor | None = None
    prev: Cursor | None = None
    presence: tuple[tuple[str, str], ...] = ()


_REFUSALS = {
    AppendStatus.REUSED: Fault("id_reused", "this id was used for a message with another body", "id"),
    AppendStatus.FULL: Fault("inbox_full", "too many entries wait there unacked; nothing was dropped"),
    AppendStatus.FAILED: Fault("internal", "this recipient's inbox cannot be written to"),
}
OUT_OF_ORDER = Fault("out_of_order", "an earlier send of this connection failed: repeat that one first, or skip it")
UNAVAILABLE = Fault("unavailable", "the store cannot be reached or refuses writes; send it again with the same id")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sender is told. `fault` is None where at least one recipient has the message."""

    status: int
    content: dict[str, Any]
    fault: Fault | None = None


def outcome(message: Message, results: Sequence[Appended], durability: str) -> Outcome:
    """`results`: one per recipient, in the order of `message.to`."""
    accepted = [r for r in results if r.cursor is not None]
    new = [r for r in accepted if r.status is AppendStatus.APPENDED]
    mixed = bool(new) and len(new) < len(accepted)
    recipients = [_recipient(user, result, mixed) for user, result in zip(message.to, results, strict=True)]
    fault = next((_REFUSALS[r.status] for r in results if r.cursor is None), None)
    if not accepted and fault is not None:
        return Outcome(fault.status, {"recipients": recipients} if message.listed else {}, fault)
    first = accepted[0].cursor
    assert first is not None  # it is one of the accepted
    content = {
        "id": message.id,
        "from": message.sender,
        "ts": first.ms,
        "duplicate": not new,
        "durability": durability,
        "recipients": recipients,
    }
    return Outcome(202 if new else 200, content)


def _recipient(user: str, result: Appended, mixed: bool) -> dict[str, Any]:
    if result.cursor is None:
        return {"to": user, "error": _REFUSALS[result.status].code}
    if mixed:
        return {"to": user, "cursor": str(result.cursor), "duplicate": result.status is AppendStatus.DUPLICATE}
    return {"to": user, "cursor": str(result.cursor)}
