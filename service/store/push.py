"""Who may have to be told that something waits: `push:{p}`, a row for each user, and what becomes of it.

A row is there before the message it is for. It is leased, looked into, and goes when nothing is left to be done.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.core.cursor import START, Cursor
from service.core.push import PARTITIONS, Counted, Newest, Pending, Told, partition_of
from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link, unwrapped

SLICE = 100
"""Entries looked at in one call: each may be as large as a message may be."""
FEW = 10
"""Entries looked at in the first call: mostly the very first is a message."""
MOST = 1000
"""Entries that are counted: whoever has more waiting need not know how many."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A call to make before an append, and for whom."""

    users: tuple[str, ...]
    call: scripts.Call


class Reminders:
    """What must be written before messages are appended. `now_ms`: the server's clock. `after`: seconds."""

    def __init__(self, keys: Keys, now_ms: Callable[[], int], after: float) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._after_ms = int(after * 1000)

    def of(self, users: Iterable[str], *, now: bool = False) -> list[Reminder]:
        """One for each partition that has one of them. `now`: to be looked into at once."""
        parts: dict[int, list[str]] = defaultdict(list)
        for user in users:
            parts[partition_of(user)].append(user)
        when = self._now_ms() + (0 if now else self._after_ms)
        return [
            Reminder(
                tuple(part),
                (scripts.PUSH_REMIND, (self._keys.push(partition), self._keys.push_tries(partition)), (when, *part)),
            )
            for partition, part in parts.items()
        ]


@dataclass(frozen=True, slots=True)
class Lease:
    """A user's row, held until `until_ms`; both times by the server's clock (ms)."""

    user: str
    until_ms: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Tries:
    """How often in a row it has failed to tell a user, what the last one ended with, and when (ms)."""

    failures: int
    status: str
    at_ms: int

    def row(self) -> str:
        """As operators read it."""
        return f"{self.failures} {self.status} {self.at_ms}"

    @classmethod
    def of(cls, row: bytes | None) -> "Tries":
        """What was written; none where nothing was, or somebody else has."""
        try:
            failures, status, at = (row or b"0 - 0").decode().split(" ")
            return cls(int(failures), status, int(at))
        except ValueError:
            return cls(0, "-", 0)


class PushRows:
    """The rows, and what they are about. `settling`: seconds after which an append that has not been answered is none
    that was accepted. Everything raises Unavailable.
    """

    def __init__(self, client: Link, keys: Keys, reminders: Reminders, settling: float) -> None:
        self._client = client
        self._keys = keys
        self._reminders = reminders
        self._settling_ms = int(settling * 1000)

    async def remind(self, users: Iterable[str], *, now: bool = True) -> int:
        """These are to be looked into, now or after the usual time; how many had no row."""
        reminders = self._reminders.of(users, now=now)
        return sum(unwrapped(await scripts.call_all(self._client, [one.call for one in reminders])))

    async def lease(self, room: int, lease: float) -> list[Lease]:
        """Rows that are due, at most `room`, for this caller alone: it has so many seconds."""
        partitions = random.sample(range(PARTITIONS), min(room, PARTITIONS))
        each = max(1, room // PARTITIONS)
        calls: list[scripts.Call] = [
            (scripts.PUSH_LEASE, (self._keys.push(partition),), (each, int(lease * 1000))) for partition in partitions
        ]
        # Of many servers, one that is away keeps its rows; the others' are due all the same.
        replies = await scripts.call_all(self._client, calls)
        if replies and all(isinstance(reply, Exception) for reply in replies):
            unwrapped(replies)
        taken = [reply for reply in replies if not isinstance(reply, Exception)]
        return [
            Lease(user.decode(errors="backslashreplace"), int(until), int(now))
            for now, until, *users in taken
            for user in users
        ]

    async def look(self, user: str, now_ms: int) -> tuple[Pending, Tries]:
        """Whether something waits for a user, and how telling it has gone so far."""
        of = self._keys.of(user)
        (best, told), tries = unwrapped(
            await self._client.pipeline(
                [
                    ("HMGET", of.state, "best", "pushed"),
                    ("HGET", self._keys.push_tries(partition_of(user)), user),
                ]
            )
        )
        begin = Cursor.of(best) if best else START
        first = await self._first(user, begin, now_ms)
        return Pending(begin, Told.of(told), first), Tries.of(tries)

    async def _first(self, user: str, begin: Cursor, now_ms: int) -> Cursor | None:
        at, size = begin.raw(), FEW
        while at:
            row = await self._slice(user, at, now_ms, size, "first")
            if row[0]:
                return Cursor.of(row[1])
            at, size = row[5], SLICE
        return None

    async def count(self, user: str, first: Cursor, now_ms: int) -> Counted:
        """What waits from `first` on. Of more than MOST entries the oldest are counted."""
        at, count, newest, walked = Cursor(first.ms, first.seq - 1).raw(), 0, None, 0
        while at and walked < MOST:
            row = await self._slice(user, at, now_ms, SLICE, "all")
            count, newest = count + row[0], _newest(row) or newest
            at, walked = row[5], walked + SLICE
        if at:
            newest = _newest(await self._slice(user, at, now_ms, SLICE, "newest")) or newest
        return Counted(count, newest)

    async def _slice(self, user: str, at: bytes, now_ms: int, most: int, what: str) -> Any:
        keys, args = (self._keys.of(user).inbox,), (at, user, now_ms, most, what)
        return await scripts.call(self._client, scripts.PUSH_LOOK, keys, args)

    async def told(self, user: str, told: Told) -> bool:
        """The user knows what waits. False: a device has acked something meanwhile, and nothing was written."""
        args = (told.best.raw(), str(told))
        return bool(await scripts.call(self._client, scripts.PUSH_TOLD, (self._keys.of(user).state,), args))

    async def done(self, lease: Lease, again_ms: int | None = None, tries: Tries | None = None) -> bool:
        """Gives a lease back: the row is to be looked at `again_ms`, or nothing is left to be done. False: the lease
        had run out, and nothing was written.
        """
        partition = partition_of(lease.user)
        again = "" if again_ms is None else again_ms
        found = await scripts.call(
            self._client,
            scripts.PUSH_DONE,
            (self._keys.push(partition), self._keys.push_tries(partition)),
            (lease.user, lease.until_ms, again, tries.row() if tries else "", self._settling_ms),
        )
        return bool(found)


def _newest(row: Any) -> Newest | None:
    """What `push_look.lua` found."""
    return Newest(row[3].decode(), row[4].decode(), Cursor.of(row[2])) if row[0] else None
