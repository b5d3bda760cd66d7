"""Watching: who here is to hear when other users come or go, and what they were told.

A worker whose claim or release makes a user online or offline says so to the workers that watch (`Notices`). Such a
notice is a hint: it may be lost, or be out of date. What counts is what the store says a moment later, and watchers are
told only where that is not what they were told last. So a client that connects and disconnects all the time makes few
words, and the last of them is right.
"""

import asyncio
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.core.backoff import Backoff
from service.core.errors import ClientError, Unavailable
from service.core.frames import MAX_WATCHED, presence_frame
from service.store.blocks import Blocks
from service.store.presence import Claim
from service.store.watchers import HIDDEN, Seen, Standing, Watchers
from service.telemetry import PRESENCE_TOLD, PRESENCE_UNTOLD, WATCHES, WATCHES_REFUSED

SLICE = 200
"""Users per pipeline."""
MOST_WATCHED = 100_000
"""Watches (a connection, a user) of one worker: about 50 MiB. Beyond, more are refused."""
RENEWED = 3
"""Audits of which one renews the rows in the store; the others only glance."""
LIVES = 2 * RENEWED
"""Audit intervals that a row in the store stands for, if it is not renewed."""


class Watcher(Protocol):
    """A connection, as this sees it."""

    @property
    def claim(self) -> Claim: ...

    def offer(self, line: bytes) -> bool:
        """One frame that may be lost; False: it was."""


class Host(Protocol):
    """What this needs of its worker."""

    @property
    def id(self) -> str: ...


@dataclass(slots=True)
class Watched:
    """One user. `told`: each watcher with what it was told last; `next`: the soonest that watchers hear again (by the
    loop's clock); `timer`: when the store is asked; `backoff`: while this one cannot be read.
    """

    told: dict[Watcher, Standing | None] = field(default_factory=dict)
    next: float = -math.inf
    timer: asyncio.TimerHandle | None = None
    backoff: Backoff | None = None


class Watching:
    """`settle`: seconds in which a user that went may come back without anybody hearing of it, and between two words of
    one user. `interval`: seconds in which every watched user is looked at once.
    """

    def __init__(self, host: Host, watchers: Watchers, blocks: Blocks, settle: float, interval: float) -> None:
        self._host = host
        self._watchers = watchers
        self._blocks = blocks
        self._settle = settle
        self._interval = interval
        self._users: dict[str, Watched] = {}
        self._of: dict[Watcher, set[str]] = {}
        self._count = 0
        self._due: dict[str, None] = {}  # in the order they became so
        self._wake = asyncio.Event()
        self._now = asyncio.Event()

    def watch(self, watcher: Watcher, users: Iterable[str]) -> None:
        """It is told of each at once, and whenever that changes. Raises ClientError `invalid_field`, `overloaded`."""
        mine = self._of.get(watcher, set())
        more = set(users) - mine
        if len(mine) + len(more) > MAX_WATCHED:
            raise ClientError("invalid_field", f"users: one connection watches at most {MAX_WATCHED}", "users")
        if self._count + len(more) > MOST_WATCHED:
            WATCHES_REFUSED.inc()
            raise ClientError("overloaded", "this worker watches as many users as it may")
        self._count += len(more)
        WATCHES.set(self._count)
        self._of.setdefault(watcher, mine).update(more)
        for user in users:
            self._users.setdefault(user, Watched()).told[watcher] = None
            self._look_soon(user)

    def unwatch(self, watcher: Watcher, users: Iterable[str]) -> None:
        """Others do nothing. The row in the store is not renewed any more."""
        mine = self._of.get(watcher, set())
        gone = mine.intersection(users)
        for user in gone:
            watched = self._users[user]
            del watched.told[watcher]
            if not watched.told:
                del self._users[user]
                if watched.timer is not None:
                    watched.timer.cancel()
        self._count -= len(gone)
        WATCHES.set(self._count)
        mine -= gone
        if not mine:
            self._of.pop(watcher, None)

    def leave(self, watcher: Watcher) -> None:
        """The connection is over."""
        self.unwatch(watcher, self._of.get(watcher, set()).copy())

    def recheck(self) -> None:
        """Notices may have been lost: every user is looked at without waiting for the interval."""
        self._now.set()

    def notice(self, user: str, online: bool) -> None:
        """Somebody says that this user has come, or gone."""
        watched = self._users.get(user)
        if watched is None or watched.timer is not None:
            return
        loop = asyncio.get_running_loop()
        rest = max(0.0, watched.next - loop.time())
        watched.timer = loop.call_later(rest if online else max(rest, self._settle), self._settled, user)

    def _settled(self, user: str) -> None:
        self._users[user].timer = None  # it is cancelled with the last watcher
        self._look_soon(user)

    def _look_soon(self, user: str) -> None:
        self._due[user] = None
        self._wake.set()

    def _look_later(self, user: str) -> None:
        """It cannot be read: neither those behind it wait for that, nor is it forgotten."""
        watched = self._users.get(user)
        if watched is None or watched.timer is not None:
            return
        watched.backoff = watched.backoff or Backoff(first=0.05, most=5.0)
        wait = watched.backoff.wait(random.random())
        watched.timer = asyncio.get_running_loop().call_later(wait, self._settled, user)

    async def run(self) -> None:
        """Looks at those that are due, and tells their watchers, until cancelled."""
        backoff = Backoff(first=0.05, most=2.0)
        while True:
            await self._wake.wait()
            users = [user for user in list(self._due)[:SLICE] if user in self._users]
            try:
                for user in list(self._due)[:SLICE]:
                    del self._due[user]
                await self._tell_of(users)
                backoff.reset()
            except Unavailable:
                self._due |= dict.fromkeys(users)
                await asyncio.sleep(backoff.wait(random.random()))
            if not self._due:
                self._wake.clear()

    async def audit(self) -> None:
        """Looks at everybody once in each interval, until cancelled: renews the rows, and finds lost notices."""
        rounds = 0
        while True:
            urgent = self._now.is_set()
            self._now.clear()
            await self._look_at_all(urgent, renew=urgent or rounds % RENEWED == 0)
            rounds += 1

    async def _look_at_all(self, urgent: bool, renew: bool) -> None:
        users = list(self._users)
        slices = [users[at : at + SLICE] for at in range(0, len(users), SLICE)] or [[]]
        for some in slices:
            try:
                looks = await self._look(some, renew)
            except Unavailable:
                looks = []
                for user in some:
                    self._look_later(user)
            for user, seen in looks:
                for watcher, standing in seen.items():
                    told = self._users[user].told[watcher]
                    if told is None or told.hidden != standing.hidden or not _still_true(told, standing, renew):
                        self.notice(user, standing.online)
            if not urgent:
                await self._pause(self._interval / len(slices) * random.uniform(0.7, 1.0))
                urgent = self._now.is_set()
                renew = renew or urgent

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._now.wait(), seconds)
        except TimeoutError:
            return

    async def _tell_of(self, users: Sequence[str]) -> None:
        for user, seen in await self._look(users):
            watched = self._users[user]
            for watcher, standing in seen.items():
                if _still_true(watched.told[watcher], standing):
                    watched.told[watcher] = standing  # hidden or not, it looks the same
                    continue
                if watched.told[watcher] is not None:
                    watched.next = asyncio.get_running_loop().time() + self._settle
                if watcher.offer(presence_frame(user, standing.online, standing.last_seen)):
                    PRESENCE_TOLD.inc()
                    watched.told[watcher] = standing
                else:
                    PRESENCE_UNTOLD.inc()
                    watched.told[watcher] = None  # the audit tries again

    async def _look(self, users: Sequence[str], renew: bool = True) -> list[tuple[str, dict[Watcher, Standing]]]:
        """What each watcher that is still here may see of them; without `renew` only whether they are online. Those
        that cannot be read are left out, and looked at later. Raises Unavailable.
        """
        if not users:
            return []
        if renew:
            standings = await self._watchers.watch(self._host.id, users, self._interval * LIVES)
        else:
            standings = await self._watchers.glance(users)
        found = dict(zip(users, standings, strict=True))
        pairs = [
            (user, watcher.claim.user)
            for user, standing in found.items()
            if not isinstance(standing, Unavailable) and standing.guarded and user in self._users
            for watcher in self._users[user].told
        ]
        blocked = await self._blocks.between(pairs)
        looks = []
        for user, standing in found.items():
            if (watched := self._users.get(user)) is None:
                continue
            if (seen := _seen(user, standing, watched, blocked)) is None:
                self._look_later(user)
                continue
            watched.backoff = None
            looks.append((user, seen))
        return looks


def _seen(
    user: str, standing: Seen, watched: Watched, blocked: dict[tuple[str, str], bool | Unavailable]
) -> dict[Watcher, Standing] | None:
    """None where nobody knows. Who has begun to watch since blocks were asked for is left out, and looked at next."""
    if isinstance(standing, Unavailable):
        return None
    shown = Standing(standing.online, standing.last_seen)
    if not standing.guarded:
        return dict.fromkeys(watched.told, shown)
    seen = {}
    for watcher in watched.told:
        hidden = blocked.get((user, watcher.claim.user))
        if isinstance(hidden, Unavailable):
            return None
        if hidden is not None:
            seen[watcher] = HIDDEN if hidden else shown
    return seen


def _still_true(told: Standing | None, standing: Standing, whole: bool = True) -> bool:
    """Of who is online the time last seen goes on by itself. Not `whole`: it is not known."""
    if told is None or told.online != standing.online:
        return False
    return standing.online or not whole or told.last_seen == standing.last_seen
