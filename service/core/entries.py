"""Entries: what an inbox holds, as stream fields and as wire frames.

An entry's frame without its position is its **tail** (`{"type":"message","id":…,"body":…}`): it is
built once, travels in hints as it is, and gets `cursor`, `ts` and `replay` when it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.core.cursor import Cursor


class Missing(StrEnum):
    """Why entries will not come: `reason` of a `gap` frame."""

    TRIMMED = "trimmed"
    EXPIRED = "expired"
    DELETED = "deleted"
    REWOUND = "rewound"


@dataclass(frozen=True, slots=True)
class Entry:
    """One position of an inbox: its `tail`, or why there is none."""

    cursor: Cursor
    tail: bytes | Missing

    @property
    def size(self) -> int:
        """Bytes it takes in a device's window."""
        return len(self.tail)


def message_fields(id: str, sender: str, to: str, body: bytes) -> list[str | bytes]:
    """Stream fields of a message, flat: name, value, name, value …"""
    return ["kind", "message", "id", id, "from", sender, "to", to, "body", body]


def message_tail(id: str, sender: str, to: str, body: bytes) -> bytes:
    """`to`: a user, or several with commas between. Ids need no escaping: their alphabet has no quotes."""
    named = f'"{to}"' if "," not in to else '["' + to.replace(",", '","') + '"]'
    return f'{{"type":"message","id":"{id}","from":"{sender}","to":{named},"body":'.encode() + body + b"}"


def read_entry(cursor: Cursor, fields: Mapping[bytes, bytes], now_ms: int) -> Entry:
    """An entry as the stream holds it. What is not an entry of ours reads as `deleted`, never as an error."""
    try:
        expires = fields.get(b"expires")
        if expires is not None and int(expires) <= now_ms:
            return Entry(cursor, Missing.EXPIRED)
        if fields[b"kind"] != b"message":
            return Entry(cursor, Missing.DELETED)
        id, sender, to = (fields[name].decode("ascii") for name in (b"id", b"from", b"to"))
        return Entry(cursor, message_tail(id, sender, to, fields[b"body"]))
    except (KeyError, ValueError):
        return Entry(cursor, Missing.DELETED)


def frame(tail: bytes, cursor: Cursor, replay: bool) -> bytes:
    """The wire frame of an entry."""
    if replay:
        return tail[:-1] + b',"cursor":"%d-%d","ts":%d,"replay":true}' % (cursor.ms, cursor.seq, cursor.ms)
    return tail[:-1] + b',"cursor":"%d-%d","ts":%d}' % (cursor.ms, cursor.seq, cursor.ms)


def gap_frame(after: Cursor, cursor: Cursor, missing: int | None, reason: Missing) -> bytes:
    """The entries after `after` up to and including `cursor` will not come."""
    count = "null" if missing is None else str(missing)
    return f'{{"type":"gap","after":"{after}","cursor":"{cursor}","missing":{count},"reason":"{reason}"}}'.encode()
