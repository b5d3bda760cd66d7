"""What is left of a message that was deleted: a row of `chat:erased`, and the frame that stands in its place. Pure.

A row is `<cursor> <id> <from> to <users>`, or of a group's message `<cursor> <id> <from> group <group>/<number>`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.core.cursor import Cursor
from service.core.entries import Entry

_NAME = rb"[A-Za-z0-9._\-@:+]{1,128}"
_ROW = re.compile(
    rb"(\d{1,16}-\d{1,16}) ([A-Za-z0-9._\-@:+]{1,64}) (%b) (?:to (%b(?:,%b)*)|group (%b)/(\d{1,16}))" % ((_NAME,) * 4)
)


@dataclass(slots=True)
class Deleted(Entry):
    """Stands where a message was that was deleted."""


@dataclass(frozen=True, slots=True)
class Erased:
    """One row, as far as it can be read. `fields`: as a stream would hold them, with the kind `deleted`."""

    cursor: Cursor
    fields: Mapping[bytes, bytes]

    @property
    def entry(self) -> Deleted:
        """What a page shows in its place."""
        fields = self.fields
        if b"group" in fields:
            where = b'"group":"%b","seq":%d' % (fields[b"group"], int(fields[b"seq"]))
        else:
            users = fields[b"to"]
            where = b'"to":"%b"' % users if b"," not in users else b'"to":["%b"]' % users.replace(b",", b'","')
        tail = b'{"type":"deleted","id":"%b","from":"%b",%b}' % (fields[b"id"], fields[b"from"], where)
        return Deleted(self.cursor, tail)


def erased_row(cursor: Cursor, fields: Mapping[bytes, bytes]) -> str:
    """The row for a message, from its stream fields. Raises KeyError, ValueError for what is no message of ours."""
    where = b"to " + fields[b"to"] if b"group" not in fields else b"group %b/%b" % (fields[b"group"], fields[b"seq"])
    return (b"%b %b %b %b" % (cursor.raw(), fields[b"id"], fields[b"from"], where)).decode("ascii")


def read_row(row: bytes) -> Erased | None:
    """None for what is no row of ours."""
    found = _ROW.fullmatch(row)
    if found is None:
        return None
    cursor, id, sender, users, group, number = found.groups()
    where = {b"to": users} if group is None else {b"group": group, b"seq": number}
    return Erased(Cursor.of(cursor), {b"kind": b"deleted", b"id": id, b"from": sender, **where})


def read_rows(rows: Iterable[bytes]) -> list[Erased]:
    """Those that can be read."""
    return [found for row in rows if (found := read_row(row)) is not None]


def merged(entries: Sequence[Entry], erased: Sequence[Deleted]) -> list[Entry]:
    """Both in order. What was erased while the entries were being read stands in both: it is erased."""
    if not erased:
        return list(entries)
    gone = {entry.cursor for entry in erased}
    return sorted([*erased, *(entry for entry in entries if entry.cursor not in gone)], key=_position)


def _position(entry: Entry) -> Cursor:
    return entry.cursor
