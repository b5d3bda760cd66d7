"""The database without stalling the event loop: all of it happens in one thread of its own.

Writes that come while another one is on its way to the disk share the next transaction: one flush serves them all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from inboxd_client.database import Database, Statement
from inboxd_client.errors import StorageError
from inboxd_client.outbox import OutboxItem

T = TypeVar("T")


class Storage:
    """`path`: None for memory. Every method raises StorageError."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inboxd-storage")
        self._database: Database | None = None
        self._turn = asyncio.Lock()  # held by whoever has a transaction
        self.owner: asyncio.Task[Any] | None = None  # of the application's transaction
        self._waiting: list[tuple[list[Statement], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> tuple[dict[str, str], list[str], list[OutboxItem]]:
        """What is stored: values by name, identities, the outbox."""
        try:
            self._database = await self._in_thread(Database, self.path)
            return await self._in_thread(self._database.load)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """After everything that was asked for has been written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        async with self._turn:
            database, self._database = self._database, None
            if database is not None:
                await self._in_thread(database.close)
        self._thread.shutdown(wait=False)

    @property
    def is_open(self) -> bool:
        return self._database is not None

    async def write(self, statements: Iterable[Statement]) -> None:
        """All or none; in the order of the calls; on disk when it returns. Cancelled: is written all the same."""
        if self._database is None:
            raise StorageError("unusable", "the database is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(statements), done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await asyncio.shield(done)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                async with self._turn:
                    batch, self._waiting = self._waiting, []
                    await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[list[Statement], asyncio.Future[None]]]) -> None:
        fault: StorageError | None = None
        try:
            await self._in_thread(self._open_one.write, [one for statements, _ in batch for one in statements])
        except StorageError as found:
            fault = found
        for _, done in batch:
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(StorageError(fault.code, str(fault)))
                done.exception()  # whoever was cancelled meanwhile need not look

    @property
    def _open_one(self) -> Database:
        if self._database is None:
            raise StorageError("unusable", "the database is closed")
        return self._database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Nothing else is written until it ends. Left with an exception: nothing of it happened."""
        self.refuse_within()
        async with self._turn:
            database = self._open_one
            self.owner = asyncio.current_task()
            transaction = Transaction(self._in_thread, database)
            try:
                await self._in_thread(database.begin)
                yield transaction
                await transaction.end()
            finally:
                await finish_first(asyncio.ensure_future(self._end(database, transaction)))

    async def _end(self, database: Database, transaction: "Transaction") -> None:
        """Behind a commit that may still be on its way: the thread does one after the other."""
        self.owner = None
        await self._in_thread(database.roll_back)
        transaction.give_up()

    def refuse_within(self) -> None:
        """Raises RuntimeError in the task that has the transaction: it would wait for itself for ever."""
        if self.owner is not None and self.owner is asyncio.current_task():
            raise RuntimeError("within handling(): use the transaction's own methods")

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Also when cancelled this waits for the end, so that nobody else finds the database in the middle."""
        return await finish_first(asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments))


class Transaction:
    """The database within one transaction, which commits when the block is left."""

    def __init__(self, in_thread: Callable[..., Any], database: Database) -> None:
        self._in_thread, self._database = in_thread, database
        self._last: list[Statement] = []
        self._callbacks: list[Callable[[], None]] = []
        self._failed: list[Callable[[], None]] = []
        self._is_over = False

    async def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """Runs one statement of the application's own; its rows. Raises sqlite3.Error.

        Tables whose names begin with `inboxd_` are not the application's, and BEGIN, COMMIT and ROLLBACK are not its
        business.
        """
        rows: list[Any] = await self._in_thread(self._database.execute, sql, parameters)
        return rows

    def add(self, statements: Iterable[Statement]) -> None:
        """To be written last."""
        self._last.extend(statements)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Called once it is on disk."""
        self._callbacks.append(callback)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Called where nothing of it will ever be on disk."""
        self._failed.append(callback)

    def give_up(self) -> None:
        """Unless it was committed."""
        if not self._is_over:
            for callback in self._failed:
                callback()

    async def end(self) -> None:
        """Commits."""
        await finish_first(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        await self._in_thread(self._database.commit, self._last)
        self._is_over = True
        for callback in self._callbacks:
            callback()


async def finish_first(work: asyncio.Future[T]) -> T:
    """What was begun is finished before a cancellation goes on, however often it comes: this takes no time."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # nobody is left to be told
        raise cancelled
    return work.result()


async def finish_anyway(work: Coroutine[Any, Any, None]) -> None:
    """What was begun is finished, also when whoever waits is cancelled and does not wait any more."""
    await asyncio.shield(asyncio.ensure_future(work))
