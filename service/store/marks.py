"""Marks: how far each user has got and read what others sent, and who is owed a receipt for it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from service.core.cursor import START, Cursor
from service.store import scripts
from service.store.client import Clients
from service.store.keys import Keys
from service.store.link import unwrapped

PORTION = 64
"""Entries of one inbox that one call reads for receipts."""
ROOM = 1 << 20
"""Bytes of bodies after which that call reads no further users: all of them could be as large as may be."""
SKIMMED = 200
"""Messages of an inbox that one call looks at; their bodies stay where they are."""
MORE, SETTLED, FAILED = 1, 2, 6


@dataclass(frozen=True, slots=True)
class Owed:
    """A portion of what a user has acked: read up to `upto`, `more` behind it. `last`: sender → the id of the newest of
    its messages there that wants a receipt. `settled`: nobody is owed any, and that is noted down already.
    """

    upto: Cursor
    more: bool
    last: dict[str, str] = field(default_factory=dict)
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """`what`: a message's id, or the number in a group. `at_ms`: when, by the server's clock."""

    what: str
    cursor: Cursor
    at_ms: int

    @classmethod
    def of(cls, raw: bytes | None) -> "Mark | None":
        """None for what is no mark."""
        try:
            what, cursor, at = (raw or b"").decode().split(" ")
            return cls(what, Cursor.parse(cursor), int(at))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Skim:
    """A message as it lies in an inbox, without its body. `expires` in ms, 0: never; `receipts`: wanted."""

    cursor: Cursor
    id: str
    sender: str
    to: tuple[str, ...]
    group: str
    number: int
    expires: int
    receipts: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Where a message lies in its reader's inbox. `wanted`: the newest one up to there, not read before, of which its
    sender wants to know that it was read ("": none).
    """

    cursor: Cursor
    wanted: str = ""


class Moved(IntEnum):
    """What `read.lua` says of a mark."""

    OLDER = 0
    MOVED = 1
    SAME = 2


def delivered(peer: str) -> str:
    """The field of a user's marks."""
    return f"delivered/user/{peer}"


def was_read(peer: str) -> str:
    """The field of how far a user has read what `peer` sent."""
    return f"read/user/{peer}"


def was_read_in(group: str) -> str:
    """The field of how far a user has read in a group."""
    return f"read/group/{group}"


class Marks:
    """What is known of messages beyond their being in an inbox."""

    def __init__(self, clients: Clients, keys: Keys) -> None:
        self._link = clients.rest
        self._keys = keys

    async def owed(self, asked: Sequence[tuple[str, Cursor | None]]) -> list[Owed | None]:
        """(user, where the portion before ended) each; None where nothing is owed. Notes what it finds as delivered.
        Raises Unavailable; what cannot be read at all counts as nothing.
        """
        parts: dict[str, list[int]] = defaultdict(list)
        for n, (user, _) in enumerate(asked):
            parts[user if self._link.many else ""].append(n)
        calls: list[scripts.Call] = []
        for part in parts.values():
            keys: list[bytes] = []
            args: list[Any] = [PORTION, ROOM]
            for user, after in (asked[n] for n in part):
                of = self._keys.of(user)
                keys += (of.state, of.inbox, of.marks)
                args += (user, "" if after is None else after.raw())
            calls.append((scripts.OWED, keys, args))
        found: list[Owed | None] = [None] * len(asked)
        for part, rows in zip(parts.values(), unwrapped(await scripts.call_all(self._link, calls)), strict=True):
            for n, row in zip(part, rows, strict=True):
                found[n] = _owed(row)
        return found

    async def find(self, user: str, sender: str, id: str) -> Found | None:
        """Where the message lies in this inbox, by the dedupe hashes or else by looking for it; None where it is not
        known. Raises Unavailable.
        """
        cursor = await self.place(user, sender, id)
        entry: Skim | None = None
        if cursor is not None:
            _, there = await self.skim(user, cursor.raw(), 1)
            entry = there[0] if there and there[0].cursor == cursor else None
        elif (entry := await self._look_for(user, sender, id)) is not None:
            cursor = entry.cursor
        else:
            return None
        before = await self._read_before(user, sender)
        if before > cursor:
            return Found(cursor)
        if entry is None or entry.receipts:
            return Found(cursor, id)
        return Found(cursor, await self._wanted_before(user, sender, cursor, before))

    async def _read_before(self, user: str, sender: str) -> Cursor:
        """Not where the mark is of a history that was lost."""
        of = self._keys.of(user)
        raw, last = unwrapped(
            await self._link.pipeline([("HGET", of.marks, was_read(sender)), ("HGET", of.state, "last")])
        )
        mark = Mark.of(raw)
        return mark.cursor if mark is not None and last and mark.cursor <= Cursor.of(last) else START

    async def place(self, user: str, sender: str, id: str) -> Cursor | None:
        """The cursor of a message in this inbox, as long as its id is known. Raises Unavailable."""
        of, identity = self._keys.of(user), f"m/{sender}/{id}"
        rows = unwrapped(await self._link.pipeline([("HGET", of.seen_a, identity), ("HGET", of.seen_b, identity)]))
        return max((Cursor.of(row.partition(b" ")[0]) for row in rows if row), default=None)

    async def skim(self, user: str, begin: bytes | str = "+", count: int = SKIMMED) -> tuple[bytes, list[Skim]]:
        """Messages newest first from `begin` on: where to go on (b"" at the end), and those found. Raises
        Unavailable.
        """
        further, *rows = await scripts.call(self._link, scripts.SKIM, (self._keys.of(user).inbox,), (begin, count))
        return further, [_skim(row) for row in rows]

    async def _look_for(self, user: str, sender: str, id: str) -> Skim | None:
        begin: bytes | str = "+"
        while begin:
            begin, found = await self.skim(user, begin)
            for one in found:
                if one.sender == sender and one.id == id and not one.group:
                    return one
        return None

    async def _wanted_before(self, user: str, sender: str, cursor: Cursor, before: Cursor) -> str:
        """Looks back no further than one call does: what lies before had its chance."""
        _, found = await self.skim(user, b"(" + cursor.raw())
        of_sender = (one for one in found if one.sender == sender and not one.group and one.cursor > before)
        return next((one.id for one in of_sender if one.receipts), "")

    async def all(self, user: str) -> dict[str, Mark]:
        """All marks of a user, by their fields. Raises Unavailable."""
        rows = await self._link.run("HGETALL", self._keys.of(user).marks)
        marks = {name.decode(): Mark.of(raw) for name, raw in rows.items()}
        return {name: mark for name, mark in marks.items() if mark is not None}

    async def move(self, user: str, name: str, what: str, cursor: Cursor = START) -> Moved:
        """Moves a mark of what was read forward. `cursor`: of the message; `START` of a group. Raises Unavailable."""
        of = self._keys.of(user)
        return Moved(await scripts.call(self._link, scripts.READ, (of.state, of.marks), (name, what, cursor.raw())))

    async def newest_of_group(self, user: str, group: str) -> int | None:
        """The number of the group's newest entry in this inbox; None for whoever never was a member. Raises
        Unavailable.
        """
        number = await self._link.run("HGET", self._keys.of(user).groups, group)
        return int(number.partition(b" ")[0]) if number is not None else None


def _owed(row: list[Any]) -> Owed | None:
    if not row or row[0] == FAILED:
        return None
    named = [part.decode() for part in row[2:]]
    return Owed(Cursor.of(row[0]), row[1] == MORE, dict(zip(named[::2], named[1::2], strict=True)), row[1] == SETTLED)


def _skim(row: list[bytes]) -> Skim:
    _, id, sender, to, group, number, expires, receipts = (part.decode() for part in row)
    users = tuple(to.split(",")) if to else ()
    return Skim(Cursor.of(row[0]), id, sender, users, group, int(number or 0), int(expires or 0), receipts != "off")
