"""The teller: an entry is in an inbox; whoever holds its user's sockets hears of it. Oneself at once, others through
their streams.
"""

from collections.abc import Sequence
from typing import Protocol

from service.core.entries import Fields, flat, tail_of
from service.core.sending import Appended, AppendStatus, Message
from service.delivery.announcer import Announcer, Row
from service.delivery.hub import Hub
from service.store.worker_stream import Hint

CARRIED = 4096
"""Bytes of a tail that hints carry; larger entries are announced by cursor only."""


class Host(Protocol):
    """What this needs of its worker."""

    @property
    def id(self) -> str: ...


class Teller:
    def __init__(self, host: Host, hub: Hub, announcer: Announcer) -> None:
        self._host = host
        self._hub = hub
        self._announcer = announcer

    def message(self, message: Message, users: Sequence[str], results: Sequence[Appended]) -> None:
        """One to each of these users, and what became of it."""
        for user, result in zip(users, results, strict=True):
            if result.status is AppendStatus.APPENDED and result.presence:
                self._hint(user, result, message.tail(user))

    def note(self, user: str, fields: Fields, result: Appended) -> None:
        """As `message`, of an entry that nobody sent: a receipt, what was read."""
        if result.presence:
            self._hint(user, result, tail_of(flat(fields)))

    def group(self, fields: Fields, rows: Sequence[tuple[str, Appended]]) -> None:
        """As `note`, of an entry that has come into several inboxes: it is told once to each worker."""
        tail = tail_of(flat(fields))
        carried = tail if len(tail) <= CARRIED else None
        hints: dict[str, tuple[list[Hint], list[Row]]] = {}
        for user, result in rows:
            assert result.cursor is not None  # appended
            assert result.prev is not None
            for holder in {row.partition("/")[0] for _, row in result.presence}:
                if holder == self._host.id:
                    self._hub.on_hint(Hint(user, result.prev, result.cursor, tail))
                    continue
                of_worker, claims = hints.setdefault(holder, ([], []))
                of_worker.append(Hint(user, result.prev, result.cursor, carried))
                claims += ((user, device, row) for device, row in result.presence if row.startswith(f"{holder}/"))
        for holder, (of_worker, claims) in hints.items():
            self._announcer.add_shared(holder, of_worker, claims)

    def _hint(self, user: str, result: Appended, tail: bytes) -> None:
        assert result.cursor is not None  # appended
        assert result.prev is not None
        holders: dict[str, list[Row]] = {}
        for device, row in result.presence:
            worker, _, _ = row.partition("/")
            if worker in holders:
                holders[worker].append((user, device, row))
            else:
                holders[worker] = [(user, device, row)]
        for worker, rows in holders.items():
            if worker == self._host.id:
                self._hub.on_hint(Hint(user, result.prev, result.cursor, tail))
            else:
                carried = tail if len(tail) <= CARRIED else None
                self._announcer.add(worker, Hint(user, result.prev, result.cursor, carried), rows)
