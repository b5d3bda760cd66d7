"""Inboxes: acking, reading pages and history. What puts entries in is `appends.py`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing, read_entry
from service.core.page import Page
from service.store import scripts
from service.store.client import Clients
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.link import unwrapped

HISTORY_CHUNK = 100
"""Entries read at a time while a history is filtered."""
HISTORY_BYTES = 512 << 10
"""What one page of history holds at most, unless a single entry is larger."""


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
            if cursor != lower and not (lower.seq if lower else -1) < cursor.seq < (upper or newest).seq:
                return AckStatus.NOT_NEWER, holder
        return (await self.ack([(user, device, cursor)]))[0], holder

    async def page(self, user: str, device: str, after: Cursor, count: int, now_ms: int) -> Page:
        """Up to `count` entries beyond `after`, and whether `after` is still there. Raises Unavailable."""
        keys = self._keys.of(user)
        last, rows = unwrapped(
            await self._rest.pipeline(
                [("HGET", keys.state, "last"), ("XRANGE", keys.inbox, after.raw(), "+", "COUNT", count + 1)]
            )
        )
        found = bool(rows) and Cursor.of(rows[0][0]) == after
        before, stored = None, None
        if not found and after != START:
            before, stored = await self._around(keys.inbox, keys.cursors, device, after)
        entries = _entries(rows[1:] if found else rows, now_ms)
        newest = Cursor.of(last) if last else (entries[-1].cursor if entries else START)
        return Page(after, entries, newest, found, len(rows) <= count, before, stored)

    async def _around(
        self, inbox: bytes, cursors: bytes, device: str, after: Cursor
    ) -> tuple[Cursor | None, Cursor | None]:
        below, stored = unwrapped(
            await self._rest.pipeline([("XREVRANGE", inbox, after.raw(), "-", "COUNT", 1), ("HGET", cursors, device)])
        )
        return (Cursor.of(below[0][0]) if below else None), (Cursor.of(stored) if stored else None)

    async def history(
        self, user: str, before: Cursor | None, limit: int, peer: str | None, now_ms: int
    ) -> tuple[list[Entry], bool]:
        """Newest first: up to `limit` entries older than `before`, of the conversation with `peer` or of all;
        and whether there are more. Raises Unavailable.
        """
        inbox = self._keys.of(user).inbox
        kept: list[Entry] = []
        size = 0
        if before == START:
            return [], False
        upper = f"({before}" if before else "+"
        while True:
            rows = await self._rest.run("XREVRANGE", inbox, upper, "-", "COUNT", HISTORY_CHUNK)
            for id, fields in rows:
                entry = read_entry(Cursor.of(id), fields, now_ms)
                if isinstance(entry.tail, Missing) or (peer is not None and not _with(fields, user, peer)):
                    continue
                if len(kept) == limit or (kept and size + entry.size > HISTORY_BYTES):
                    return kept, True
                kept.append(entry)
                size += entry.size
            if len(rows) < HISTORY_CHUNK:
                return kept, False
            upper = "(" + rows[-1][0].decode()

    async def last(self, user: str) -> Cursor:
        """The newest cursor. Raises Unavailable."""
        last = await self._rest.run("HGET", self._keys.of(user).state, "last")
        return Cursor.of(last) if last else START

    async def heads(self, users: Sequence[str]) -> list[tuple[Cursor, dict[str, str]]]:
        """Per user the newest cursor and the presence rows, one pipeline for all. Raises Unavailable."""
        commands: list[tuple[Any, ...]] = []
        for user in users:
            of = self._keys.of(user)
            commands += [("HMGET", of.state, "last", "best", "receipted"), ("HGETALL", of.presence)]
        rows = unwrapped(await self._rest.pipeline(commands))
        found = []
        for user, (last, best, receipted), presence in zip(users, rows[::2], rows[1::2], strict=True):
            newest = Cursor.of(last) if last else START
            found.append((newest, {d.decode(): c.decode() for d, c in presence.items()}))
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
            ]
        unwrapped(await self._rest.pipeline(commands))


def _entries(rows: list[Any], now_ms: int) -> list[Entry]:
    return [read_entry(Cursor.of(id), fields, now_ms) for id, fields in rows]


def _with(fields: dict[bytes, bytes], user: str, peer: str) -> bool:
    """Whether a message belongs to the conversation of `user` with `peer`."""
    sender, to = fields[b"from"].decode(), fields[b"to"].decode().split(",")
    return sender == peer if sender != user else peer in to
