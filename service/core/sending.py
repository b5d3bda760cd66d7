"""A message on its way in: from what a sender asked for to what it is told became of it. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import orjson

from service.core import strict_json
from service.core.cursor import Cursor
from service.core.entries import Fields, Kind, flat, message_fields, message_tail, tail_of
from service.core.errors import ClientError, Fault
from service.core.frames import Delete, Edit, React, Send

_CANONICAL = orjson.OPT_SORT_KEYS


@dataclass(slots=True)
class Message:
    """What somebody sends, validated: a message, or an edit, deletion or reaction to one (`target`, of `target_from`).
    Nobody changes it.

    `body`: compact JSON (of a deletion empty); `print`: a fingerprint of it and of the target, the same for any key
    order. `receipts`: whether the sender wants to hear of this one. `erases`: of a deletion, user → the row of
    `chat:erased`, which begins with the cursor, where the message lies in that inbox.
    """

    id: str
    sender: str
    to: tuple[str, ...]
    body: bytes
    print: str
    expires_in: int = 0  # seconds; 0: never
    listed: bool = False  # `to` was a list
    kind: Kind = Kind.MESSAGE
    target: str = ""
    target_from: str = ""
    receipts: bool = True
    erases: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        """Field of the `seen` hashes."""
        return f"{'m' if self.kind is Kind.MESSAGE else self.kind}/{self.sender}/{self.id}"

    def erased_in(self, user: str) -> str:
        """What is erased of `user`'s inbox; "" for nothing."""
        return next((row for name, row in self.erases if name == user), "") if self.erases else ""

    def to_of(self, user: str) -> str:
        """What the entry in `user`'s inbox says in `to`: the list only in the sender's own."""
        return ",".join(self.to) if user == self.sender else user

    def fields(self, user: str) -> Fields:
        if self.kind is Kind.MESSAGE and self.receipts:
            return message_fields(self.id, self.sender, self.to_of(user), self.body)
        return sent_fields(self, ["to", self.to_of(user)])

    def tail(self, user: str) -> bytes:
        if self.kind is Kind.MESSAGE:
            return message_tail(self.id, self.sender, self.to_of(user), self.body)
        return tail_of(flat(self.fields(user)))


def sent_fields(message: Message, where: Fields) -> Fields:
    """Stream fields of anything sent; `where`: `to` with its value, or `group` and `seq` with theirs."""
    fields: Fields = ["kind", message.kind, "id", message.id]
    if message.target:
        fields += ["target", message.target, "target_from", message.target_from]
    fields += ["from", message.sender, *where]
    if not message.receipts:
        fields += ["receipts", "off"]
    if message.body:
        fields += ["body", message.body]
    return fields


def message_of(send: Send, sender: str, id: str, max_body: int) -> Message:
    """A message to users, or to a group: then `to` names nobody. Raises ClientError `too_large`, `invalid_field`."""
    to = recipients_of(send.to)
    body = strict_json.compact(send.body, max_body)
    expires, listed = send.expires_in or 0, not isinstance(send.to, str)
    return Message(id, sender, to, body, fingerprint(send.body), expires, listed, receipts=send.receipts)


REACTION_BYTES = 1024
"""Of a reaction's body."""


def change_of(change: Edit | Delete | React, sender: str, max_body: int) -> Message:
    """An edit, deletion or reaction; its `erases` are not known yet. Raises ClientError `too_large`,
    `invalid_field`.
    """
    kind = Kind(change.type)
    target_from = change.target_from or sender
    if kind is not Kind.REACT and target_from != sender:
        raise ClientError("invalid_field", "target_from: only one's own messages can be changed", "target_from")
    body = b""
    if not isinstance(change, Delete):
        body = strict_json.compact(change.body, REACTION_BYTES if kind is Kind.REACT else max_body)
    said = [change.target, target_from, None if isinstance(change, Delete) else change.body]
    to, listed = recipients_of(change.to), isinstance(change.to, list)
    return Message(
        change.id, sender, to, body, fingerprint(said), listed=listed, kind=kind, target=change.target,
        target_from=target_from,
    )  # fmt: skip


def recipients_of(to: str | Sequence[str] | None) -> tuple[str, ...]:
    """Each once. Raises ClientError `invalid_field`. None: of a group, whose members are not known yet."""
    names = () if to is None else (to,) if isinstance(to, str) else tuple(to)
    if len(set(names)) != len(names):
        raise ClientError("invalid_field", "to: names a user twice", "to")
    return names


def fingerprint(body: Any) -> str:
    """16 hex digits that are equal for equal JSON values."""
    return hashlib.blake2b(orjson.dumps(body, option=_CANONICAL), digest_size=8).hexdigest()


class AppendStatus(IntEnum):
    """What `append.lua` says of one op; the last one is said before it is asked."""

    APPENDED = 1
    DUPLICATE = 2
    REUSED = 3
    FULL = 4
    LEFT_OUT = 5
    FAILED = 6
    BEHIND = 7
    REFUSED = 8
    REWOUND = 9
    UNKNOWN = 10


@dataclass(slots=True)
class Appended:
    """The answer for one recipient. `presence`: device → worker/session/attempt at that instant. `number`: of a
    group's entry that is `BEHIND`, the one that must be appended first; that is `REWOUND`, the last that it has had.
    """

    status: AppendStatus
    cursor: Cursor | None = None
    prev: Cursor | None = None
    presence: tuple[tuple[str, str], ...] = ()
    number: int = 0


_REFUSALS = {
    AppendStatus.REUSED: Fault("id_reused", "this id was used for a message with another body", "id"),
    AppendStatus.FULL: Fault("inbox_full", "too many entries wait there unacked; nothing was dropped"),
    AppendStatus.REFUSED: Fault("refused", "the recipient has blocked this sender"),
    AppendStatus.FAILED: Fault("internal", "this recipient's inbox cannot be written to"),
    AppendStatus.UNKNOWN: Fault("no_such_message", "the message to be changed is not known there", "target"),
}
OUT_OF_ORDER = Fault("out_of_order", "an earlier send of this connection failed: repeat that one first, or skip it")
UNAVAILABLE = Fault("unavailable", "the store cannot be reached or refuses writes; send it again with the same id")


class Outcome(NamedTuple):
    """What a sender is told. `fault` is None where at least one recipient has the message."""

    status: int
    content: dict[str, Any]
    fault: Fault | None = None


def outcome(message: Message, results: Sequence[Appended], durability: str) -> Outcome:
    """`results`: one per recipient, in the order of `message.to`."""
    if len(results) == 1 and (cursor := results[0].cursor) is not None:  # nearly all
        recipients = [{"to": message.to[0], "cursor": str(cursor)}]
        return _accepted(message, cursor, recipients, durability, new=results[0].status is AppendStatus.APPENDED)
    accepted = [r for r in results if r.cursor is not None]
    new = [r for r in accepted if r.status is AppendStatus.APPENDED]
    mixed = bool(new) and len(new) < len(accepted)
    recipients = [_recipient(user, result, mixed) for user, result in zip(message.to, results, strict=True)]
    fault = next((_REFUSALS[r.status] for r in results if r.cursor is None), None)
    if not accepted and fault is not None:
        return Outcome(fault.status, {"recipients": recipients} if message.listed else {}, fault)
    first = accepted[0].cursor
    assert first is not None  # it is one of the accepted
    return _accepted(message, first, recipients, durability, new=bool(new))


def _accepted(
    message: Message, first: Cursor, recipients: list[dict[str, Any]], durability: str, *, new: bool
) -> Outcome:
    content = {
        "id": message.id,
        "from": message.sender,
        "ts": first.ms,
        "duplicate": not new,
        "durability": durability,
        "recipients": recipients,
    }
    return Outcome(202 if new else 200, content)


def accepted_frame(message: Message, result: Appended, durability: str) -> bytes:
    """`accepted`, as `outcome` has it, of a message to one user that was appended. Ids need no escaping."""
    assert result.cursor is not None  # appended
    ms, seq = result.cursor
    return (
        f'{{"type":"accepted","id":"{message.id}","ts":{ms},"duplicate":false,"durability":"{durability}",'
        f'"recipients":[{{"to":"{message.to[0]}","cursor":"{ms}-{seq}"}}]}}'
    ).encode()


def _recipient(user: str, result: Appended, mixed: bool) -> dict[str, Any]:
    if result.cursor is None:
        return {"to": user, "error": _REFUSALS[result.status].code}
    if mixed:
        return {"to": user, "cursor": str(result.cursor), "duplicate": result.status is AppendStatus.DUPLICATE}
    return {"to": user, "cursor": str(result.cursor)}
