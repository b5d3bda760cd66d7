"""The hub: which subscribers of which user this worker holds."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from service.core.cursor import Cursor
from service.store.presence import Claim
from service.store.worker_stream import Hint

log = logging.getLogger("inboxd.hub")


class Subscriber(Protocol):
    """Whoever waits here for a user's entries: a connection, or a long poll."""

    @property
    def claim(self) -> Claim: ...

    @property
    def cursor(self) -> Cursor | None:
        """Where it stands; None while it has not begun."""

    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None: ...

    def on_audit(self, last: Cursor, before: Cursor) -> None: ...

    def settle(self) -> None:
        """Patience with missing hints is over."""

    @property
    def stuck(self) -> bool:
        """There is more for it, and only an ack can make room."""

    def on_acked(self, cursor: Cursor) -> None:
        """The device has acked that far elsewhere; it is stored."""

    def on_stored(self, cursor: Cursor) -> None:
        """The device's cursor, as the audit finds it."""

    def end(self, code: int, reason: str) -> None:
        """It must go: replaced (4509), or removed by an operator (4510)."""

    async def reclaim(self) -> None:
        """Its claim is lost: take it again. Raises Unavailable."""


def safely(subscriber: Subscriber, act: Callable[[Subscriber], None]) -> None:
    """One session's failure must not end the task that serves all: that session is ended instead."""
    try:
        act(subscriber)
    except Exception as error:  # noqa: BLE001 - it is logged
        _fail(subscriber, error)


def _fail(subscriber: Subscriber, error: Exception) -> None:
    log.error("a session of %s failed", subscriber.claim.user, exc_info=error)
    subscriber.end(1011, "internal")


class Hub:
    """user → its subscribers, by session."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Subscriber]] = {}
        self._count = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.behind: set[Subscriber] = set()  # those that wait for a missing hint

    def __len__(self) -> int:
        return self._count

    def add(self, subscriber: Subscriber) -> None:
        sessions = self._users.setdefault(subscriber.claim.user, {})
        if subscriber.claim.session not in sessions:
            self._count += 1
            self._empty.clear()
        sessions[subscriber.claim.session] = subscriber

    def remove(self, subscriber: Subscriber) -> None:
        claim = subscriber.claim
        sessions = self._users.get(claim.user, {})
        if sessions.pop(claim.session, None) is not None:
            self._count -= 1
            if not self._count:
                self._empty.set()
        if not sessions:
            self._users.pop(claim.user, None)
        self.behind.discard(subscriber)

    async def emptied(self) -> None:
        """Returns when nobody is here."""
        await self._empty.wait()

    def on_hint(self, hint: Hint) -> None:
        for subscriber in self.of(hint.user):
            try:  # as `safely`, for each message
                subscriber.on_hint(hint.prev, hint.cursor, hint.tail)
            except Exception as error:  # noqa: BLE001 - it is logged
                _fail(subscriber, error)

    def on_acked(self, user: str, device: str, cursor: Cursor) -> None:
        for subscriber in self.of(user):
            if subscriber.claim.device == device:
                safely(subscriber, lambda one: one.on_acked(cursor))

    def take_behind(self) -> set[Subscriber]:
        """Those that were behind before this batch of hints; settle them after it."""
        behind, self.behind = self.behind, set()
        return behind

    def sessions(self, user: str) -> set[str]:
        return set(self._users.get(user, ()))

    def users(self) -> list[str]:
        return list(self._users)

    def of(self, user: str) -> list[Subscriber]:
        return list(self._users.get(user, {}).values())

    def crowded(self, claim: Claim, most: int) -> bool:
        """Whether so many other devices of its user are here."""
        sessions = self._users.get(claim.user, {})
        if len(sessions) < most:
            return False
        return len({one.claim.device for one in sessions.values()} - {claim.device}) >= most

    def all(self) -> Iterator[Subscriber]:
        for sessions in list(self._users.values()):
            yield from list(sessions.values())

    def end(self, user: str, device: str | None, session: str | None, code: int, reason: str) -> int:
        """Ends those that match; how many."""
        ended = 0
        for subscriber in self.of(user):
            claim = subscriber.claim
            if device in (None, claim.device) and session in (None, claim.session):
                subscriber.end(code, reason)
                ended += 1
        return ended
