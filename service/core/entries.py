"""Entries: what an inbox holds, as stream fields and as wire frames.

An entry's frame without its position is its **tail** (`{"type":"message","id":…,"body":…}`): it is
built once, travels in hints as it is, and gets `cursor`, `ts` and `replay` when it is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson

from service.core.cursor import Cursor


class Missing(StrEnum):
    """Why entries will not come: `reason` of a `gap` frame."""

    TRIMMED = "trimmed"
    EXPIRED = "expired"
    DELETED = "deleted"
    REWOUND = "rewound"


@dataclass(slots=True)
class Entry:
    """One position of an inbox: its `tail`, or why there is none. Nobody changes it; frozen, it takes three times as
    long to make.
    """

    cursor: Cursor
    tail: bytes | Missing

    @property
    def size(self) -> int:
        """Bytes it takes in a device's window."""
        return len(self.tail)


class Kind(StrEnum):
    """What an entry is. The first four are sent by somebody, the others follow from what happened."""

    MESSAGE = "message"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"
    RECEIPT = "receipt"
    READ = "read"
    GROUP = "group"


Fields = list[str | bytes]
"""Stream fields, flat: name, value, name, value …"""


def message_fields(id: str, sender: str, to: str, body: bytes) -> Fields:
    """Of a message to a user, or to several with commas between."""
    return ["kind", "message", "id", id, "from", sender, "to", to, "body", body]


def message_tail(id: str, sender: str, to: str, body: bytes) -> bytes:
    """`to`: a user, or several with commas between. Ids need no escaping: their alphabet has no quotes."""
    return f'{{"type":"message","id":"{id}","from":"{sender}","to":{_named(to)},"body":'.encode() + body + b"}"


def tail_of(fields: Mapping[bytes, bytes]) -> bytes:
    """An entry's tail, from its stream fields. Raises ValueError, KeyError for what is not an entry of ours.

    What goes live is made of the same fields as what is replayed: they cannot differ.
    """
    kind = Kind(fields[b"kind"].decode("ascii"))
    if not _NEEDED[kind] <= fields.keys():
        raise KeyError(kind)
    parts = [f'"type":"{kind}"'.encode()]
    for name, value in fields.items():
        if name not in _NOT_TOLD:
            wire = b"kind" if name == b"receipt" else name
            parts.append(b'"' + wire + b'":' + _told(name, value, kind, b"group" in fields))
    return b"{" + b",".join(parts) + b"}"


def flat(fields: Fields) -> dict[bytes, bytes]:
    """Stream fields as a stream gives them back."""
    raw = [part if isinstance(part, bytes) else part.encode() for part in fields]
    return dict(zip(raw[::2], raw[1::2], strict=True))


_SENT = frozenset((b"id", b"from"))
_NEEDED = {
    Kind.MESSAGE: _SENT | {b"body"},
    Kind.EDIT: _SENT | {b"target", b"target_from", b"body"},
    Kind.DELETE: _SENT | {b"target", b"target_from"},
    Kind.REACT: _SENT | {b"target", b"target_from", b"body"},
    Kind.RECEIPT: frozenset((b"id", b"target", b"receipt", b"by")),
    Kind.READ: frozenset((b"id", b"upto")),
    Kind.GROUP: frozenset((b"id", b"group", b"seq", b"event", b"user", b"by")),
}
_NOT_TOLD = frozenset((b"kind", b"expires", b"receipts"))


def _told(name: bytes, value: bytes, kind: Kind, grouped: bool) -> bytes:
    """A field's value as JSON. Ids are of an alphabet that needs no escaping."""
    if name == b"body":
        return value
    if name == b"seq" or (name == b"upto" and grouped):
        return b"%d" % int(value)
    if name == b"to":
        return _named(value.decode("ascii")).encode()
    if name == b"name":
        return orjson.dumps(value.decode())
    return b'"' + value.decode("ascii").encode() + b'"'


def _named(to: str) -> str:
    return f'"{to}"' if "," not in to else '["' + to.replace(",", '","') + '"]'


def read_entry(cursor: Cursor, fields: Mapping[bytes, bytes], now_ms: int) -> Entry:
    """An entry as the stream holds it. What is not an entry of ours reads as `deleted`, never as an error."""
    try:
        expires = fields.get(b"expires")
        if expires is not None and int(expires) <= now_ms:
            return Entry(cursor, Missing.EXPIRED)
        if fields[b"kind"] == b"message" and b"to" in fields:
            id, sender, to = (fields[name].decode("ascii") for name in (b"id", b"from", b"to"))
            return Entry(cursor, message_tail(id, sender, to, fields[b"body"]))
        return Entry(cursor, tail_of(fields))
    except (KeyError, ValueError):
        return Entry(cursor, Missing.DELETED)


_MESSAGE = [b"kind", b"id", b"from", b"to", b"body"]
"""In the order of `message_fields`."""


def read_flat(cursor: Cursor, fields: Sequence[bytes], now_ms: int) -> Entry:
    """As `read_entry`, of fields as a server sends them: name, value, name, value …"""
    if fields[::2] == _MESSAGE:  # nearly all are
        _, kind, _, id, _, sender, _, to, _, body = fields
        if kind == b"message" and b"," not in to and id.isascii() and sender.isascii() and to.isascii():
            tail = b'{"type":"message","id":"%b","from":"%b","to":"%b","body":%b}' % (id, sender, to, body)
            return Entry(cursor, tail)
    return read_entry(cursor, dict(zip(fields[::2], fields[1::2], strict=True)), now_ms)


def frame(tail: bytes, cursor: Cursor, replay: bool) -> bytes:
    """The wire frame of an entry."""
    if replay:
        return tail[:-1] + b',"cursor":"%d-%d","ts":%d,"replay":true}' % (cursor.ms, cursor.seq, cursor.ms)
    return tail[:-1] + b',"cursor":"%d-%d","ts":%d}' % (cursor.ms, cursor.seq, cursor.ms)


def gap_frame(after: Cursor, cursor: Cursor, missing: int | None, reason: Missing) -> bytes:
    """The entries after `after` up to and including `cursor` will not come."""
    count = "null" if missing is None else str(missing)
    return f'{{"type":"gap","after":"{after}","cursor":"{cursor}","missing":{count},"reason":"{reason}"}}'.encode()
