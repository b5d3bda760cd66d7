"""The sends of one connection: on their way in one order, wherever they go; each is answered."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import orjson

from service.core.errors import Fault
from service.core.frames import error_frame
from service.core.groups import GroupResult, group_outcome
from service.core.lane import Lane
from service.core.sending import OUT_OF_ORDER, Appended, AppendStatus, Message, Outcome, accepted_frame, outcome
from service.delivery.flights import Done

if TYPE_CHECKING:
    from service.delivery.worker import Worker

MOST_SENDS = 1024
"""Sends of one connection on their way; beyond, it is read no further until some have their answer."""


class Sends:
    """`tell` takes the answers. Nothing is taken once it is closed: nobody could be told."""

    def __init__(self, worker: "Worker", tell: Callable[[bytes], None]) -> None:
        self._worker = worker
        self._tell = tell
        self._closed = False
        self._lane = Lane()
        self._count = 0
        self._group: str | None = None  # where they go; None: to users
        self._fewer: asyncio.Future[None] | None = None  # while somebody waits for an answer

    def close(self) -> None:
        """Whoever waits to send is let go."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        """Whoever waits looks again: there are fewer, or it is closed."""
        if self._fewer is not None and not self._fewer.done():
            self._fewer.set_result(None)

    def free(self, group: str | None = None) -> bool:
        """Whether `ready` would return at once."""
        mine = not self._count or (self._count < MOST_SENDS and group == self._group)
        return mine and self._worker.committer.roomy

    async def ready(self, group: str | None = None) -> None:
        """Back-pressure: waits while too many are on their way. And order: what goes to users and to groups goes
        different ways, so all of it is answered before it changes from one to the other.
        """
        while (self._count >= MOST_SENDS or (self._count and group != self._group)) and not self._closed:
            await self._until_fewer()
        self._group = group
        await self._worker.committer.room()

    def submit(self, message: Message, group: str | None = None) -> None:
        """Sends a message to its recipients, or to a group; `accepted` or `error` follows. Only once it is `free`."""
        if not self._admits(message):
            return
        self._group = group
        if group is None:
            self._worker.committer.submit(message, self._done(message), self._lane)
            return

        def done(result: GroupResult | Fault) -> None:
            self._answered()
            self._told(message, group_outcome(message, group, result, self._worker.durability))

        self._worker.fanout.submit(group, message, done, self._lane)

    async def change(self, change: Message) -> None:
        """As `submit`, of an edit, deletion or reaction to users, in order: its target may be what was sent just
        before, so all of that is answered first.
        """
        while self._count and not self._closed:
            await self._until_fewer()
        self._group = None
        await self._worker.committer.room()
        if self._admits(change):
            await self._worker.changes.submit(change, self._done(change), self._lane)

    def submit_unordered(self, message: Message, told: Done) -> None:
        """As `submit`, for a client that cannot repeat a send: what follows one that failed is not refused."""
        if self._closed:
            return
        self._count += 1

        def done(results: Sequence[Appended] | Fault) -> None:
            self._answered()
            told(results)

        self._worker.committer.submit(message, done)

    def skip(self, id: str) -> None:
        """Gives up one that failed."""
        self._lane.skip(id)

    async def _until_fewer(self) -> None:
        self._fewer = asyncio.get_running_loop().create_future()
        await self._fewer

    def _admits(self, message: Message) -> bool:
        """Whether it may go on now; else it was answered."""
        if self._closed:
            return False
        if not self._lane.admits(message.id):
            self._told(message, Outcome(OUT_OF_ORDER.status, {}, OUT_OF_ORDER))
            return False
        self._count += 1
        return True

    def _done(self, message: Message) -> Done:
        def done(results: Sequence[Appended] | Fault) -> None:
            self._answered()
            if isinstance(results, Fault):
                self._told(message, Outcome(results.status, {}, results))
            elif self._closed:
                return
            elif len(results) == 1 and results[0].status is AppendStatus.APPENDED:  # nearly all
                self._tell(accepted_frame(message, results[0], self._worker.durability))
            else:
                self._told(message, outcome(message, results, self._worker.durability))

        return done

    def _answered(self) -> None:
        self._count -= 1
        if self._fewer is not None:
            self._let_go()

    def _told(self, message: Message, told: Outcome) -> None:
        if self._closed:
            return
        if told.fault is not None:
            self._tell(error_frame(told.fault, id=message.id, **told.content))
        else:
            del told.content["from"]
            self._tell(orjson.dumps({"type": "accepted", **told.content}))
