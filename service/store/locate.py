"""Where a message lies in an inbox, by its sender and id: by the dedupe hashes, else by looking through the stream."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.aiming import Sight, sight_of
from service.core.cursor import Cursor
from service.core.erased import read_rows
from service.store import scripts
from service.store.client import Clients
from service.store.keys import Keys
from service.store.link import Command, unwrapped

CHUNK = 100
"""Entries looked through at a time."""
SEARCHES = 2
"""Of one worker at once, through what the dedupe hashes have forgotten: they cost the server more than a send does."""


@dataclass(frozen=True, slots=True)
class _Hint:
    """What the hashes say. `cursor`: where it was appended; else `before`: what lies before may hold it all the same,
    as XREVRANGE takes it, "" where nothing does.
    """

    cursor: Cursor | None
    before: str
    repeated: bool


class Locator:
    """Reads only."""

    def __init__(self, clients: Clients, keys: Keys) -> None:
        self._rest = clients.rest
        self._keys = keys
        self._searches = asyncio.Semaphore(SEARCHES)

    async def find(
        self, users: Sequence[str], sender: str, id: str, change: str = ""
    ) -> tuple[dict[str, Sight], set[str]]:
        """What the inboxes of these users know of `sender`'s message `id` to users, where they do; and in which of them
        the entry with the identity `change` is already. Raises Unavailable.
        """
        hints = await self._hints(users, f"m/{sender}/{id}", change)
        sights = await self._looked_up(hints, sender, id)
        for user, hint in hints.items():
            if hint.cursor is None and hint.before:
                async with self._searches:
                    sight = await self._search(user, hint.before, sender, id)
                if sight is not None:
                    sights[user] = sight
        return sights, {user for user, hint in hints.items() if hint.repeated}

    async def blocking(self, users: Sequence[str], whom: str) -> set[str]:
        """Those of `users` who have blocked `whom`. Raises Unavailable."""
        if not users:
            return set()
        rows = await self._rest.pipeline([("SISMEMBER", self._keys.of(user).blocks, whom) for user in users])
        return {user for user, blocks in zip(users, unwrapped(rows), strict=True) if blocks}

    async def _hints(self, users: Sequence[str], identity: str, change: str) -> dict[str, _Hint]:
        commands: list[Command] = []
        for user in users:
            of = self._keys.of(user)
            commands.append(("HMGET", of.state, "seen", "turned"))
            for seen in (of.seen_a, of.seen_b):
                commands += [("HMGET", seen, identity, change), ("EXISTS", seen)]
        rows = unwrapped(await self._rest.pipeline(commands))
        return {user: _hint(rows[n * 5 : n * 5 + 5]) for n, user in enumerate(users)}

    async def _looked_up(self, hints: Mapping[str, _Hint], sender: str, id: str) -> dict[str, Sight]:
        known = {user: hint.cursor for user, hint in hints.items() if hint.cursor is not None}
        commands: list[Command] = []
        for user, cursor in known.items():
            of = self._keys.of(user)
            commands += [
                ("XRANGE", of.inbox, cursor.raw(), cursor.raw()),
                ("ZRANGEBYSCORE", of.erased, cursor.seq, cursor.seq),
            ]
        rows = unwrapped(await self._rest.pipeline(commands)) if commands else []
        found = {}
        for (user, cursor), entries, erased in zip(known.items(), rows[::2], rows[1::2], strict=True):
            deleted = next((row.fields for row in read_rows(erased) if row.cursor == cursor), None)
            sight = _sight(cursor, entries[0][1] if entries else deleted, sender, id, deleted=not entries)
            if sight is not None:
                found[user] = sight
        return found

    async def _search(self, user: str, before: str, sender: str, id: str) -> Sight | None:
        inbox = self._keys.of(user).inbox
        while True:
            status, *row = await scripts.call(self._rest, scripts.LOCATE, (inbox,), (before, CHUNK, sender, id))
            if status == 1:
                fields = dict(zip(row[1][::2], row[1][1::2], strict=True))
                return _sight(Cursor.of(row[0]), fields, sender, id, deleted=False)
            if status != 2:
                return None
            before = f"({row[0].decode()}"


def _hint(rows: Sequence[Any]) -> _Hint:
    (current, turned), (in_a, change_a), there_a, (in_b, change_b), there_b = rows
    cursors = [Cursor.of(value.partition(b" ")[0]) for value in (in_a, in_b) if value is not None]
    whole = turned is not None and (there_b if current == b"b" else there_a)
    # The current hash has all that came since it became that.
    before = str(int(turned) - 1) if whole else "+"
    return _Hint(max(cursors, default=None), before, change_a is not None or change_b is not None)


def _sight(
    cursor: Cursor, fields: Mapping[bytes, bytes] | None, sender: str, id: str, *, deleted: bool
) -> Sight | None:
    """None: another entry than the message asked for, or what is no entry of ours."""
    if fields is None or b"group" in fields:
        return None
    kinds = {b"deleted"} if deleted else {b"message"}
    asked = (sender.encode(), id.encode())
    if fields.get(b"kind") not in kinds or (fields.get(b"from"), fields.get(b"id")) != asked:
        return None
    try:
        return sight_of(cursor, fields, deleted=deleted)
    except (KeyError, ValueError):
        return None
