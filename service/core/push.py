"""Push, decided: whether a user is to be told of what waits, under which id, and when to try again.

A **burst** is what comes from one advance of `best` to the next: it is told once, unless all that was told of is gone.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Self

from service.core.backoff import Backoff
from service.core.cursor import Cursor

PARTITIONS = 16
"""Zsets over which the users are spread: a constant, because rows lie where it says."""


def partition_of(user: str) -> int:
    """The same in every worker, of any version."""
    return hashlib.sha256(user.encode()).digest()[0] % PARTITIONS


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest message that waits: whose, in which group ("": none), where."""

    sender: str
    group: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Told:
    """Where a user was told last: what `best` was then, and the newest there was to tell of."""

    best: Cursor
    newest: Cursor

    def __str__(self) -> str:
        return f"{self.best} {self.newest}"

    @classmethod
    def of(cls, raw: bytes | None) -> Self | None:
        """What was written; None where nothing was, or what cannot be read: then the user is told once more."""
        try:
            best, newest = (raw or b"").split(b" ")
            return cls(Cursor.of(best), Cursor.of(newest))
        except ValueError:
            return None

    def covers(self, best: Cursor, cursor: Cursor) -> bool:
        """Whether the user knows of this one, `best` being there now."""
        return self.best == best and cursor <= self.newest


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits for a user: messages of others beyond `best`, none expired. `first` is where the oldest lies; None:
    nothing waits.
    """

    best: Cursor
    told: Told | None
    first: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many wait, among the oldest entries of them; and the newest of all. None: nothing does any more."""

    count: int
    newest: Newest | None


class Verdict(Enum):
    """What becomes of a row that is due."""

    NOTHING = "nothing"  # none waits, or this burst was told: the row may go
    LATER = "later"  # something waits, but not for long enough
    PUSH = "push"


def judge(pending: Pending, now_ms: int, after_ms: int) -> tuple[Verdict, int]:
    """And when to look again (ms, by the server's clock): 0 but for LATER."""
    if pending.first is None or (pending.told is not None and pending.told.covers(pending.best, pending.first)):
        return Verdict.NOTHING, 0
    due = pending.first.ms + after_ms
    return (Verdict.PUSH, 0) if due <= now_ms else (Verdict.LATER, due)


def push_id(user: str, best: Cursor, first: Cursor) -> str:
    """The same over all tries of one ring, so that a receiver can drop repeats; `first` is the oldest that waits."""
    return "push_" + hashlib.sha256(f"{user} {best} {first}".encode()).hexdigest()[:32]


def wait_after(failures: int, retry_after: float, first: float, most: float, chance: float) -> float:
    """Seconds until the next try after so many `failures` in a row: growing, jittered, at least what the receiver asked
    for (`retry_after`), never beyond `most`. `chance`: the caller's random number of [0, 1).
    """
    backoff = Backoff(first, most, failures - 1)
    return min(most, max(backoff.wait(chance / 2), retry_after))  # half the span at least: a receiver that is down


def retry_after(value: str | None) -> float:
    """Seconds of a `Retry-After`; 0 for none, and for a date: clocks differ, the back-off will do."""
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 10 else 0.0
