"""What came, what is a repeat, and what may be acked. Pure: fed with frames and told what was handled."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from inboxd_client.frames import Frame, identity

IDENTITIES_KEPT = 10_000


@dataclass(frozen=True)
class Entry:
    """One entry or gap, the connection that brought it, and its identity (None: it has none)."""

    frame: Frame
    connection: int
    identity: str | None

    @property
    def cursor(self) -> str:
        """Its position."""
        return str(self.frame["cursor"])


class Inbox:
    """`seen`: identities handled so far, oldest first. `window`: entries the service sends without an ack."""

    def __init__(self, cursor: str | None = None, seen: Iterable[str] = (), kept: int = IDENTITIES_KEPT) -> None:
        self.cursor = cursor
        self._seen = dict.fromkeys(seen)  # a dict keeps the order
        self._kept = kept
        self._queue: deque[Entry] = deque()
        self._connection = 0  # that may be acked
        self._window = 1
        self._unacked = 0
        self._to_ack: str | None = None

    def connected(self, connection: int, window: int) -> None:
        """A new connection begins. What the last one brought and nobody has begun to handle comes again."""
        self.disconnected()
        self._connection, self._window, self._unacked = connection, max(window, 1), 0

    def disconnected(self) -> None:
        """No ack can go out; the next `hello` says it."""
        self._queue.clear()
        self._connection, self._to_ack = 0, None

    def received(self, frame: Frame) -> None:
        """An entry of the current connection."""
        self._queue.append(Entry(frame, self._connection, identity(frame)))

    def take(self) -> Entry | None:
        """The next one in order; it is the caller's now."""
        return self._queue.popleft() if self._queue else None

    def first(self) -> Entry | None:
        """The next one in order, left where it is."""
        return self._queue[0] if self._queue else None

    def is_repeat(self, entry: Entry) -> bool:
        """It was handled before."""
        return entry.identity is not None and entry.identity in self._seen

    def handled_after(self, one: str, other: str) -> bool:
        """Of two identities, both of which must be known: the first one was handled later."""
        if one not in self._seen or other not in self._seen:
            return False
        return next(name for name in reversed(self._seen) if name in (one, other)) == one

    def position_after(self, entry: Entry) -> str:
        """The cursor to be stored once it is handled: only `rewound` moves it back, a late repeat does not."""
        if self.cursor is None or entry.frame.get("reason") == "rewound":
            return entry.cursor
        return max(self.cursor, entry.cursor, key=place)

    def stored(self, entry: Entry) -> None:
        """It is handled, and that is on disk: it may be acked, if the connection that brought it is still there."""
        self.cursor = self.position_after(entry)
        if entry.identity is not None:
            self._seen[entry.identity] = None
            if len(self._seen) > self._kept:
                del self._seen[next(iter(self._seen))]
        if entry.connection == self._connection:
            self._to_ack = self.cursor
            self._unacked += 1

    @property
    def must_ack(self) -> bool:
        """A quarter of the window waits for the ack: no more waiting for company."""
        return self._to_ack is not None and self._unacked * 4 >= self._window

    def ack(self) -> str | None:
        """The cursor to be acked now; None where there is nothing to say."""
        cursor, self._to_ack, self._unacked = self._to_ack, None, 0
        return cursor


def place(cursor: str) -> tuple[int, int]:
    """Cursors of one inbox may be compared, by time and then by number."""
    ms, _, seq = cursor.partition("-")
    return int(ms), int(seq)
