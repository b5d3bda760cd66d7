"""A model of one inbox and of one device's cursor on the server, for tests of the session.

It answers as `service/store/inbox.py` does, but a page is read step by step, so that a test can let
something happen between two of its commands.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing, message_tail
from service.core.erased import Deleted, read_row
from service.core.page import Page


class Hint(NamedTuple):
    """What a writer tells the worker of the device."""

    prev: Cursor
    cursor: Cursor
    tail: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry in the stream."""

    id: str
    tail: bytes
    expired: bool = False


@dataclass(slots=True)
class Truth:
    """What a server knows: the stream, its newest cursor, the device's cursor."""

    entries: dict[Cursor, Kept] = field(default_factory=dict)
    last: Cursor = START
    stored: Cursor | None = None
    erased: dict[Cursor, str] = field(default_factory=dict)


class Inbox:
    """One inbox. Cursors are never the same for two messages, even after a rewind (see `_fresh`)."""

    def __init__(self) -> None:
        self.clock = 1000
        self.truth = Truth()
        self.ever: dict[Cursor, str] = {}  # every message appended in any history
        self.taken: set[Cursor] = {START}  # cursors that were named to anybody
        self.gone: set[str] = set()  # messages that were dropped once, though a rewind may have undone that
        self._numbers: Counter[int] = Counter()
        self._past: list[Truth] = []

    @property
    def last(self) -> Cursor:
        return self.truth.last

    @property
    def kept(self) -> list[Cursor]:
        return sorted(self.truth.entries)

    @property
    def deletable(self) -> list[Cursor]:
        """A hole at a number that was handed out twice says nothing about which of the two was deleted, so
        the session cannot tell the histories apart by it; no test deletes there.
        """
        return [cursor for cursor in self.kept if self._numbers[cursor.seq] == 1]

    # What others do to it.

    def append(self, size: int = 10) -> Hint:
        """A message with a body of `size` bytes, and the hint of it."""
        self._remember()
        prev = self.truth.last
        cursor = self._fresh(prev)
        id = f"m{len(self.ever) + 1}"
        tail = message_tail(id, "alice", "bob", b'"' + b"x" * size + b'"')
        self.truth.entries[cursor] = Kept(id, tail)
        self.truth.last = cursor
        self.ever[cursor] = id
        self._numbers[cursor.seq] += 1
        self.taken.add(cursor)
        return Hint(prev, cursor, tail)

    def trim(self, count: int) -> None:
        """Drops the oldest entries; the newest is never trimmed."""
        self._remember()
        for cursor in self.kept[: max(0, min(count, len(self.truth.entries) - 1))]:
            self._drop(cursor)

    def delete(self, cursor: Cursor) -> None:
        self._remember()
        self._drop(cursor)

    def erase(self, cursor: Cursor, *, size: int = 10) -> Hint:
        """A deletion: an entry as any other, and with it the message is gone, but not forgotten."""
        hint = self.append(size)
        self.truth.erased[cursor] = self.truth.entries[cursor].id
        self._drop(cursor)
        return hint

    def forget_erased(self, upto: Cursor) -> None:
        """Of what was trimmed around it, nothing is known any more."""
        self._remember()
        self.truth.erased = {cursor: id for cursor, id in self.truth.erased.items() if cursor > upto}

    def expire(self, cursor: Cursor) -> None:
        self._remember()
        self.truth.entries[cursor] = replace(self.truth.entries[cursor], expired=True)

    def drop(self) -> None:
        """Retention: the stream goes, its newest cursor stays."""
        self._remember()
        for cursor in self.kept:
            self._drop(cursor)

    def ack(self, cursor: Cursor) -> None:
        """As `ack.lua`: only forward, never beyond the newest."""
        if START < cursor <= self.truth.last and cursor > (self.truth.stored or START):
            self._remember()
            self.truth.stored = cursor

    def rewind(self, changes: int, clock: int = 0) -> None:
        """The server is another one, which has not seen the last so many changes; its clock is `clock` ms off."""
        for _ in range(min(changes, len(self._past))):
            self.truth = self._past.pop()
        self.clock = max(1, self.clock + clock)

    # What the store reads.

    def claim(self) -> Cursor:
        """Registers the device; its stored cursor."""
        if self.truth.stored is None:
            first = self.kept[0] if self.kept else None
            before = Cursor(first.ms, first.seq - 1) if first and first.seq > 1 else START
            before = next((cursor for cursor in self.truth.erased if first and cursor.seq == first.seq - 1), before)
            self.truth.stored = before if first else self.truth.last
            self.taken.add(before)
        return self.truth.stored

    def reading(self, after: Cursor, count: int) -> Iterator[Page | None]:
        """The commands of a page one by one; the last one gives the page."""
        last = self.truth.last
        yield None
        rows = [self._entry(cursor) for cursor in self.kept if cursor >= after][: count + 1]
        found = bool(rows) and rows[0].cursor == after
        page = Page(after, rows[1:] if found else rows, last, found, len(rows) <= count)
        if page.holed:
            yield None
            if not found and after != START:
                before = max((cursor for cursor in self.kept if cursor <= after), default=None)
                page = replace(page, before=before, stored=self.truth.stored)
            gone = self._erased(after.seq, page.upto)[: count + 2]
            page = page.filled(gone, count, len(gone) < count + 2)
        yield page

    def _erased(self, first: int, last: int) -> list[Deleted]:
        rows = [read_row(f"{cursor} {id} alice to bob".encode()) for cursor, id in sorted(self.truth.erased.items())]
        return [row.entry for row in rows if row is not None and first <= row.cursor.seq <= last]

    def page(self, after: Cursor, count: int) -> Page:
        """The page, read at once."""
        return next(page for page in self.reading(after, count) if page is not None)

    def _entry(self, cursor: Cursor) -> Entry:
        kept = self.truth.entries[cursor]
        return Entry(cursor, Missing.EXPIRED if kept.expired else kept.tail)

    def _fresh(self, prev: Cursor) -> Cursor:
        """Two histories that hand out the same number in the same millisecond cannot be told apart; that they
        do not is assumed here.
        """
        cursor = Cursor(max(self.clock, prev.ms), prev.seq + 1)
        while cursor in self.taken:
            cursor = Cursor(cursor.ms + 1, cursor.seq)
        return cursor

    def _drop(self, cursor: Cursor) -> None:
        self.gone.add(self.truth.entries.pop(cursor).id)

    def _remember(self) -> None:
        self._past.append(replace(self.truth, entries=dict(self.truth.entries), erased=dict(self.truth.erased)))
