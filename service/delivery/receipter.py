"""The receipter: tells senders that their messages have reached somebody. Beside the path: nothing waits for it.

What a user has acked is read once more behind `receipted`, and each sender gets one receipt for the newest message of
its own there. Only then `receipted` moves: whatever a crash leaves out, the user's next ack or claim, a reaper or the
audit finds again; and a receipt is known by its name, so that making it twice does no harm.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from service.core.backoff import Backoff
from service.core.cursor import Cursor
from service.core.entries import Fields, Kind
from service.core.errors import Unavailable
from service.core.sending import Appended, AppendStatus
from service.store.appends import Appends, Note
from service.store.inbox import Inboxes
from service.store.marks import Marks
from service.telemetry import RECEIPTS_MADE, RECEIPTS_PUT_OFF

log = logging.getLogger("inboxd.receipter")

BATCH = 32
"""Users looked at together."""
MOST_WAITING = 10_000
"""Users that wait; beyond, they are passed over and counted: the audit, or their next ack, names them again."""

REST = 4
"""Times as long as the last round took: the more there is to do, the more acks one receipt is for."""
MOST_GATHERS = 5
"""Gatherings after which nobody waits any longer for the next round, however long the last one took."""

Tell = Callable[[str, Fields, Appended], None]
"""Whose inbox an entry went to, its fields, and what became of it."""


def receipt(kind: str, by: str, sender: str, target: str) -> Note:
    """`kind`: `delivered` or `read`; `by` whom, a message of `sender`."""
    id = f"{kind}:{target}"
    fields: Fields = ["kind", Kind.RECEIPT, "id", id, "target", target, "receipt", kind, "by", by]
    return Note(sender, f"receipt/{by}/{id}", fields)


def rest(gather: float, took: float, since: float) -> float:
    """Seconds until the next round, when the last one took so long and is over since then."""
    return max(gather, min(took * REST, gather * MOST_GATHERS) - since)


class Receipter:
    """`gather`: seconds in which acks come together at least, so that many of them make one receipt."""

    def __init__(self, marks: Marks, inboxes: Inboxes, appends: Appends, tell: Tell, gather: float, on: bool) -> None:
        self._marks = marks
        self._inboxes = inboxes
        self._appends = appends
        self._tell = tell
        self._gather = gather
        self._on = on
        self._waiting: dict[str, None] = {}  # users, in the order they were named
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, user: str) -> None:
        """A user who may owe receipts."""
        if not self._on:
            return
        if len(self._waiting) >= MOST_WAITING and user not in self._waiting:
            RECEIPTS_PUT_OFF.inc()
            return
        self._waiting[user] = None
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when nobody waits."""
        await self._idle.wait()

    async def run(self) -> None:
        """Makes receipts until cancelled."""
        backoff = Backoff(first=0.05, most=2.0)
        took, over = 0.0, time.monotonic()
        while True:
            await self._wake.wait()
            begun = time.monotonic()
            await asyncio.sleep(rest(self._gather, took, begun - over))
            self._wake.clear()
            begun = time.monotonic()
            fine = await self._all()
            over = time.monotonic()
            took = over - begun
            if fine:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.wait(random.random()))
            if not self._waiting:
                self._idle.set()

    async def _all(self) -> bool:
        """Everybody who waits, once; whether it worked for all. The others wait for the next time."""
        users, self._waiting = list(self._waiting), {}
        failed: list[str] = []
        for at in range(0, len(users), BATCH):
            some = users[at : at + BATCH]
            try:
                failed += await self._settle(some)
            except Unavailable as error:
                log.info("receipts wait: %s", error.why)
                failed += some
        for user in failed:
            self.add(user)
        return not failed

    async def _settle(self, users: list[str]) -> list[str]:
        """Those of whom not every receipt is known to be in."""
        upto: dict[str, Cursor] = {}
        owed: dict[tuple[str, str], str] = {}  # (user, sender) → the newest message
        asked: list[tuple[str, Cursor | None]] = [(user, None) for user in users]
        while asked:
            portions = await self._marks.owed(asked)
            behind: list[tuple[str, Cursor | None]] = []
            for (user, _), portion in zip(asked, portions, strict=True):
                if portion is None or portion.settled:
                    continue
                upto[user] = portion.upto
                owed |= {(user, sender): target for sender, target in portion.last.items()}
                if portion.more:
                    behind.append((user, portion.upto))
            asked = behind
        failed = await self._make(owed)
        if made := [(user, cursor) for user, cursor in upto.items() if user not in failed]:
            await self._inboxes.receipted(made)
        return list(failed)

    async def _make(self, owed: dict[tuple[str, str], str]) -> set[str]:
        """The users some of whose receipts may be missing."""
        notes = [receipt("delivered", by, sender, target) for (by, sender), target in owed.items()]
        failed: set[str] = set()
        if not notes:
            return failed
        for (by, _), note, result in zip(owed, notes, await self._appends.note(notes), strict=True):
            if isinstance(result, Unavailable):
                failed.add(by)
            elif result.status is AppendStatus.APPENDED:
                RECEIPTS_MADE.inc()
                self._tell(note.user, note.fields, result)
            elif result.status is AppendStatus.FAILED:
                log.error("a receipt for %s cannot be stored: a key of this user is not what it should be", note.user)
        return failed
