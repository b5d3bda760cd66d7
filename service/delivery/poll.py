"""Receiving without a socket: reading an inbox page by page, and waiting for it to grow."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing, frame, gap_frame
from service.core.errors import ClientError
from service.core.page import Gap
from service.delivery.connection import CROWDED
from service.store.presence import Claim
from service.telemetry import ENTRIES_EXPIRED, USERS_CROWDED

if TYPE_CHECKING:
    from service.delivery.worker import Worker

PAGE_ENTRIES = 100
"""Entries read at a time."""
POLL_BYTES = 1 << 20
"""What one answer holds at most, give or take an entry."""


@dataclass(frozen=True, slots=True)
class Polled:
    """`frames`: entries and gaps in order; `cursor`: the last of them; `head`: the newest of the inbox."""

    frames: list[bytes]
    cursor: Cursor
    head: Cursor


class LongPoll:
    """Waits for an entry of one device, as a subscriber of the hub like any connection."""

    def __init__(self, worker: "Worker", user: str, device: str) -> None:
        self._worker = worker
        self.claim = Claim(user, device, worker.id, f"p-{secrets.token_hex(6)}")
        self.cursor: Cursor | None = None
        self.ended = False
        self._news = asyncio.Event()

    async def claimed(self) -> Cursor:
        """Connects the device here; its stored cursor. Raises Unavailable, ClientError `too_many_connections`,
        `too_many_devices`.
        """
        if self._worker.hub.crowded(self.claim, self._worker.settings.max_connections_per_user):
            USERS_CROWDED.inc()
            raise ClientError(CROWDED.code, CROWDED.detail)
        self._worker.hub.add(self)
        claimed = await self._worker.presence.claim(self.claim, deadline_ms=self._worker.claim_deadline())
        assert claimed is not None  # without an attempt the last to come wins
        return await self._worker.succeed(claimed, self.claim)

    async def news(self, after: Cursor, seconds: float) -> bool:
        """Waits for an entry beyond `after`; False when time is over or another poll has taken over."""
        self.cursor = after
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        self._news.clear()
        return not self.ended

    def release(self) -> None:
        self.ended = True
        self._worker.hub.remove(self)
        self._worker.releaser.add(self.claim)

    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        self._news.set()

    def on_audit(self, last: Cursor, before: Cursor) -> None:
        if last != before:
            self._news.set()

    def settle(self) -> None:
        """A poll holds no hints back."""

    @property
    def stuck(self) -> bool:
        """It has no window."""
        return False

    def on_acked(self, cursor: Cursor) -> None:
        """The next poll begins there."""

    def on_stored(self, cursor: Cursor) -> None:
        """It is never stuck."""

    def end(self, code: int, reason: str) -> None:
        self.ended = True
        self._news.set()

    async def reclaim(self) -> None:
        claim = self.claim
        if self.ended:
            return
        self.claim = Claim(claim.user, claim.device, self._worker.id, claim.session)
        if await self._worker.presence.claim(self.claim, again=True, deadline_ms=self._worker.claim_deadline()) is None:
            self.end(4509, "replaced")
        if self.claim.session not in self._worker.hub.sessions(self.claim.user):
            self._worker.releaser.add(self.claim)  # over while it was being claimed


async def poll(worker: "Worker", user: str, device: str, after: Cursor | None, limit: int, wait: float) -> Polled:
    """Up to `limit` entries beyond `after` (None: the device's stored cursor), waiting up to `wait` s for the
    first. Raises Unavailable.
    """
    if wait <= 0:
        stored = (await worker.presence.register(user, device)).stored
        return await _read(worker, user, device, after or stored, limit)
    waiting = LongPoll(worker, user, device)
    deadline = asyncio.get_running_loop().time() + wait
    try:
        stored = await waiting.claimed()
        start = after or stored
        polled = await _read(worker, user, device, start, limit)
        while not polled.frames and not waiting.ended:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await waiting.news(start, left):
                break
            polled = await _read(worker, user, device, start, limit)
        return Polled([], start, polled.head) if waiting.ended else polled
    finally:
        waiting.release()


async def _read(worker: "Worker", user: str, device: str, after: Cursor, limit: int) -> Polled:
    """Page by page, until there are `limit` frames, or enough bytes, or no more."""
    frames: list[bytes] = []
    cursor, rewound_from, size = after, None, 0
    while True:
        count = min(PAGE_ENTRIES, limit - len(frames))
        page = await worker.inboxes.page(user, device, cursor, count, worker.now_ms())
        if not page.trusted:
            rewound_from = rewound_from or cursor
            cursor = page.stored if page.stored is not None and page.stored != cursor else START
            frames = [gap_frame(rewound_from, cursor, None, Missing.REWOUND)]
            continue
        for item in page.items():
            if len(frames) >= limit or size > POLL_BYTES:
                break
            line, cursor = _line(item)
            ENTRIES_EXPIRED.inc(item.expired if isinstance(item, Gap) else 0)
            frames.append(line)
            size += len(line)
        if page.complete or len(frames) >= limit or size > POLL_BYTES:
            return Polled(frames, cursor, max(page.last, cursor))


def _line(item: Entry | Gap) -> tuple[bytes, Cursor]:
    if isinstance(item, Gap):
        return gap_frame(item.after, item.upto, item.missing, item.reason), item.upto
    assert isinstance(item.tail, bytes)  # items() has made gaps of the others
    return frame(item.tail, item.cursor, replay=True), item.cursor
