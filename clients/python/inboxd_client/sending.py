"""The outbox at work: stored before the first try, and whoever waits for an answer gets it."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from inboxd_client.database import Statement, delete_item, put_item, tried_item
from inboxd_client.errors import SendError, StorageError
from inboxd_client.events import News
from inboxd_client.frames import Acceptance, Frame
from inboxd_client.outbox import ItemState, Limits, Outbox, OutboxItem, Turn
from inboxd_client.states import Stats
from inboxd_client.storage import Storage, Transaction

log = logging.getLogger("inboxd_client")

Tell = Callable[[str, Any], None]


def wall() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


class Sending:
    """`send(frame)`: to the connection there is. `tell(type, event)`: events. `most`: items of the outbox.

    `run` is to be kept in a task.
    """

    def __init__(
        self, outbox: Outbox, storage: Storage, send: Callable[[Frame], None], tell: Tell, stats: Stats, most: int
    ) -> None:
        self.outbox = outbox
        self.is_closed = False
        self._storage, self._send, self._tell, self._stats, self._most = storage, send, tell, stats, most
        self._waiters: dict[str, list[asyncio.Future[Acceptance]]] = {}
        self._news = News()
        self._jobs: set[asyncio.Task[None]] = set()
        self._connection = 0  # raised with each

    # What the application does

    def submit(self, draft: OutboxItem) -> bool:
        """Whether it is a new item, which is to be stored. Raises SendError."""
        if self.is_closed:
            raise SendError("closed", "the client is closed", draft.id)
        known = self.outbox.get(draft.id)
        if known is not None or self.outbox.is_leaving(draft.id):
            if known is None or not known.says_the_same(draft):
                raise SendError("id_reused", "this id is another item's", draft.id)
            return False
        if len(self.outbox) >= self._most:
            raise SendError("outbox_full", f"{self._most:,} items wait already", draft.id)
        self.outbox.add(draft, wall())
        return True

    async def send(self, draft: OutboxItem) -> Acceptance:
        """Stores it and waits for its end. Raises SendError, StorageError."""
        self._storage.refuse_within()
        id, is_new = draft.id, self.submit(draft)
        answer: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        known = self.outbox.get(id)
        assert known is not None
        if known.state is ItemState.FAILED and known.error is not None:
            raise SendError(known.error["code"], known.error["message"], id)
        self._waiters.setdefault(id, []).append(answer)
        if is_new:
            self._spawn(self._keep(known))
        try:
            return await answer
        finally:
            self._forget(id, answer)

    def _forget(self, id: str, waiter: asyncio.Future[Acceptance]) -> None:
        """Nobody waits there any more."""
        waiters = self._waiters.get(id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[id]

    async def send_within(self, transaction: Transaction, draft: OutboxItem) -> str:
        """As part of a transaction: it goes out once that is on disk, and is forgotten if it never is."""
        id, is_new = draft.id, self.submit(draft)
        item = self.outbox.get(id)
        if is_new and item is not None:
            transaction.add([put_item(item)])
            transaction.on_commit(lambda: self._kept(id))
            transaction.on_failure(lambda: self._lost(id))
        return id

    async def retry(self, id: str) -> None:
        """Raises LookupError where nothing of this id waits for it."""
        self._storage.refuse_within()
        item = self.outbox.retry(id)
        if item is None:
            raise LookupError(f"no failed or stale item {id!r}")
        await self._write([put_item(item)])
        self._changed(item)

    async def discard(self, id: str) -> None:
        """Raises LookupError."""
        self._storage.refuse_within()
        item, skip = self.outbox.discard(id)
        if item is None:
            raise LookupError(f"no item {id!r}")
        if skip:
            self._send({"type": "skip", "id": id})
        self._reject(id, SendError("discarded", "it was discarded", id))
        self._changed(item)
        await self._write([delete_item(id)])

    # Storing

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._over)

    def _over(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (fault := job.exception()) is not None:
            log.error("a step of the outbox has failed", exc_info=fault)
            self._tell("error", {"code": "internal", "error": fault})

    async def _keep(self, item: OutboxItem) -> None:
        try:
            await self._storage.write([put_item(item)])
        except StorageError as fault:
            self._lost(item.id, fault)
        else:
            self._kept(item.id)

    def _kept(self, id: str) -> None:
        item = self.outbox.get(id)
        self.outbox.stored(id)
        if item is None:  # discarded while it was being stored
            self._spawn(self._write([delete_item(id)]))
        else:
            self._changed(item)

    def _lost(self, id: str, fault: StorageError | None = None) -> None:
        self.outbox.withdraw(id)
        self._reject(id, fault or StorageError("unusable", "the transaction was given up"))
        self._news.wake()

    async def _write(self, statements: list[Statement]) -> None:
        """What only makes the next start easier, and may fail."""
        try:
            await self._storage.write(statements)
        except StorageError as fault:
            self._tell("error", {"code": "storage_failed", "error": fault})

    async def _write_if_current(self, item: OutboxItem) -> None:
        """Asked when its turn to run has come: a row of one discarded or retried since would come back."""
        if self.outbox.get(item.id) is item:
            await self._write([put_item(item)])

    # What the connection does

    def connected(self, limits: Limits) -> None:
        """`welcome` came."""
        self._connection += 1
        self.outbox.connected(limits)
        self._news.wake()

    def disconnected(self) -> None:
        """What was not answered goes out again on the next one."""
        self._connection += 1
        self.outbox.disconnected()

    def accepted(self, frame: Frame) -> None:
        """The answer to an item."""
        id = str(frame["id"])
        item = self.outbox.accepted(id)
        if item is not None:
            acceptance = Acceptance.of(frame)
            for waiter in self._waiters.pop(id, []):
                if not waiter.done():
                    waiter.set_result(acceptance)
            self._tell("accepted", {"id": id, "acceptance": acceptance})
            self._spawn(self._write([delete_item(id)]))
            self._changed(item)
        self._news.wake()

    def refused(self, frame: Frame, now: float) -> None:
        """An `error` with the id of an item."""
        failed, skip = self.outbox.refused(frame, now)
        if skip:
            self._send({"type": "skip", "id": frame["id"]})
        if failed is not None:
            self._fail(failed)
        self._news.wake()

    def _fail(self, item: OutboxItem) -> None:
        self._spawn(self._failed(item))

    async def _failed(self, item: OutboxItem) -> None:
        """Stored first: what the application is told must hold after a kill, too."""
        assert item.error is not None
        code, message = item.error["code"], item.error["message"]
        await self._write_if_current(item)
        if self.outbox.get(item.id) is not item:
            return  # discarded, or to be tried again, meanwhile
        self._reject(item.id, SendError(code, message, item.id))
        self._tell("failed", {"id": item.id, "code": code, "message": message})
        self._changed(item)

    def _reject(self, id: str, fault: SendError | StorageError) -> None:
        for waiter in self._waiters.pop(id, []):
            if not waiter.done():
                waiter.set_exception(fault)

    def _changed(self, item: OutboxItem) -> None:
        self._tell("outbox", item)
        self._news.wake()

    # Going out

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            turn = self.outbox.ready(time.monotonic(), wall())
            for id in turn.skipped:
                self._send({"type": "skip", "id": id})
            for item in turn.failed:
                self._fail(item)
            for item in turn.stale:
                self._spawn(self._write_if_current(item))
                self._tell("stale", item)
                self._changed(item)
            if turn.sending:
                await self._send_out(turn)
            else:
                await self._pause()

    async def _send_out(self, turn: Turn) -> None:
        """Not before it is on disk that they were tried: else a restart would take them for new after any time."""
        connection = self._connection
        if turn.tried:
            await self._write([tried_item(item) for item in turn.tried])
        if connection != self._connection:
            return  # they are queued again
        for item in turn.sending:
            if self.outbox.get(item.id) is not None:
                self._send(item.frame(wall()))
                self._stats.sent += 1
            else:
                self.outbox.accepted(item.id)  # discarded meanwhile: nothing is on its way

    async def _pause(self) -> None:
        deadline = self.outbox.deadline
        wait = None if deadline is None or self.outbox.waits_for_answers else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(wait):
                await self._news.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Whoever waits is told; the items stay, and go out the next time."""
        self.is_closed = True
        for id in list(self._waiters):
            self._reject(id, SendError("closed", "the client was closed; the message stays in the outbox", id))
        while self._jobs:
            await asyncio.wait(self._jobs)
