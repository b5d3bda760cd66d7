"""What the scripted server remembers: a log for each user, cursors of devices, ids that were accepted. Pure."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.cursors import START, Cursor

Frame = dict[str, Any]

FIRST_MS = 1_795_350_000_000


class RefusedError(Exception):
    """A send that is refused with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fingerprint(body: Any) -> str:
    """Equal for equal JSON values; key order does not count."""
    return json.dumps(body, sort_keys=True, ensure_ascii=False)


def identity(frame: Frame) -> tuple[str, str, str]:
    """`type/(from or by)/id`, by which clients drop repeats."""
    return str(frame["type"]), str(frame.get("from") or frame.get("by") or ""), str(frame.get("id"))


@dataclass
class Entry:
    """`gone`: why it does not come any more; None while it does."""

    cursor: Cursor
    frame: Frame
    gone: str | None = None


@dataclass
class Inbox:
    """One user's. `generations`: what it held before each time it lost its tail."""

    user: str
    entries: list[Entry] = field(default_factory=list)
    last: Cursor = START
    seen: dict[tuple[str, str], tuple[Cursor, str]] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    generations: list[list[Entry]] = field(default_factory=list)

    def holds(self, cursor: Cursor) -> bool:
        """Whether a device may stand there: at the beginning, or at an entry."""
        return cursor == START or any(entry.cursor == cursor for entry in self.entries)

    def stored(self, device: str) -> Cursor:
        return self.cursors.get(device, START)

    def ack(self, device: str, upto: Cursor) -> None:
        self.cursors[device] = max(self.stored(device), upto)

    def after(self, position: Cursor) -> Entry | Frame | None:
        """What comes next for a device that stands at `position`: an entry, a gap, or nothing yet."""
        coming = itertools.dropwhile(lambda entry: entry.cursor <= position, self.entries)
        first = next(coming, None)
        if first is None or first.gone is None:
            return first
        run = [first, *itertools.takewhile(lambda entry: entry.gone == first.gone, coming)]
        return {
            "type": "gap",
            "after": str(position),
            "cursor": str(run[-1].cursor),
            "missing": len(run),
            "reason": first.gone,
        }

    def pending(self, position: Cursor) -> int:
        return sum(entry.cursor > position for entry in self.entries)

    def lose(self, entries: Iterable[Entry], reason: str) -> None:
        """These will not come any more; a gap stands for them."""
        for entry in entries:
            entry.gone = reason

    def rewind(self, keep: int) -> None:
        """Loses everything behind the first `keep` entries, and the memory of it: other messages may get its place."""
        self.generations.append(list(self.entries))
        lost = self.entries[keep:]
        del self.entries[keep:]
        self.last = self.entries[-1].cursor if self.entries else START
        for entry in lost:
            self.seen.pop((str(entry.frame.get("from")), str(entry.frame.get("id"))), None)
        for device, cursor in self.cursors.items():
            self.cursors[device] = min(cursor, self.last)

    def messages(self) -> list[Frame]:
        return [entry.frame for entry in self.entries if entry.frame["type"] == "message"]


class Inboxes:
    """All of them. The clock ticks once for each entry, so that a test can set it back (`ms`)."""

    def __init__(self) -> None:
        self.ms = FIRST_MS
        self.own_copies = False
        self.refusing: dict[str, str] = {}  # recipient → the code it is refused with
        self._by_user: dict[str, Inbox] = {}

    def of(self, user: str) -> Inbox:
        return self._by_user.setdefault(user, Inbox(user))

    def put(self, user: str, frame: Frame) -> Cursor:
        """An entry of any type; its cursor."""
        self.ms += 1
        inbox = self.of(user)
        inbox.last = Cursor(max(self.ms, inbox.last.ms), inbox.last.seq + 1)
        inbox.entries.append(Entry(inbox.last, {**frame, "cursor": str(inbox.last), "ts": inbox.last.ms}))
        return inbox.last

    def send(self, sender: str, id: str, to: str | list[str], body: Any) -> Frame:
        """The `accepted` frame. Raises RefusedError where no recipient takes it."""
        names = [to] if isinstance(to, str) else to
        rows = [self._deliver(sender, id, name, names, body) for name in names]
        refused = [row["error"] for row in rows if "error" in row]
        if len(refused) == len(rows):
            raise RefusedError(refused[0])
        duplicate = all(row.pop("duplicate", True) for row in rows)
        if self.own_copies and sender not in names:
            self._copy(sender, id, to, body)
        taken = next(row for row in rows if "cursor" in row)
        ts = Cursor.parse(taken["cursor"]).ms
        return {
            "type": "accepted",
            "id": id,
            "ts": ts,
            "duplicate": duplicate,
            "durability": "fsynced",
            "recipients": rows,
        }

    def _deliver(self, sender: str, id: str, name: str, names: list[str], body: Any) -> Frame:
        inbox, print_ = self.of(name), fingerprint(body)
        if known := inbox.seen.get((sender, id)):
            if known[1] != print_:
                return {"to": name, "error": "id_reused"}
            return {"to": name, "cursor": str(known[0]), "duplicate": True}
        if code := self.refusing.get(name):
            return {"to": name, "error": code}
        to: Any = names if name == sender and len(names) > 1 else name
        cursor = self.put(name, {"type": "message", "id": id, "from": sender, "to": to, "body": body})
        inbox.seen[sender, id] = (cursor, print_)
        return {"to": name, "cursor": str(cursor), "duplicate": False}

    def _copy(self, sender: str, id: str, to: str | list[str], body: Any) -> None:
        inbox = self.of(sender)
        if (sender, id) not in inbox.seen:
            cursor = self.put(sender, {"type": "message", "id": id, "from": sender, "to": to, "body": body})
            inbox.seen[sender, id] = (cursor, fingerprint(body))
