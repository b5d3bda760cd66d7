"""Inboxes: acking and reading pages. What puts entries in is `appends.py`; older pages are read by `history.py`."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any

from service.core.cursor import START, Cursor
from service.core.entries import Entry, read_flat
from service.core.erased import read_row, read_rows
from service.core.page import Page
from service.store import scripts
from service.store.client import Clients
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.link import unwrapped


class AckStatus(IntEnum):
    """What `ack.lua` says of one op."""

    MOVED = 1
    NOT_NEWER = 2
    BEYOND_LAST = 3
    FAILED = 6


class Inboxes:
    """Reading users' inboxes, and moving what their devices have acked. `owing`: is told of users who owe receipts for
    what they have acked.
    """

    def __init__(self, clients: Clients, keys: Keys, limits: Limits) -> None:
        self._rest = clients.rest
        self._keys = keys
        self._limits = limits
        self.owing: Callable[[str], None] = lambda _: None

    async def ack(self, acks: Sequence[tuple[str, str, Cursor]]) -> list[AckStatus]:
        """(user, device, cursor) each, one call for all where that is possible. Raises Unavailable: any of them may
        have moved.
        """
        limits = self._limits
        expiry = int(limits.device_expiry * 1000)
        head = (limits.history, limits.max_pending, expiry, int(limits.receipts))
        parts: dict[str, list[int]] = defaultdict(list)
        for n, (user, _, _) in enumerate(acks):
            parts[user if self._rest.many else ""].append(n)
        calls = []
        for part in parts.values():
            keys: list[bytes] = []
            args: list[Any] = [*head]
            for user, device, cursor in (acks[n] for n in part):
                of = self._keys.of(user)
                keys += (of.state, of.inbox, of.cursors, of.devices)
                args += (device, cursor.raw())
            calls.append((scripts.ACK, keys, args))
        statuses = [AckStatus.FAILED] * len(acks)
        for part, rows in zip(parts.values(), unwrapped(await scripts.call_all(self._rest, calls)), strict=True):
            for n, row in zip(part, rows, strict=True):
                statuses[n] = AckStatus(row[0])
                if row[1:] == [1]:
                    self.owing(acks[n][0])
        return statuses

    async def receipted(self, made: Sequence[tuple[str, Cursor]]) -> None:
        """(user, cursor) each: receipts are made up to there, and nothing is kept for them any more. Raises
        Unavailable.
        """
        await self.ack([(user, "", upto) for user, upto in made])

    async def ack_position(self, user: str, device: str, cursor: Cursor) -> tuple[AckStatus, str | None]:
        """One ack that came beside the device's connection, if it has one. A position without an entry is one where an
        entry is missing, as a gap names it; else it is of a history that was lost, or made up, and covers nothing
        that this device was given. What became of it, and the worker that holds the device. Raises Unavailable.
        """
        keys = self._keys.of(user)
        last, below, above, row = unwrapped(
            await self._rest.pipeline(
                [
                    ("HGET", keys.state, "last"),
                    ("XREVRANGE", keys.inbox, cursor.raw(), "-", "COUNT", 1),
                    ("XRANGE", keys.inbox, cursor.raw(), "+", "COUNT", 1),
                    ("HGET", keys.presence, device),
                ]
            )
        )
        holder = row.decode().partition("/")[0] if row else None
        newest = Cursor.of(last) if last else START
        if cursor > newest:
            return AckStatus.BEYOND_LAST, None
        if cursor != newest:
            lower, upper = (Cursor.of(rows[0][0]) if rows else None for rows in (below, above))
            if cursor != lower:
                missing = (lower.seq if lower else -1) < cursor.seq < (upper or newest).seq
                if not missing or await self._another_was_there(keys.erased, cursor):
                    return AckStatus.NOT_NEWER, holder
        return (await self.ack([(user, device, cursor)]))[0], holder

    async def _another_was_there(self, erased: bytes, cursor: Cursor) -> bool:
        """Whether what was deleted at this number had another cursor."""
        rows = await self._rest.run("ZRANGEBYSCORE", erased, cursor.seq, cursor.seq)
        return any((row := read_row(raw)) is not None and row.cursor != cursor for raw in rows)

    async def page(self, user: str, device: str, after: Cursor, count: int, now_ms: int) -> Page:
        """Up to `count` entries beyond `after`, and whether `after` is still there. Raises Unavailable."""
        keys = self._keys.of(user)
        last, rows = unwrapped(
            await self._rest.exchange(
                [("HGET", keys.state, "last"), ("XRANGE", keys.inbox, after.raw(), "+", "COUNT", count + 1)]
            )
        )
        found = bool(rows) and Cursor.of(rows[0][0]) == after
        entries = _entries(rows[1:] if found else rows, now_ms)
        newest = Cursor.of(last) if last else (entries[-1].cursor if entries else START)
        page = Page(after, entries, newest, found, len(rows) <= count)
        return await self._filled(user, device, page, count) if page.holed else page

    async def _filled(self, user: str, device: str, page: Page, count: int) -> Page:
        """One more look: at what was deleted there and, where the entry at `after` is gone, at what lies around it."""
        keys, after, most = self._keys.of(user), page.after, count + 2
        commands: list[tuple[Any, ...]] = [("ZRANGEBYSCORE", keys.erased, after.seq, page.upto, "LIMIT", 0, most)]
        if not page.found and after != START:
            commands += [
                ("XREVRANGE", keys.inbox, after.raw(), "-", "COUNT", 1),
                ("HGET", keys.cursors, device),
            ]
        rows, *around = unwrapped(await self._rest.pipeline(commands))
        if around:
            below, stored = around
            page = dataclasses.replace(
                page,
                before=Cursor.of(below[0][0]) if below else None,
                stored=Cursor.of(stored) if stored else None,
            )
        return page.filled([row.entry for row in read_rows(rows)], count, whole=len(rows) < most)

    async def last(self, user: str) -> Cursor:
        """The newest cursor. Raises Unavailable."""
        last = await self._rest.run("HGET", self._keys.of(user).state, "last")
        return Cursor.of(last) if last else START

    async def heads(self, users: Sequence[str]) -> list[tuple[Cursor, dict[str, str]]]:
        """Per user the newest cursor and the presence rows, one exchange for all. Raises Unavailable."""
        commands: list[tuple[Any, ...]] = []
        for user in users:
            of = self._keys.of(user)
            commands += [("HMGET", of.state, "last", "best", "receipted"), ("HGETALL", of.presence)]
        rows = unwrapped(await self._rest.exchange(commands))
        found = []
        for user, (last, best, receipted), presence in zip(users, rows[::2], rows[1::2], strict=True):
            newest = Cursor.of(last) if last else START
            claims = [part.decode() for part in presence]
            found.append((newest, dict(zip(claims[::2], claims[1::2], strict=True))))
            if best and not (receipted and Cursor.of(best) <= Cursor.of(receipted) <= newest):
                self.owing(user)
        return found

    async def stored(self, devices: Sequence[tuple[str, str]]) -> list[Cursor | None]:
        """The cursors of devices (user, device), None where one is not known; one pipeline for all. Raises
        Unavailable.
        """
        if not devices:
            return []
        commands: list[tuple[Any, ...]] = [("HGET", self._keys.of(user).cursors, device) for user, device in devices]
        return [Cursor.of(raw) if raw else None for raw in unwrapped(await self._rest.pipeline(commands))]

    async def touch(self, devices: Iterable[tuple[str, str]], now_ms: int) -> None:
        """Connected devices (user, device) are seen now, and what is kept for them stays. Raises Unavailable."""
        kept = self._limits.kept
        commands: list[tuple[Any, ...]] = []
        for user, device in devices:
            of = self._keys.of(user)
            commands += [
                ("HSET", of.devices, device, now_ms),
                ("EXPIRE", of.inbox, kept),
                ("EXPIRE", of.cursors, kept * 2),
                ("EXPIRE", of.devices, kept * 2),
                ("EXPIRE", of.erased, kept * 2),
            ]
        unwrapped(await self._rest.pipeline(commands))


def _entries(rows: list[Any], now_ms: int) -> list[Entry]:
    return [read_flat(Cursor.of(id), fields, now_ms) for id, fields in rows]
