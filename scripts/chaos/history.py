"""What happened in a run, as its clients saw it: one record after the other. Pure.

`at` is in seconds of the run's own clock. A session is one connection of a device, under the name its client gave it.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from scripts.chaos.cursors import Cursor

Frame = dict[str, Any]
AROUND = frozenset({"receipt", "read"})
"""Entries that are no messages."""
Identity = tuple[str, str]
"""sender, id"""
Reader = tuple[str, str]
"""user, device"""


@dataclass(frozen=True, slots=True)
class Record:
    at: float


@dataclass(frozen=True, slots=True)
class OfMessage(Record):
    sender: str
    id: str

    @property
    def identity(self) -> Identity:
        return self.sender, self.id


@dataclass(frozen=True, slots=True)
class Tried(OfMessage):
    """A send begins; again for each repeat."""

    to: tuple[str, ...]
    body: Any


@dataclass(frozen=True, slots=True)
class Accepted(OfMessage):
    to: str
    cursor: Cursor
    durability: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Refused(OfMessage):
    code: str


@dataclass(frozen=True, slots=True)
class Skipped(OfMessage):
    """Its sender gave it up; it may be in."""


@dataclass(frozen=True, slots=True)
class OfDevice(Record):
    user: str
    device: str
    session: str

    @property
    def reader(self) -> Reader:
        return self.user, self.device


@dataclass(frozen=True, slots=True)
class Hello(OfDevice):
    cursor: Cursor | None
    attempt: int | None


@dataclass(frozen=True, slots=True)
class Welcome(OfDevice):
    cursor: Cursor
    worker: str


@dataclass(frozen=True, slots=True)
class Delivered(OfDevice):
    cursor: Cursor
    sender: str
    id: str
    body: Any
    replay: bool

    @property
    def identity(self) -> Identity:
        return self.sender, self.id


@dataclass(frozen=True, slots=True)
class Told(OfDevice):
    """Another entry than a message. `kind`: its type; `by`: whose it is; `target`: of a receipt, the message."""

    cursor: Cursor
    kind: str
    by: str
    id: str
    target: str
    replay: bool

    @property
    def identity(self) -> Identity:
        return f"{self.kind} {self.by}", self.id


@dataclass(frozen=True, slots=True)
class Gap(OfDevice):
    after: Cursor
    cursor: Cursor
    reason: str
    missing: int | None


@dataclass(frozen=True, slots=True)
class Live(OfDevice):
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Acked(OfDevice):
    """The device sent an ack. `stored`: and the service said that it is stored (HTTP)."""

    cursor: Cursor
    stored: bool


@dataclass(frozen=True, slots=True)
class Closing(OfDevice):
    reconnect_after: float  # seconds


@dataclass(frozen=True, slots=True)
class Ended(OfDevice):
    """`code` is 1006 where no close frame came, 0 where the client itself left."""

    code: int


@dataclass(frozen=True, slots=True)
class Kept(OfMessage):
    """Stands in an inbox when all is over."""

    user: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Mark(Record):
    """`fault` begins, is `over`, or something worth a line happened."""

    what: str


KINDS: dict[str, type[Record]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(Tried, Accepted, Refused, Skipped, Kept, Mark),
        *(Hello, Welcome, Delivered, Told, Gap, Live, Acked, Closing, Ended),
    )
}
CURSORS = {"cursor", "after"}


def line(record: Record) -> str:
    """One line of NDJSON."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    plain = {name: str(value) if isinstance(value, Cursor) else value for name, value in values.items()}
    return json.dumps({"record": type(record).__name__.lower(), **plain}, ensure_ascii=False)


def parse(text: str) -> Record:
    """The record of a line. Raises ValueError, KeyError, TypeError for what is none."""
    values = json.loads(text)
    kind = KINDS[values.pop("record")]
    for name in CURSORS & set(values):
        values[name] = None if values[name] is None else Cursor.parse(values[name])
    if "to" in values and kind is Tried:
        values["to"] = tuple(values["to"])
    return kind(**values)


def load(lines: Iterable[str]) -> "History":
    """A history from its NDJSON."""
    history = History()
    for text in lines:
        history.note(parse(text))
    return history


class History:
    """Collects a run, and knows at any moment who still misses what."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.records: list[Record] = []
        self.bodies: dict[Identity, Any] = {}
        self.sent: dict[str, list[str]] = defaultdict(list)  # sender → ids in the order of their first try
        self.accepted_at: dict[str, dict[Identity, Cursor]] = defaultdict(dict)
        self._seen: dict[Reader, set[Cursor]] = defaultdict(set)
        self._gaps: dict[Reader, list[tuple[Cursor, Cursor]]] = defaultdict(list)
        self._repeats: dict[Reader, int] = defaultdict(int)

    def note(self, record: Record) -> None:
        """Adds a record; the methods below make them out of what a client knows."""
        self.records.append(record)
        if isinstance(record, Tried):
            if record.identity not in self.bodies:
                self.bodies[record.identity] = record.body
                self.sent[record.sender].append(record.id)
        elif isinstance(record, Accepted):
            self.accepted_at[record.to].setdefault(record.identity, record.cursor)
        elif isinstance(record, Delivered):
            seen = self._seen[record.reader]
            self._repeats[record.reader] += record.cursor in seen
            seen.add(record.cursor)
        elif isinstance(record, Gap):
            self._gaps[record.reader].append((record.after, record.cursor))

    # Sends

    def attempted(self, sender: str, message_id: str, body: Any, to: Iterable[str] = ()) -> None:
        """A send begins, for the first time or again."""
        self.note(Tried(self.clock(), sender, message_id, tuple(to), body))

    def accepted(
        self,
        sender: str,
        message_id: str,
        recipient: str,
        cursor: str,
        durability: str = "",
        duplicate: bool = False,
    ) -> None:
        """The service took the message for this recipient."""
        at = Cursor.parse(cursor)
        self.note(Accepted(self.clock(), sender, message_id, recipient, at, durability, duplicate))

    def refused(self, sender: str, message_id: str, code: str) -> None:
        """The service answered with an error."""
        self.note(Refused(self.clock(), sender, message_id, code))

    def skipped(self, sender: str, message_id: str) -> None:
        self.note(Skipped(self.clock(), sender, message_id))

    # Deliveries

    def delivered(self, user: str, device: str, frame: Frame, session: str = "") -> None:
        """A device got a message, for the first time or again."""
        cursor, replay = Cursor.parse(frame["cursor"]), frame.get("replay", False)
        sender, body = frame["from"], frame["body"]
        self.note(Delivered(self.clock(), user, device, session, cursor, sender, frame["id"], body, replay))

    def told(self, user: str, device: str, frame: Frame, session: str = "") -> None:
        """A device got another entry than a message."""
        cursor, replay = Cursor.parse(frame["cursor"]), frame.get("replay", False)
        by = frame.get("by") or frame.get("from") or frame.get("group", "")
        target = str(frame.get("target", ""))
        self.note(
            Told(self.clock(), user, device, session, cursor, frame["type"], by, str(frame["id"]), target, replay)
        )

    def gap(self, user: str, device: str, frame: Frame, session: str = "") -> None:
        """A device was told that entries will not come."""
        after, upto = Cursor.parse(frame["after"]), Cursor.parse(frame["cursor"])
        reason, missing = frame.get("reason", "trimmed"), frame.get("missing")
        self.note(Gap(self.clock(), user, device, session, after, upto, reason, missing))

    def acked(self, user: str, device: str, cursor: Cursor, session: str = "", stored: bool = False) -> None:
        self.note(Acked(self.clock(), user, device, session, cursor, stored))

    def mark(self, what: str) -> None:
        self.note(Mark(self.clock(), what))

    # Questions while it goes on

    def missing(self, reader: Reader) -> int:
        """How many accepted messages a device still waits for."""
        seen, gaps = self._seen[reader], self._gaps[reader]
        return sum(
            1
            for cursor in list(self.accepted_at[reader[0]].values())
            if cursor not in seen and not any(after < cursor <= upto for after, upto in gaps)
        )

    def has_seen(self, reader: Reader) -> bool:
        """Whether a device got anything yet."""
        return bool(self._seen.get(reader))

    def repeats(self, reader: Reader) -> int:
        """How many deliveries to a device were repeats."""
        return self._repeats[reader]
