"""Fates: what became of one message in its recipients' inboxes, for whoever asks later."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from service.core.cursor import START, Cursor
from service.store.client import Clients
from service.store.keys import Keys
from service.store.link import unwrapped
from service.store.marks import Mark, Marks, delivered, was_read


class State(StrEnum):
    """`delivered`: acked by a device. `expired`: its time was over before it is known to have been. `trimmed`: no
    longer kept, and nobody has acked it.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    READ = "read"
    EXPIRED = "expired"
    TRIMMED = "trimmed"


@dataclass(frozen=True, slots=True)
class Fate:
    """In one inbox. Times in ms by the server's clock: exact for the newest message a mark names, for older ones the
    latest that it can have been; None where nobody knows. `devices`: those that acked it.
    """

    to: str
    cursor: Cursor
    state: State
    delivered_at: int | None
    read_at: int | None
    devices: tuple[str, ...]


class Fates:
    """Reads only."""

    def __init__(self, clients: Clients, keys: Keys, marks: Marks) -> None:
        self._link = clients.rest
        self._keys = keys
        self._marks = marks

    async def recipients(self, sender: str, id: str) -> tuple[str, ...]:
        """Whom it went to, by the sender's own copy; () where there is none. Raises Unavailable."""
        cursor = await self._marks.place(sender, sender, id)
        if cursor is None:
            return ()
        _, found = await self._marks.skim(sender, cursor.raw(), 1)
        return found[0].to if found and found[0].cursor == cursor else ()

    async def of(self, user: str, sender: str, id: str, now_ms: int) -> Fate | None:
        """What became of it at `user`; None where the id is not known there, or no more. Raises Unavailable."""
        cursor = await self._marks.place(user, sender, id)
        if cursor is None:
            return None
        of = self._keys.of(user)
        best, cursors, marks, rows = unwrapped(
            await self._link.pipeline(
                [
                    ("HGET", of.state, "best"),
                    ("HGETALL", of.cursors),
                    ("HMGET", of.marks, delivered(sender), was_read(sender)),
                    ("XRANGE", of.inbox, cursor.raw(), cursor.raw()),
                ]
            )
        )
        acked = sorted(device.decode() for device, at in cursors.items() if Cursor.of(at) >= cursor)
        got, read = (_at_least(raw, cursor) for raw in marks)
        known = bool(acked) or (Cursor.of(best) if best else START) >= cursor
        state = judged(rows[0][1] if rows else None, known, got, read, now_ms)
        if state not in (State.DELIVERED, State.READ):
            got = None
        got_at, read_at = (mark.at_ms if mark is not None else None for mark in (got, read))
        return Fate(user, cursor, state, got_at, read_at, tuple(acked))


def judged(entry: dict[bytes, Any] | None, acked: bool, got: Mark | None, read: Mark | None, now_ms: int) -> State:
    """`entry`: its fields, None where it is gone; `got` and `read`: the marks that cover it. Pure."""
    if read is not None:
        return State.READ
    expires = int((entry or {}).get(b"expires", 0))
    if expires and expires <= now_ms:  # an ack since then may be of the gap in its place
        return State.DELIVERED if got is not None and got.at_ms <= expires else State.EXPIRED
    if acked or got is not None:
        return State.DELIVERED
    return State.PENDING if entry is not None else State.TRIMMED


def _at_least(raw: bytes | None, cursor: Cursor) -> Mark | None:
    mark = Mark.of(raw)
    return mark if mark is not None and mark.cursor >= cursor else None
