"""One device over all its connections, record by record: is the order kept, does replay begin where it may? Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import Acked, Delivered, Gap, Hello, Identity, Live, OfDevice, Reader, Told, Welcome


@dataclass
class Session:
    """One connection. `owed`: replay began before this position, so that `rewound` must be the next word."""

    asked: Cursor | None = None
    position: Cursor | None = None  # None: no welcome was recorded, so its steps cannot be judged
    owed: Cursor | None = None


class DeviceJudge:
    """`faults` grows while records are taken. `seen`: which message stands where, as far as the device knows."""

    def __init__(self, reader: Reader, gaps: Collection[str], may_rewind: bool) -> None:
        self.reader, self.name = reader, "/".join(reader)
        self.may_rewind = may_rewind
        self.faults: list[str] = []
        self.seen: dict[Cursor, Identity] = {}
        self.gaps: list[tuple[Cursor, Cursor]] = []
        self.top = START  # the furthest first delivery
        self.acked = START  # the furthest ack it ever sent
        self.stored = START  # what the service is known to have stored of that
        self._gaps_allowed = gaps
        self._where: dict[Identity, Cursor] = {}
        self._sessions: dict[str, Session] = {}

    def has(self, cursor: Cursor, identity: Identity) -> bool:
        """Whether it got this entry, or was told that it will not come."""
        if self.seen.get(cursor) == identity:
            return True
        return any(after < cursor <= upto for after, upto in self.gaps)

    def take(self, record: OfDevice) -> None:
        session = self._sessions.setdefault(record.session, Session())
        if isinstance(record, Hello):
            session.asked = record.cursor
        elif isinstance(record, Welcome):
            self._welcome(session, record)
        elif isinstance(record, Delivered | Told):
            self._delivered(session, record)
        elif isinstance(record, Gap):
            self._gap(session, record)
        elif isinstance(record, Live):
            self._live(session, record)
        elif isinstance(record, Acked):
            self.acked = max(self.acked, record.cursor)
            if record.stored:
                self.stored = max(self.stored, record.cursor)

    def _welcome(self, session: Session, record: Welcome) -> None:
        session.position = record.cursor
        begin = session.asked if session.asked is not None else self.stored
        known_to_service = session.asked is not None or not self.may_rewind
        if record.cursor < begin and known_to_service:
            session.owed = begin
        if record.cursor > max(self.acked, session.asked or START):
            self.faults.append(f"moved ahead: {self.name} begins at {record.cursor}, but acked {self.acked} at most")
        if session.asked is None:
            self.stored = max(self.stored, record.cursor) if not self.may_rewind else record.cursor
        if self.may_rewind:
            self._forget(record.cursor)

    def _delivered(self, session: Session, record: Delivered | Told) -> None:
        self._settle(session)
        if session.position is not None:
            if record.cursor <= session.position:
                self.faults.append(f"reordered: {self.name} got {record.cursor} after {session.position}")
            elif record.cursor.seq != session.position.seq + 1:
                self.faults.append(f"hole: {self.name} got {record.cursor} after {session.position}")
            session.position = record.cursor
        before = self.seen.get(record.cursor)
        if before is None:
            self._first(record)
        elif before != record.identity:
            self.faults.append(f"phantom: {self.name} got {before} and {record.identity} at {record.cursor}")

    def _first(self, record: Delivered | Told) -> None:
        if record.cursor < self.top:
            self.faults.append(f"reordered: {self.name} got {record.cursor} for the first time after {self.top}")
        where = self._where.setdefault(record.identity, record.cursor)
        if where != record.cursor:
            self.faults.append(f"doubled: {self.name} got {record.identity} at {where} and at {record.cursor}")
        self.top = max(self.top, record.cursor)
        self.seen[record.cursor] = record.identity

    def _gap(self, session: Session, record: Gap) -> None:
        if record.reason not in self._gaps_allowed:
            self.faults.append(f"gap: {self.name} was told {record.reason} from {record.after} to {record.cursor}")
        if record.reason == "rewound":
            session.owed = None
            self.stored = self.acked = min(self.acked, record.cursor)
            self._forget(record.cursor)
        else:
            self._settle(session)
            self.gaps.append((record.after, record.cursor))
            if session.position is not None and record.after != session.position:
                self.faults.append(f"hole: {self.name} got a gap after {record.after}, but was at {session.position}")
            if record.cursor <= record.after:
                self.faults.append(f"reordered: {self.name} got a gap from {record.after} to {record.cursor}")
        if session.position is not None:
            session.position = record.cursor

    def _live(self, session: Session, record: Live) -> None:
        self._settle(session)
        if session.position is not None and record.cursor != session.position:
            self.faults.append(f"hole: {self.name} is live at {record.cursor}, but was at {session.position}")

    def _settle(self, session: Session) -> None:
        """The first word after a welcome that began too early was not `rewound`."""
        if session.owed is not None:
            self.faults.append(
                f"moved back: {self.name} begins at {session.position}, though {session.owed} was stored"
            )
            session.owed = None

    def _forget(self, beyond: Cursor) -> None:
        """History beyond a position is another one from now on."""
        self.seen = {cursor: identity for cursor, identity in self.seen.items() if cursor <= beyond}
        self._where = {identity: cursor for cursor, identity in self.seen.items()}
        self.top = max(self.seen, default=START)

    def holes(self) -> Iterator[str]:
        """A device may begin anywhere; from there on nothing is left out."""
        gaps = sorted(self.gaps)
        before: Cursor | None = None
        for cursor in sorted(self.seen):
            told = START if before is None else before
            for after, upto in gaps:
                if after <= told < upto <= cursor:
                    told = upto
            if before is not None and cursor.seq != told.seq + 1:
                yield f"hole: {self.name} got {cursor} after {before}"
            before = cursor
