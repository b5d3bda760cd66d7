"""History: pages of a whole inbox or of one conversation, both ways, with what was deleted in its place."""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing, read_entry
from service.core.erased import read_rows
from service.core.frames import History
from service.store.client import Clients
from service.store.keys import Keys
from service.store.link import Command, unwrapped

CHUNK = 100
"""Entries read at a time while a history is filtered."""
MOST_BYTES = 512 << 10
"""What one page of history holds at most, unless a single entry is larger."""
SAID = frozenset((b"message", b"edit", b"delete", b"react", b"deleted", b"group"))
"""The kinds that belong to a conversation."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Older than `before` (None: the newest), newest first; or, with `after`, newer than that, oldest first. Of the
    conversation with `peer`, of `group`, or of everything.
    """

    before: Cursor | None = None
    after: Cursor | None = None
    limit: int = 50
    peer: str | None = None
    group: str | None = None

    @classmethod
    def of(cls, frame: History) -> "Asked":
        before, after = (Cursor.parse(text) if text is not None else None for text in (frame.before, frame.after))
        return cls(before, after, frame.limit, frame.peer, frame.group)

    def wants(self, user: str, fields: Mapping[bytes, bytes]) -> bool:
        """Whether an entry of `user` belongs to what was asked for."""
        if self.peer is None and self.group is None:
            return True
        if fields[b"kind"] not in SAID:
            return False
        if self.group is not None or b"group" in fields:
            return self.group is not None and fields.get(b"group") == self.group.encode()
        sender, to = fields[b"from"].decode(), fields.get(b"to", b"").decode().split(",")
        return sender == self.peer if sender != user else self.peer in to


@dataclass(frozen=True, slots=True)
class Found:
    """An entry with its stream fields, or what is left of one."""

    entry: Entry
    fields: Mapping[bytes, bytes]


class Histories:
    """Reads users' inboxes; nothing is acked by it."""

    def __init__(self, clients: Clients, keys: Keys) -> None:
        self._rest = clients.rest
        self._keys = keys

    async def read(self, user: str, asked: Asked, now_ms: int) -> tuple[list[Entry], bool]:
        """Up to `limit` entries, and whether there are more. What has expired is left out. Raises Unavailable."""
        kept: list[Entry] = []
        size = 0
        async with contextlib.aclosing(self._walk(user, asked, now_ms)) as walk:
            async for found in walk:
                entry = found.entry
                if isinstance(entry.tail, Missing) or not asked.wants(user, found.fields):
                    continue
                if len(kept) == asked.limit or (kept and size + entry.size > MOST_BYTES):
                    return kept, True
                kept.append(entry)
                size += entry.size
        return kept, False

    async def _walk(self, user: str, asked: Asked, now_ms: int) -> AsyncGenerator[Found]:
        """All entries, in the order asked for. What comes meanwhile is seen where the walk has not been yet."""
        older = asked.after is None
        position = asked.before if older else asked.after
        while position != START or not older:
            rows, gone = unwrapped(await self._rest.pipeline(self._chunk(user, position, older=older)))
            erased = read_rows(gone)
            found = {id: Found(read_entry(id, fields, now_ms), fields) for id, fields in _of_stream(rows)}
            found |= {row.cursor: Found(row.entry, row.fields) for row in erased}
            # Where one of the two goes on, the other is known only as far as this one is.
            ends = [Cursor.of(id) for id, _ in rows[-1:]] * (len(rows) == CHUNK)
            ends += [row.cursor for row in erased[-1:]] * (len(gone) == CHUNK)
            end = (max(ends) if older else min(ends)) if ends else None
            if position is not None:  # a row that somebody wrote by hand may lie anywhere
                found = {cursor: one for cursor, one in found.items() if (cursor < position) == older}
            for cursor in sorted(found, reverse=older):
                if end is None or cursor == end or (cursor > end) == older:
                    yield found[cursor]
            if end is None or end == position:
                return
            position = end

    def _chunk(self, user: str, position: Cursor | None, *, older: bool) -> list[Command]:
        keys = self._keys.of(user)
        if not older:
            assert position is not None  # asked for entries after it
            return [
                ("XRANGE", keys.inbox, f"({position}", "+", "COUNT", CHUNK),
                ("ZRANGEBYSCORE", keys.erased, f"({position.seq}", "+inf", "LIMIT", 0, CHUNK),
            ]
        below, number = ("+", "+inf") if position is None else (f"({position}", f"({position.seq}")
        return [
            ("XREVRANGE", keys.inbox, below, "-", "COUNT", CHUNK),
            ("ZREVRANGEBYSCORE", keys.erased, number, "-inf", "LIMIT", 0, CHUNK),
        ]


def _of_stream(rows: list[Any]) -> Iterator[tuple[Cursor, Mapping[bytes, bytes]]]:
    for id, fields in rows:
        yield Cursor.of(id), fields
