"""What is read, on disk before it is said; and said again on every connection until the service has it."""

import asyncio
import random
from collections.abc import Callable

from inboxd_client.database import Statement, change_meta, set_meta
from inboxd_client.frames import Frame
from inboxd_client.inbox import Entry
from inboxd_client.reads import Read, Reads
from inboxd_client.storage import Storage, Transaction
from inboxd_client.timing import Timing


class Reading:
    """`say(frame)`: to the connection that has had its `welcome`; lost where there is none."""

    def __init__(self, reads: Reads, storage: Storage, say: Callable[[Frame], None], timing: Timing) -> None:
        self._reads, self._storage, self._say, self._timing = reads, storage, say, timing
        self._writing: dict[str, tuple[Read, asyncio.Future[None]]] = {}  # the newest of each on its way to the disk
        self._again: asyncio.TimerHandle | None = None
        self._refusals = 0  # in a row

    async def read(self, frame: Frame, me: str | None) -> None:
        """On disk when this returns. Raises ValueError, StorageError."""
        self._storage.refuse_within()
        read = self._reads.of_message(frame, me)
        if read is None:
            return
        writing = self._writing.get(read.name)
        if writing is None or not self._reads.reaches(writing[0], read):
            writing = self._writing[read.name] = (read, asyncio.ensure_future(self._store(read)))
        await asyncio.shield(writing[1])

    async def _store(self, read: Read) -> None:
        try:
            await self._storage.write([set_meta(read.name, read.value)])
        finally:
            if (now := self._writing.get(read.name)) is not None and now[0] is read:
                del self._writing[read.name]
        further = self._reads.newest(read.name)
        if further is None or not self._reads.reaches(further, read):
            self._kept(read)
        else:  # it came meanwhile, and may be on disk below this one
            await self._storage.write([set_meta(further.name, further.value)])

    def read_within(self, transaction: Transaction, frame: Frame, me: str | None) -> None:
        """As part of a transaction. Raises ValueError."""
        read = self._reads.of_message(frame, me)
        if read is not None:
            transaction.add([set_meta(read.name, read.value)])
            transaction.on_commit(lambda: self._kept(read))

    def _kept(self, read: Read) -> None:
        self._reads.put(read)
        self._say(read.frame)

    def connected(self) -> None:
        """`welcome` came."""
        self._say_all()

    def disconnected(self) -> None:
        """The next connection says it."""
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _say_all(self) -> None:
        self._again = None
        for read in self._reads.to_say():
            self._say(read.frame)

    def refused(self, frame: Frame) -> list[Statement]:
        """An `error` that names a read. What may pass is said again; else not: what is to be stored then."""
        if frame.get("retryable"):
            self._later(frame.get("retry_after"))
            return []
        change = self._reads.of_refusal(frame)
        if change is None:
            return []
        before, after = change
        self._reads.put(after)
        return [change_meta(after.name, before.value, after.value)]

    def _later(self, wait: object) -> None:
        """One timer for all that are to be said."""
        if self._again is None:
            drawn = self._timing.wait(self._refusals, random.uniform)
            self._refusals += 1
            seconds = wait if isinstance(wait, int | float) else drawn
            self._again = asyncio.get_running_loop().call_later(seconds, self._say_all)

    def statements(self, entry: Entry) -> list[Statement]:
        """To be stored with the entry's being handled: it comes no second time."""
        change = self._reads.of_entry(entry.frame) if entry.frame["type"] == "read" else None
        if change is None:
            return []
        before, after = change
        return [change_meta(after.name, None if before is None else before.value, after.value)]

    def stored(self, entry: Entry) -> None:
        """The entry is handled, and that is on disk."""
        change = self._reads.of_entry(entry.frame) if entry.frame["type"] == "read" else None
        if change is not None:
            self._refusals = 0
            self._reads.put(change[1])
