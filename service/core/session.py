"""The session: what one connected device gets, in which order, and when. Pure and synchronous.

It is fed pages, hints, audits, acks and ticks, and leaves what is to be done in its outbox
(`frames`, `read`, `ack`, `close`), which the shell empties after every call. It alone decides
order, window, gaps and repeats. `delivery/connection.py` moves the data.

States: opening → replaying → live ⇄ catching_up → draining → closed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from service.core.cursor import START, Cursor
from service.core.entries import Missing, frame, gap_frame
from service.core.errors import Fault
from service.core.frames import closing_frame, error_frame, live_frame
from service.core.page import Gap, Page

WINDOW_BYTES = 1 << 20
"""Most bytes in flight per connection, unless a single entry is larger."""
HELD_ENTRIES, HELD_BYTES = 64, 64 << 10
"""Bounds of hints kept until the missing one before them comes."""
PAGE_BYTES, PAGE_ENTRIES = 256 << 10, 512
"""What a page aims at, by the sizes seen, and its bound."""
POSITION_BYTES = 80
"""What cursor, time and `replay` add to a tail, at most."""
GUESSED_SIZE = 4096.0
"""Bytes per entry, until some were seen."""


class State(Enum):
    """Where a session stands."""

    OPENING = auto()
    REPLAYING = auto()
    LIVE = auto()
    CATCHING_UP = auto()
    DRAINING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Read:
    """Asks for the page from `after` (itself included, as proof) and up to `count` entries beyond."""

    after: Cursor
    count: int


@dataclass(frozen=True, slots=True)
class Close:
    """`code` as in the protocol's table."""

    code: int
    reason: str


Welcome = Callable[[Cursor, Cursor], bytes]
"""(where the replay starts, newest cursor) → the `welcome` frame."""


class Session:
    """One device's place in its inbox, over one connection.

    `start`: replay begins after it. `confirm`: the device named it itself, so that, once verified, it counts as acked.
    """

    def __init__(self, start: Cursor, window: int, welcome: Welcome, confirm: bool = False) -> None:
        self.state = State.OPENING
        self.cursor = start
        self.acked = start
        self.heard = start
        self.frames: list[bytes] = []
        self.read: Read | None = None
        self.ack: Cursor | None = None
        self.close: Close | None = None
        self.expired = 0  # entries that were told as gaps because they had; the shell counts them
        self.window = window
        self._welcome = welcome
        self._confirm = confirm
        self._sent: deque[tuple[Cursor, int]] = deque()
        self._bytes = 0
        self._full = False  # the next entry did not fit: nothing is read until something is acked
        self._reading = False
        self._heard_meanwhile = START
        self._held: dict[Cursor, tuple[Cursor, bytes]] = {}
        self._held_bytes = 0
        self._rewound_from: Cursor | None = None
        self._rewound = False
        self._lived = False
        self._size = GUESSED_SIZE
        self._request()

    # What the shell asks.

    @property
    def behind(self) -> bool:
        """There is a hole and room to fill it: tell me with `settle` when patience is over."""
        return (
            self.heard > self.cursor
            and not self._reading
            and self.state in (State.REPLAYING, State.LIVE, State.CATCHING_UP)
            and self._room() > 0
        )

    @property
    def stuck(self) -> bool:
        """There is more, and no room for it: only an ack can help."""
        return (
            self.heard > self.cursor
            and not self._reading
            and self.state in (State.REPLAYING, State.LIVE, State.CATCHING_UP)
            and self._room() <= 0
        )

    @property
    def in_flight(self) -> int:
        """Entries sent and not acked."""
        return len(self._sent)

    # What happens.

    def on_page(self, page: Page) -> None:
        """The answer to `read`."""
        self._reading = False
        if self.state in (State.DRAINING, State.CLOSED):
            return
        if not page.trusted:
            self._rewind(page)
            return
        if self.state is State.OPENING:
            self._open(page)
        self._take(page)

    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        """An entry was appended after `prev`. `tail` None: too large to be carried along."""
        if cursor <= self.cursor:
            return  # proves nothing: a rewound server hands the same numbers out again
        self._hear(cursor)
        if tail is None or self.state is State.OPENING:
            return
        if prev == self.cursor and not self._reading and self.state is State.LIVE and self._fits(len(tail)):
            self._push(cursor, tail, replay=False)
            if self._held:
                self._push_held()
        elif len(self._held) < HELD_ENTRIES and self._held_bytes + len(tail) <= HELD_BYTES and prev not in self._held:
            self._held[prev] = (cursor, tail)
            self._held_bytes += len(tail)

    def on_audit(self, last: Cursor, before: Cursor) -> None:
        """The inbox's newest cursor, and where this session stood when that was asked."""
        if self.state is State.OPENING:
            return
        if last > self.cursor:
            self._hear(last)
        elif last < before:
            self._request(verify=True)  # newer than the newest: is this still the same history?

    def settle(self) -> None:
        """Patience is over: what is missing is read from the inbox."""
        if self.behind:
            self.state = State.CATCHING_UP if self._lived else State.REPLAYING
            self._request()

    def on_ack(self, cursor: Cursor) -> None:
        """The device has handled everything up to `cursor`, as it says on this connection."""
        if self._stale(cursor):
            return
        if cursor > self.cursor:
            if self.state is not State.CLOSED:
                fault = Fault("ack_beyond_sent", f"nothing up to {cursor} was sent on this connection", "cursor")
                self.frames.append(error_frame(fault))
                self.end(4500, fault.code)
            return
        position = self._free(cursor)  # only ever one that was sent, whatever lies between
        if position > self.acked:
            self.acked = self.ack = position
        self._go_on()

    def on_acked(self, cursor: Cursor) -> None:
        """It said so elsewhere, where it was looked at and stored. Beyond what was sent here it counts for that."""
        if self._stale(cursor):
            return
        self.acked = max(self.acked, self._free(cursor))
        self._go_on()

    def drain(self, reason: str, reconnect_after_ms: int) -> None:
        """No more entries; acks still count."""
        if self.state not in (State.DRAINING, State.CLOSED):
            self.state = State.DRAINING
            self.frames.append(closing_frame(reason, reconnect_after_ms))

    def end(self, code: int, reason: str) -> None:
        """The connection closes with `code`."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.close = Close(code, reason)

    # How it decides.

    def _stale(self, cursor: Cursor) -> bool:
        """An ack of entries from before a rewind."""
        return self._rewound and all(cursor != sent for sent, _ in self._sent)

    def _free(self, cursor: Cursor) -> Cursor:
        """Room for what is acked; the last position that was."""
        position = self.acked
        while self._sent and self._sent[0][0] <= cursor:
            position, size = self._sent.popleft()
            self._bytes -= size
            self._full = False
        return position

    def _go_on(self) -> None:
        """There is more room than there was. (What was sent may be acked once it is closed, too: it is true all the
        same.)
        """
        if self._reading or self.state in (State.OPENING, State.DRAINING, State.CLOSED):
            return
        self._push_held()
        if self.heard > self.cursor:
            if self._room() * 2 >= self.window and self._bytes * 2 <= WINDOW_BYTES:
                self._request()
        else:
            self._become_live()

    def _hear(self, cursor: Cursor) -> None:
        self.heard = max(self.heard, cursor)
        self._heard_meanwhile = max(self._heard_meanwhile, cursor)

    def _room(self) -> int:
        return 0 if self._full else self.window - len(self._sent)

    def _fits(self, size: int) -> bool:
        """At least one entry is always let through, however large."""
        fits = not self._sent or (len(self._sent) < self.window and self._bytes + size + POSITION_BYTES <= WINDOW_BYTES)
        self._full = self._full or not fits
        return fits

    def _request(self, verify: bool = False) -> None:
        room = self._room()
        if self._reading or not (room > 0 or verify) or self.state in (State.DRAINING, State.CLOSED):
            return
        self._reading = True
        self._heard_meanwhile = START
        self.read = Read(self.cursor, max(0, min(room, PAGE_ENTRIES, int(PAGE_BYTES / self._size) or 1)))

    def _open(self, page: Page) -> None:
        self.state = State.REPLAYING
        self.frames.append(self._welcome(self.cursor, max(page.last, self.cursor)))
        if self._rewound_from is not None:
            self._emit_gap(Gap(self._rewound_from, self.cursor, None, Missing.REWOUND))
        elif self._confirm:
            self.ack = self.cursor

    def _take(self, page: Page) -> None:
        """Sends the page as far as the window goes, then decides what comes next."""
        self.heard = max(self.heard, page.last)
        if self._send_all(page) and page.complete:
            self.heard = max(self.cursor, self._heard_meanwhile)
        self._held = {prev: held for prev, held in self._held.items() if held[0] > self.cursor}
        self._held_bytes = sum(len(tail) for _, tail in self._held.values())
        self._push_held()
        if self.heard <= self.cursor:
            self._become_live()
        else:
            self._request()

    def _send_all(self, page: Page) -> bool:
        for item in page.items():
            if isinstance(item, Gap):
                if not self._fits(0):
                    return False
                self._emit_gap(item)
            else:
                assert isinstance(item.tail, bytes)  # items() has made gaps of the others
                if not self._fits(len(item.tail)):
                    return False
                self._push(item.cursor, item.tail, replay=True)
                self._size += (len(item.tail) - self._size) / 16
        return True

    def _become_live(self) -> None:
        self.state = State.LIVE
        if not self._lived:
            self._lived = True
            self.frames.append(live_frame(self.cursor))

    def _push(self, cursor: Cursor, tail: bytes, replay: bool) -> None:
        size = len(tail) + POSITION_BYTES
        self.frames.append(frame(tail, cursor, replay))
        self._sent.append((cursor, size))
        self._bytes += size
        self.cursor = cursor

    def _push_held(self) -> None:
        """Held hints that have become next."""
        if self._reading or self.state in (State.DRAINING, State.CLOSED):
            return
        while held := self._held.get(self.cursor):
            cursor, tail = held
            if not self._fits(len(tail)):
                return
            del self._held[self.cursor]
            self._held_bytes -= len(tail)
            self._push(cursor, tail, replay=False)

    def _emit_gap(self, gap: Gap) -> None:
        self.frames.append(gap_frame(gap.after, gap.upto, gap.missing, gap.reason))
        self.expired += gap.expired
        self._sent.append((gap.upto, 0))
        self.cursor = gap.upto

    def _rewind(self, page: Page) -> None:
        """The server has lost history this device had seen: start again from what it knows of the device."""
        lost = self.cursor
        again = page.stored if page.stored is not None and page.stored != page.after else START
        self.cursor = self.acked = again
        self.heard = max(page.last, again, self._heard_meanwhile)
        self._sent.clear()
        self._bytes = 0
        self._full = False
        self._held.clear()
        self._held_bytes = 0
        self._rewound = True
        self._confirm = False
        if self.state is State.OPENING:
            self._rewound_from = self._rewound_from or lost
        else:
            self._emit_gap(Gap(lost, again, None, Missing.REWOUND))
            self.state = State.CATCHING_UP
        self._request()
