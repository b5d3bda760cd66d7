"""Pages: what was read of an inbox, whether it can be believed, and what a device is told of its holes. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing
from service.core.erased import Deleted, merged


@dataclass(frozen=True, slots=True)
class Gap:
    """The entries after `after` up to and including `upto` will not come. `missing` None: nobody knows how many."""

    after: Cursor
    upto: Cursor
    missing: int | None
    reason: Missing

    @property
    def expired(self) -> int:
        """How many of them are missing because they expired."""
        return (self.missing or 0) if self.reason is Missing.EXPIRED else 0


@dataclass(frozen=True, slots=True)
class Page:
    """What the inbox holds from `after` on.

    `found`: the entry at `after` is there. `entries`: those beyond it. `last`: the newest cursor, read
    before the entries. `complete`: the entries reach the end. Only where not found: `before`, the
    nearest entry below `after`, and `stored`, the device's cursor on the server.
    """

    after: Cursor
    entries: Sequence[Entry]
    last: Cursor
    found: bool
    complete: bool
    before: Cursor | None = None
    stored: Cursor | None = None

    @property
    def upto(self) -> int:
        """The number this page reaches."""
        newest = self.entries[-1].cursor.seq if self.entries else self.after.seq
        return max(newest, self.last.seq) if self.complete else newest

    @property
    def holed(self) -> bool:
        """Something is missing: it may have been deleted, which is not to be read off the stream."""
        return (not self.found and self.after != START) or self.upto - self.after.seq > len(self.entries)

    def filled(self, rows: Sequence[Deleted], count: int, whole: bool) -> "Page":
        """With what was deleted in its place: `rows` in order, from the number of `after` on, all there are (`whole`)
        or more than `count`. Where the entry at `after` is not there, one entry more tells what is.
        """
        below = [row.cursor for row in rows if row.cursor < self.after]
        entries = merged(self.entries, [row for row in rows if row.cursor > self.after])
        most = count if self.found else count + 1
        return replace(
            self,
            entries=entries[:most],
            complete=self.complete and whole and len(entries) <= most,
            before=max([*below, self.before] if self.before else below, default=None),
        )

    @property
    def trusted(self) -> bool:
        """Whether this is the history `after` came from: either the entry is there, or there is a hole
        (trimmed, deleted) at exactly its number. Otherwise the server lost its tail and hands numbers out anew.
        What was deleted there under another cursor counts as an entry: see `filled`.
        """
        below = self.before.seq if self.before else -1
        above = self.entries[0].cursor.seq if self.entries else self.last.seq + 1
        older = self.after < self.last and self.after.seq < self.last.seq
        return self.found or ((older or self.after == self.last) and below < self.after.seq < above)

    def items(self) -> Iterator[Entry | Gap]:
        """The entries, and between them the gaps, in order; neighbours missing for one reason share a gap."""
        gap: Gap | None = None
        for item in self._positions():
            if isinstance(item, Entry):
                if gap is not None:
                    yield gap
                    gap = None
                yield item
            elif gap is not None and gap.reason is item.reason:
                gap = Gap(gap.after, item.upto, item.upto.seq - gap.after.seq, gap.reason)
            else:
                if gap is not None:
                    yield gap
                gap = item
        if gap is not None:
            yield gap

    def _positions(self) -> Iterator[Entry | Gap]:
        position = self.after
        hole = Missing.DELETED if self.found or self.before else Missing.TRIMMED
        for entry in self.entries:
            if entry.cursor.seq - 1 > position.seq:
                before = Cursor(entry.cursor.ms, entry.cursor.seq - 1)
                yield Gap(position, before, before.seq - position.seq, hole)
                position = before
            if isinstance(entry.tail, Missing):
                yield Gap(position, entry.cursor, 1, entry.tail)
            else:
                yield entry
            position = entry.cursor
            if not isinstance(entry, Deleted):  # what was deleted is known for longer than its neighbours are kept
                hole = Missing.DELETED
        if self.complete and self.last > position:
            yield Gap(position, self.last, self.last.seq - position.seq, hole)
