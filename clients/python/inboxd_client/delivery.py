"""From the inbox to the application: one entry after the other, each until it is handled and that is on disk.

What happens where: handed over → handler finished → cursor and identity stored in one transaction → ack. A process
that dies before the third is handed the same entry again; the application's own writes can share that transaction.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from inboxd_client.database import Statement, handled
from inboxd_client.errors import ClientClosed, InboxError, StorageError
from inboxd_client.events import Handler, Listeners, News, call
from inboxd_client.frames import ENTRY_EVENTS, Frame, Message
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
    `more(entry)`: what is to be stored with it.

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
        more: Callable[[Entry], list[Statement]],
    ) -> None:
        self._inbox, self._storage, self._listeners, self._timing = inbox, storage, listeners, timing
        self._tell, self._stored, self._more = tell, stored, more
        self._offers_all = False  # to whoever iterates: not only messages
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
        """What is offered waits for somebody who wants it, unless it is a repeat."""
        entry = self._inbox.first()
        if entry is None:
            return None
        wanted = self._iterated or self._listeners.of(event_of(entry))
        if self._is_offered(entry) and not wanted and not self._inbox.is_repeat(entry):
            return None
        return self._inbox.take()

    def _is_offered(self, entry: Entry) -> bool:
        """To whoever iterates; others pass where nobody listens to them."""
        return self._offers_all or entry.frame["type"] == "message"

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
            if not waiting and (held.served or not self._is_offered(held.entry)):
                return
            if not waiting:
                await self._offer(held)
            elif not await self._serve(held, waiting[0]):
                await asyncio.sleep(self._timing.wait(failures, random.uniform))
                failures += 1

    async def _offer(self, held: Held) -> None:
        """To whoever iterates, until it is handled, or a handler is there to take it, or nobody wants its like."""
        kind = event_of(held.entry)
        self.wake()
        await self._news.until(lambda: held.finished or self._listeners.of(kind) or not self._is_offered(held.entry))

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
            try:
                await self._storage.write(self._handled(held.entry, repeat=repeat))
            except StorageError as fault:
                if self._is_closing:
                    return
                self._tell("error", {"code": "storage_failed", "error": fault})
                await self._back_off(failures)
                failures += 1
            else:
                self._finish(held, repeat=repeat)

    def _handled(self, entry: Entry, *, repeat: bool = False) -> list[Statement]:
        position = self._inbox.position_after(entry)
        return handled(position, None) if repeat else [*handled(position, entry.identity), *self._more(entry)]

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

    def _in_hand(self, entry: Message | Frame) -> Held:
        held = self._held
        if held is None or held.event is not entry:
            raise ValueError("not the entry in hand: it is handled already, or was given up")
        return held

    async def handled(self, entry: Message | Frame) -> None:
        """It is, and that is on disk when this returns. Raises ClientClosed."""
        self._storage.refuse_within()
        held = self._in_hand(entry)
        await finish_anyway(self._store(held))
        if not held.finished:
            raise ClientClosed("the client was closed before it was on disk; it comes again")

    @asynccontextmanager
    async def handling(self, entry: Message | Frame) -> AsyncIterator[Transaction]:
        """A transaction that ends with the entry being handled."""
        held = self._in_hand(entry)
        async with self._storage.transaction() as transaction:
            if held.finished:
                raise ValueError("this entry is handled already")
            yield transaction
            transaction.add(self._handled(held.entry))
            transaction.on_commit(lambda: self._finish(held))

    def messages(self) -> "Messages":
        """One reader of all messages."""
        self._offers(everything=False)
        return Messages(self)

    def entries(self) -> "Entries":
        """One reader of everything that has a cursor."""
        self._offers(everything=True)
        return Entries(self)

    def _offers(self, *, everything: bool) -> None:
        self._offers_all = everything
        self.wake()

    async def offered(self) -> Held:
        """What is in hand, when there is something. Raises ClientClosed, ClientFailed."""
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
        return held if held is not None and not held.finished and self._is_offered(held.entry) else None

    async def finish(self, held: Held) -> None:
        """As `handled`, for the iterator, which ends by itself when the client is closed."""
        await finish_anyway(self._store(held))


def event_of(entry: Entry) -> str:
    """The name that it is listened to under."""
    kind = str(entry.frame["type"])
    return kind if kind in ENTRY_EVENTS else "entry"


class Reader:
    """What is in hand counts as handled when the next one is asked for. A loop that is left keeps its last one
    unhandled: the next loop begins with it, unless `handled` was called.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._mine: Held | None = None

    async def _next(self) -> Any:
        """Raises ClientFailed; stops when the client is closed."""
        if self._mine is not None:
            mine, self._mine = self._mine, None
            await self._delivery.finish(mine)
        try:
            self._mine = await self._delivery.offered()
        except ClientClosed:
            raise StopAsyncIteration from None
        return self._mine.event


class Messages(Reader):
    """`async for message in …`."""

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Message:
        """As `_next`."""
        message: Message = await self._next()
        return message


class Entries(Reader):
    """`async for entry in …`: a Message, or the frame of any other entry."""

    def __aiter__(self) -> "Entries":
        return self

    async def __anext__(self) -> Message | Frame:
        """As `_next`."""
        entry: Message | Frame = await self._next()
        return entry
