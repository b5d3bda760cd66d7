"""From the inbox to the application: one entry after the other, each until it is handled and that is on disk.

What happens where: handed over → handler finished → cursor and identity stored in one transaction → ack. A process
that dies before the third is handed the same entry again; the application's own writes can share that transaction.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from inboxd_client.database import handled
from inboxd_client.errors import ClientClosed, InboxError, StorageError
from inboxd_client.events import Handler, Listeners, News, call
from inboxd_client.frames import ENTRY_EVENTS, Message
from inboxd_client.inbox import Entry, Inbox
from inboxd_client.storage import Storage, Transaction, finish_anyway
from inboxd_client.timing import Timing

Tell = Callable[[str, Any], None]


class Held:
    """The entry in hand. `finished`: it is handled, and that is on disk."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.event: Any = Message.of(entry.frame) if entry.frame["type"] == "message" else entry.frame
        self.finished = False
        self.served: list[Handler] = []  # those that have had it


class Delivery:
    """`stored(entry)` is called when an entry is handled and that is on disk. `tell(type, event)`: for `error` events.

    `run` is to be kept in a task. `inbox`, `storage` and `listeners` are shared with the client.
    """

    def __init__(
        self,
        inbox: Inbox,
        storage: Storage,
        listeners: Listeners,
        timing: Timing,
        tell: Tell,
        stored: Callable[[Entry, bool], None],
    ) -> None:
        self._inbox, self._storage, self._listeners, self._timing = inbox, storage, listeners, timing
        self._tell, self._stored = tell, stored
        self._held: Held | None = None
        self._iterated = 0  # iterators that wait
        self._news = News()
        self._ending: InboxError | None = None

    # The side of the connection

    def wake(self) -> None:
        """Something came, or somebody began to listen."""
        self._news.wake()

    def end(self, why: InboxError | None) -> None:
        """Iterators end with this; None: they may go on."""
        self._ending = why
        self.wake()

    async def run(self) -> None:
        """Until cancelled, or the client is closed."""
        while not self._is_closing:
            await self._deliver(Held(await self._news.until(self._next)))

    def _next(self) -> Entry | None:
        """Messages wait for somebody who wants them, unless they are repeats."""
        entry = self._inbox.first()
        if entry is None:
            return None
        wanted = self._iterated or self._listeners.of(event_of(entry))
        if entry.frame["type"] == "message" and not wanted and not self._inbox.is_repeat(entry):
            return None
        return self._inbox.take()

    async def _deliver(self, held: Held) -> None:
        repeat = self._inbox.is_repeat(held.entry)
        if not repeat:
            self._held = held
            try:
                await self._hand_over(held)
            finally:
                self._held = None
        await self._store(held, repeat=repeat)

    # The side of the application

    async def _hand_over(self, held: Held) -> None:
        failures = 0
        while not held.finished:
            waiting = [one for one in self._listeners.of(event_of(held.entry)) if one not in held.served]
            if not waiting and (held.served or not isinstance(held.event, Message)):
                return
            if not waiting:
                await self._offer(held)
            elif not await self._serve(held, waiting[0]):
                await asyncio.sleep(self._timing.wait(failures, random.uniform))
                failures += 1

    async def _offer(self, held: Held) -> None:
        """To whoever iterates, until it is handled, or a handler is there to take it."""
        self.wake()
        await self._news.until(lambda: held.finished or self._listeners.of("message"))

    async def _serve(self, held: Held, handler: Handler) -> bool:
        try:
            await call(handler, held.event)
        except asyncio.CancelledError as fault:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._handler_failed(held, fault)  # what it waited for was cancelled, not we
        except Exception as fault:  # noqa: BLE001 - whatever it is: it is the application's, and it is told
            return self._handler_failed(held, fault)
        held.served.append(handler)
        return True

    def _handler_failed(self, held: Held, fault: BaseException) -> bool:
        self._tell("error", {"code": "handler_failed", "error": fault, "message": held.event})
        return False

    async def _store(self, held: Held, *, repeat: bool = False) -> None:
        """Until that has worked: what was handled is not handed over again because a disk was full.

        A client that closes tries once more, then leaves it unfinished.
        """
        failures = 0
        if repeat and self._inbox.position_after(held.entry) == self._inbox.cursor:
            self._finish(held, repeat=True)
        while not held.finished:
            identity = None if repeat else held.entry.identity
            try:
                await self._storage.write(handled(self._inbox.position_after(held.entry), identity))
            except StorageError as fault:
                if self._is_closing:
                    return
                self._tell("error", {"code": "storage_failed", "error": fault})
                await self._back_off(failures)
                failures += 1
            else:
                self._finish(held, repeat=repeat)

    async def _back_off(self, failures: int) -> None:
        """Cut short by `close`: the database is still open then."""
        try:
            async with asyncio.timeout(self._timing.wait(failures, random.uniform)):
                await self._news.until(lambda: self._is_closing)
        except TimeoutError:
            pass

    @property
    def _is_closing(self) -> bool:
        return isinstance(self._ending, ClientClosed)

    def _finish(self, held: Held, *, repeat: bool = False) -> None:
        if not held.finished:
            held.finished = True
            self._inbox.stored(held.entry)
            self._stored(held.entry, repeat)
            self.wake()

    def _in_hand(self, message: Message) -> Held:
        held = self._held
        if held is None or held.event is not message:
            raise ValueError("not the message in hand: it is handled already, or was given up")
        return held

    async def handled(self, message: Message) -> None:
        """It is, and that is on disk when this returns. Raises ClientClosed."""
        self._storage.refuse_within()
        held = self._in_hand(message)
        await finish_anyway(self._store(held))
        if not held.finished:
            raise ClientClosed("the client was closed before it was on disk; the message comes again")

    @asynccontextmanager
    async def handling(self, message: Message) -> AsyncIterator[Transaction]:
        """A transaction that ends with the message being handled."""
        held = self._in_hand(message)
        async with self._storage.transaction() as transaction:
            if held.finished:
                raise ValueError("this message is handled already")
            yield transaction
            transaction.add(handled(self._inbox.position_after(held.entry), held.entry.identity))
            transaction.on_commit(lambda: self._finish(held))

    def messages(self) -> "Messages":
        """One reader of all messages."""
        return Messages(self)

    async def offered(self) -> Held:
        """The message in hand, when there is one. Raises ClientClosed, ClientFailed."""
        self._iterated += 1
        try:
            self.wake()
            found: InboxError | Held = await self._news.until(lambda: self._ending or self._offered_now())
        finally:
            self._iterated -= 1
        if isinstance(found, InboxError):
            raise found
        return found

    def _offered_now(self) -> Held | None:
        held = self._held
        is_message = held is not None and not held.finished and isinstance(held.event, Message)
        return held if is_message else None

    async def finish(self, held: Held) -> None:
        """As `handled`, for the iterator, which ends by itself when the client is closed."""
        await finish_anyway(self._store(held))


def event_of(entry: Entry) -> str:
    """The name that it is listened to under."""
    kind = str(entry.frame["type"])
    return kind if kind in ENTRY_EVENTS else "entry"


class Messages:
    """`async for message in …`: a message counts as handled when the next one is asked for.

    A loop that is left keeps its last message unhandled: the next loop begins with it, unless `handled` was called.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._mine: Held | None = None

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Message:
        """Raises ClientFailed; stops when the client is closed."""
        if self._mine is not None:
            mine, self._mine = self._mine, None
            await self._delivery.finish(mine)
        try:
            self._mine = await self._delivery.offered()
        except ClientClosed:
            raise StopAsyncIteration from None
        message: Message = self._mine.event
        return message
