"""What goes out when, and what is to become of it. Pure: fed with answers, connections and the time.

Items go out in their order, up to 64 unanswered at a time. What was not answered on one connection goes out again on
the next, in the same order, under the same ids.

After a send failed with an unknown outcome the service refuses every other one of the connection until that one comes
again. So from the first failure on nothing goes out until everything on its way is answered and the back-off is over;
then the failed ones go first.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil
from typing import Any

from inboxd_client.frames import Frame
from inboxd_client.timing import Timing
from inboxd_client.values import compact

MOST_ON_THEIR_WAY = 64
DEDUPE_WINDOW = 24 * 3600.0
"""Seconds, where `welcome` does not say."""
FOR_GOOD_ALTHOUGH_RETRYABLE = "inbox_full"


class ItemState(StrEnum):
    """Of an item of the outbox."""

    QUEUED = "queued"
    """Waits for its turn."""
    SENT = "sent"
    """On its way, on this connection."""
    FAILED = "failed"
    """Refused for good; waits for `retry` or `discard`."""
    STALE = "stale"
    """First tried longer ago than the service remembers ids: sending it again might deliver it twice. Waits, too."""


class ItemKind(StrEnum):
    """What an item is; also the `type` of its frame."""

    SEND = "send"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"


@dataclass(frozen=True)
class OutboxItem:
    """One message, or one change of a message, on its way. Times are Unix ms. `order` only grows.

    `to` or `group`: to whom, as in the message that is changed. `body_text`: compact JSON. `expires_in`: seconds from
    `created_at`. `tried_at`: of the first try. `error`: `code` and `message` of a failure. `target`: the id of the
    message that is changed; `target_from`: who wrote it, None for oneself. `receipts`: they are wanted.
    """

    id: str
    to: str | list[str] | None
    body_text: str
    expires_in: int | None = None
    order: int = 0
    created_at: int = 0
    tried_at: int | None = None
    state: ItemState = ItemState.QUEUED
    error: dict[str, str] | None = None
    kind: ItemKind = ItemKind.SEND
    group: str | None = None
    target: str | None = None
    target_from: str | None = None
    receipts: bool = True

    @property
    def body(self) -> Any:
        """The body, read anew."""
        return json.loads(self.body_text)

    def says_the_same(self, other: "OutboxItem") -> bool:
        """The same content, whenever it was made."""
        return self.content() == other.content()

    def content(self) -> Frame:
        """The frame but for what is left of its life."""
        frame: Frame = {"type": self.kind.value, "id": self.id}
        frame |= {"to": self.to} if self.group is None else {"group": self.group}
        more = {"target": self.target, "target_from": self.target_from, "expires_in": self.expires_in}
        frame |= {name: value for name, value in more.items() if value is not None}
        if not self.receipts:
            frame["receipts"] = False
        return frame if self.kind is ItemKind.DELETE else {**frame, "body": self.body}

    def remaining(self, now: int) -> int | None:
        """Seconds of its life, at least 1 once it was tried: its fate is then to be learned. None: no end."""
        if self.expires_in is None:
            return None
        left = ceil(self.expires_in - (now - self.created_at) / 1000)
        return max(left, 1) if self.tried_at is not None else left

    def frame(self, now: int) -> Frame:
        """As it goes out."""
        frame, left = self.content(), self.remaining(now)
        return frame if left is None else {**frame, "expires_in": min(left, self.expires_in or left)}


@dataclass
class Limits:
    """Of the service: bytes of a body and of a frame, None while unknown; seconds that it remembers ids."""

    max_body: int | None = None
    max_frame: int | None = None
    dedupe_window: float = DEDUPE_WINDOW

    @classmethod
    def of(cls, limits: Frame) -> "Limits":
        """Of `welcome.limits`."""
        window = limits.get("dedupe_window")
        return cls(limits.get("max_body"), limits.get("max_frame"), DEDUPE_WINDOW if window is None else float(window))


@dataclass
class Turn:
    """What one call of `ready` decided. `tried`: to be stored before `sending` leaves, in this order.

    `skipped`: ids that the service waits for and will not get.
    """

    sending: list[OutboxItem] = field(default_factory=list)
    tried: list[OutboxItem] = field(default_factory=list)
    failed: list[OutboxItem] = field(default_factory=list)
    stale: list[OutboxItem] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Outbox:
    """`items`: stored ones. `uniform`: the randomness of the back-off."""

    def __init__(
        self,
        timing: Timing,
        items: Iterable[OutboxItem] = (),
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.limits = Limits()
        self._timing, self._uniform = timing, uniform
        self._items: dict[str, OutboxItem] = {}
        self._unstored: set[str] = set()
        for item in sorted(items, key=lambda item: item.order):
            self._items[item.id] = replace(item, state=ItemState.QUEUED) if item.state is ItemState.SENT else item
        self._next_order = max((item.order for item in self._items.values()), default=0) + 1
        self._connected = False
        self._on_their_way: set[str] = set()  # of this connection; may hold discarded ones
        self._unknown: set[str] = set()  # failed on this connection, outcome unknown
        self._refusals = 0  # in a row
        self._wait_until: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    def get(self, id: str) -> OutboxItem | None:
        """The item of this id."""
        return self._items.get(id)

    def is_leaving(self, id: str) -> bool:
        """It was discarded, and the answer to it is still to come."""
        return id in self._on_their_way and id not in self._items

    def items(self) -> list[OutboxItem]:
        """Those on disk, in order."""
        found = [item for item in self._items.values() if item.id not in self._unstored]
        return sorted(found, key=lambda item: item.order)

    @property
    def deadline(self) -> float | None:
        """When `ready` may have more to say, in the seconds that it is given."""
        return self._wait_until

    @property
    def waits_for_answers(self) -> bool:
        """Nothing goes out before everything on its way is answered."""
        return self._wait_until is not None and bool(self._on_their_way)

    # What the application does

    def add(self, draft: OutboxItem, now: int) -> OutboxItem:
        """A new item, which goes out once `stored` was said of it."""
        item = replace(draft, order=self._next_order, created_at=now)
        self._next_order += 1
        self._items[item.id] = item
        self._unstored.add(item.id)
        return item

    def stored(self, id: str) -> None:
        """It is on disk."""
        self._unstored.discard(id)

    def withdraw(self, id: str) -> None:
        """It never reached the disk, or is to be forgotten."""
        self._items.pop(id, None)
        self._unstored.discard(id)

    def retry(self, id: str) -> OutboxItem | None:
        """A failed or stale item goes out again, as if never tried; None where there is no such item."""
        item = self._items.get(id)
        if item is None or item.state not in (ItemState.FAILED, ItemState.STALE):
            return None
        return self._put(replace(item, state=ItemState.QUEUED, tried_at=None, error=None))

    def discard(self, id: str) -> tuple[OutboxItem | None, bool]:
        """Forgets an item; and whether the service waits to be told (`skip`)."""
        item = self._items.pop(id, None)
        self._unstored.discard(id)
        skip = id in self._unknown
        self._unknown.discard(id)
        return item, skip

    # What the connection does

    def connected(self, limits: Limits) -> None:
        """`welcome` came."""
        self.disconnected()
        self.limits, self._connected = limits, True

    def disconnected(self) -> None:
        """What was not answered is to go out again."""
        self._connected = False
        for item in self._items.values():
            if item.state is ItemState.SENT:
                self._items[item.id] = replace(item, state=ItemState.QUEUED)
        self._on_their_way.clear()
        self._unknown.clear()
        self._wait_until = None

    def accepted(self, id: str) -> OutboxItem | None:
        """The item, which is over now. None: not one of ours (any more)."""
        self._on_their_way.discard(id)
        self._unknown.discard(id)
        self._refusals = 0
        self._unstored.discard(id)
        return self._items.pop(id, None)

    def refused(self, error: Frame, now: float) -> tuple[OutboxItem | None, bool]:
        """An `error` with the `id` of an item. The item if it failed for good; and whether `skip` is to be sent."""
        id, code = error["id"], error.get("code", "internal")
        self._on_their_way.discard(id)
        item = self._items.get(id)
        if code == "out_of_order":
            self._back(item)
            if not self._unknown:  # for no reason that we know of: not at once again
                self._hold_back(error, now)
            return None, False
        if not error.get("retryable", False) or code == FOR_GOOD_ALTHOUGH_RETRYABLE:
            self._unknown.discard(id)
            return (None if item is None else self._failed(item, code, error.get("message", ""))), False
        if item is None:  # discarded while on its way
            return None, True
        self._back(item)
        self._unknown.add(id)
        self._hold_back(error, now)
        return None, False

    def _back(self, item: OutboxItem | None) -> None:
        if item is not None and item.state is ItemState.SENT:
            self._put(replace(item, state=ItemState.QUEUED))

    def _hold_back(self, error: Frame, now: float) -> None:
        if self._wait_until is not None:
            return
        wait = error.get("retry_after")
        if not isinstance(wait, int | float):
            wait = self._timing.wait(self._refusals, self._uniform)
        self._refusals += 1
        self._wait_until = now + wait

    # What goes out

    def ready(self, now: float, wall: int) -> Turn:
        """What is to go out now. `now`: seconds of the clock of `deadline`; `wall`: Unix ms."""
        turn = Turn()
        if not self._connected or not self._is_free(now):
            return turn
        for item in self._queue():
            if len(self._on_their_way) >= MOST_ON_THEIR_WAY or item.id in self._unstored:
                break  # nothing overtakes an item that is being stored
            self._decide(item, wall, turn)
        return turn

    def _is_free(self, now: float) -> bool:
        if self._wait_until is None:
            return True
        if self._on_their_way or now < self._wait_until:
            return False
        self._wait_until = None
        return True

    def _queue(self) -> Iterator[OutboxItem]:
        """What waits: first what failed, then the rest. The dict is in order: nobody sorts ten thousand items."""
        for failed in (True, False):
            for item in self._items.values() if self._unknown or not failed else ():
                if item.state is ItemState.QUEUED and (item.id in self._unknown) == failed:
                    yield item

    def _decide(self, item: OutboxItem, wall: int, turn: Turn) -> None:
        if item.tried_at is None:
            left = item.remaining(wall)
            if left is not None and left <= 0:
                turn.failed.append(self._failed(item, "expired", "its time was over before it could be sent"))
                return
        elif wall - item.tried_at > self.limits.dedupe_window * 1000:
            turn.stale.append(self._put(replace(item, state=ItemState.STALE)))
            if item.id in self._unknown:
                self._unknown.discard(item.id)
                turn.skipped.append(item.id)
            return
        if self._is_too_large(item, wall):
            turn.failed.append(self._failed(item, "too_large", "larger than the service takes"))
            return
        if item.tried_at is None:
            item = replace(item, tried_at=wall)
            turn.tried.append(item)
        self._on_their_way.add(item.id)
        self._unknown.discard(item.id)
        turn.sending.append(self._put(replace(item, state=ItemState.SENT)))

    def _is_too_large(self, item: OutboxItem, wall: int) -> bool:
        body, frame = self.limits.max_body, self.limits.max_frame
        if body is not None and len(item.body_text.encode()) > body:
            return True
        return frame is not None and len(compact(item.frame(wall)).encode()) > frame

    def _failed(self, item: OutboxItem, code: str, message: str) -> OutboxItem:
        return self._put(replace(item, state=ItemState.FAILED, error={"code": code, "message": message}))

    def _put(self, item: OutboxItem) -> OutboxItem:
        self._items[item.id] = item
        return item
