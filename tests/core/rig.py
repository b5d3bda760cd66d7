"""A session with a model inbox and a strict device around it: what `delivery/connection.py` is in the service."""

from collections.abc import Iterator

import orjson

from service.core import session as module
from service.core.cursor import START, Cursor
from service.core.page import Page
from service.core.session import Close, Session
from tests.core.device import Device
from tests.core.inbox_model import Hint, Inbox


def welcome(cursor: Cursor, head: Cursor) -> bytes:
    return orjson.dumps({"type": "welcome", "cursor": str(cursor), "head": str(head)})


class Rig:
    """Empties the session's outbox after every call, as the shell does, and holds each frame against the rules."""

    def __init__(self, inbox: Inbox, device: Device | None = None) -> None:
        self.inbox = inbox
        self.device = device or Device(inbox)
        self.frames: list[dict[str, object]] = []
        self.reads: list[int] = []  # the sizes of the pages asked for
        self.unstored: Cursor | None = None  # what the acker has yet to write
        self.closed: Close | None = None
        self._commands: Iterator[Page | None] | None = None
        self._answered: Page | None = None  # on its way back
        self._asked: tuple[Cursor, int] | None = None

    def connect(self, window: int = 256, start: Cursor | None = None) -> None:
        """hello: from the stored cursor, or from one the device names."""
        new = self.inbox.truth.stored is None
        stored = self.inbox.claim()
        if new:
            self.device.gaps.append((START, stored))  # a new device begins at the oldest entry kept
        self.frames.clear()
        self.reads.clear()
        self.closed = self._commands = self._answered = self._asked = None
        self.device.connect(stored if start is None else start, window, module.WINDOW_BYTES)
        begin = stored if start is None else start
        self.session = Session(begin, window, welcome, confirm=start is not None)
        self.pump()

    # What reaches the session.

    def hint(self, hint: Hint, *, carried: bool = True) -> None:
        self.session.on_hint(hint.prev, hint.cursor, hint.tail if carried else None)
        self.pump()

    def audit(self, last: Cursor | None = None, before: Cursor | None = None) -> None:
        """By default asked and answered just now."""
        self.session.on_audit(last or self.inbox.last, before or self.session.cursor)
        self.pump()

    def settle(self) -> None:
        self.session.settle()
        self.pump()

    def ack(self, cursor: Cursor | None = None) -> None:
        """By default of everything that was sent."""
        cursor = cursor or self.session.cursor
        self.device.ack(cursor)
        self.session.on_ack(cursor)
        self.pump()

    def ack_elsewhere(self, cursor: Cursor, *, told: bool = True) -> None:
        """Over HTTP: stored as `ack_position` does it; the word of it may be lost."""
        last, kept = self.inbox.last, self.inbox.kept
        if cursor > last:
            return
        below = max((one.seq for one in kept if one < cursor), default=-1)
        above = min((one.seq for one in kept if one > cursor), default=last.seq)
        erased = next((one for one in self.inbox.truth.erased if one.seq == cursor.seq), cursor)
        if cursor in (*kept, last) or (erased == cursor and below < cursor.seq < above):
            self.inbox.ack(cursor)
        if told:
            self.hear_acked(cursor)

    def hear_acked(self, cursor: Cursor) -> None:
        """What an ack elsewhere, or the audit, says."""
        self.device.ack(cursor)
        self.session.on_acked(cursor)
        self.pump()

    # The page that was asked for.

    @property
    def reading(self) -> bool:
        return self._asked is not None

    @property
    def answered(self) -> bool:
        """The page is on its way back."""
        return self._answered is not None

    def step(self) -> Page | None:
        """One command of it is answered (first the newest cursor, then the entries), or the page arrives."""
        assert self._asked is not None
        page = self._answered
        if page is None:
            self._commands = self._commands or self.inbox.reading(*self._asked)
            self._answered = next(self._commands)
            return None
        self._commands = self._answered = self._asked = None
        told = len(self.device.gaps)
        self.session.on_page(page)
        self.pump()
        self._no_lies(page, self.device.gaps[told:])
        return page

    def page(self) -> Page:
        """The page arrives."""
        while (page := self.step()) is None:
            pass
        return page

    def pages(self, most: int = 100) -> int:
        """Pages arrive until none is asked for; how many. Fails when there is no end of them."""
        for count in range(most):
            if not self.reading:
                return count
            self.page()
        raise AssertionError(f"still asks for pages after {most} of them")

    @staticmethod
    def _no_lies(page: Page, gaps: list[tuple[Cursor, Cursor]]) -> None:
        """What the page holds is not told as a gap."""
        there = [entry.cursor for entry in page.entries if isinstance(entry.tail, bytes)]
        for after, upto in gaps:
            assert not [cursor for cursor in there if after < cursor <= upto], "a gap that is none"

    def disrupt(self) -> None:
        """The connection to the server breaks: what was asked and not answered is asked again."""
        if self._answered is None:
            self._commands = None

    def pump(self) -> None:
        session = self.session
        for raw in session.frames:
            self.device.take(raw)
            self.frames.append(orjson.loads(raw))
            assert self.frames[-1]["type"] != "live" or session.heard <= session.cursor, "live too early"
        session.frames.clear()
        if session.ack is not None:
            self.unstored = max(self.unstored or session.ack, session.ack)
            session.ack = None
        if session.read is not None:
            assert self._asked is None, "one page at a time"
            self._asked = (session.read.after, session.read.count)
            self.reads.append(session.read.count)
            session.read = None
        self.closed = session.close

    def store_ack(self) -> None:
        """The acker writes."""
        if self.unstored is not None:
            self.inbox.ack(self.unstored)
            self.unstored = None

    # For examples.

    def told(self) -> list[str]:
        """The frames in short: `m3`, `live`, `gap trimmed 4`, …; takes them."""
        frames, short = list(self.frames), []
        self.frames.clear()
        for frame in frames:
            if frame["type"] == "message":
                short.append(str(frame["id"]))
            elif frame["type"] == "deleted":
                short.append(f"deleted {frame['id']}")
            elif frame["type"] == "gap":
                missing = "" if frame["missing"] is None else f" {frame['missing']}"
                short.append(f"gap {frame['reason']}{missing}")
            else:
                short.append(str(frame["type"]))
        return short
