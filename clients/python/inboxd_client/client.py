"""The client: a device that loses nothing and shows nothing twice, over reconnects and restarts."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inboxd_client import database
from inboxd_client.connector import Connector, GetToken
from inboxd_client.delivery import Delivery, Messages
from inboxd_client.errors import ClientClosed, ClientFailed, RequestError, StorageError
from inboxd_client.events import Handler, Listeners, News
from inboxd_client.frames import Acceptance, Frame, Message
from inboxd_client.inbox import Entry, Inbox
from inboxd_client.link import Changed, Link
from inboxd_client.outbox import Limits, Outbox, OutboxItem
from inboxd_client.sending import Sending, wall
from inboxd_client.states import Failure, State, StateChange
from inboxd_client.storage import Storage, Transaction
from inboxd_client.timing import Timing
from inboxd_client.values import new_id
from inboxd_client.wire import socket_url

log = logging.getLogger("inboxd_client")

TOLD = frozenset({"presence", "signal", "broadcast", "welcome", "live"})
"""Frames that are events of their own name, without being entries."""


@dataclass
class Stats:
    """Counts since the client was made. `last_pending`: what the last `welcome` said was waiting."""

    repeats: int = 0
    received: int = 0
    sent: int = 0
    gaps: int = 0
    connections: int = 0
    last_pending: int = 0


class Handling:
    """One transaction with the message's being handled: all of it happens, or none, even if the process is killed."""

    def __init__(self, transaction: Transaction, sending: Sending) -> None:
        self._transaction, self._sending = transaction, sending

    async def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """One SQL statement on the application's own tables; its rows. Raises sqlite3.Error.

        Tables named `inboxd_…` are the client's. BEGIN, COMMIT and ROLLBACK are not for here.
        """
        return await self._transaction.execute(sql, parameters)

    async def send(
        self, to: str | Sequence[str], body: Any, *, id: str | None = None, expires_in: int | None = None
    ) -> str:
        """Puts a message into the outbox with this transaction; its id. It goes out after the commit.

        Raises SendError as `InboxClient.send` does before it waits.
        """
        return await self._sending.send_within(self._transaction, to, body, id, expires_in)


class InboxClient:
    """One device of one user. `async with` opens its storage and begins to connect; nothing waits for the network.

    - `url`: `http(s)://host[/base]` of the service.
    - `user`: who it is, where the service runs without authentication.
    - `device`: this installation's name. None: one is made and stored.
    - `get_token(refresh)`: a JWT, asked for before each try and when 80 % of the last one's remaining life is over;
      `refresh` asks for another than the last. What it raises is told (`error`, `token_failed`) and tried again later;
      None means that there is none any more: state `failed`.
    - `storage`: path of the SQLite file that holds cursor, identities and outbox. One client at a time. None: memory
      (told by the event `storage`): what was not sent is gone with the process, repeats come after a restart.
    - `window`: entries the service sends before it waits for an ack, 1 to 1024. None: the service's default.
    - `max_outbox`: messages that may wait.
    - `timing`: durations. `socket_options`: more for `websockets.connect` (`ssl`, `proxy`, `additional_headers` …).

    Events, for `on(type, handler)`: every entry's type (`message`: a Message; `receipt`, `read`, `edit`, `delete`,
    `react`, `group`, `gap`, `deleted`: the frame as a dict; `entry`: entries of types not known here); `presence`,
    `signal`, `broadcast`, `welcome`, `live`: the frame; `state`: a StateChange; `accepted`: `{id, acceptance}`;
    `failed`: `{id, code, message}`; `stale`, `outbox`: an OutboxItem; `storage`: `{kind, durable, path}`; `handled`:
    the frame of an entry that is handled, on disk, not yet acked; `error`: `{code, error?, message?}`.

    Handlers of entries are waited for: the next entry comes when they have finished, and an entry whose handler raises
    comes to it again, after a back-off. Other handlers that are coroutines run beside.

    Not thread-safe: it belongs to the event loop that it was opened on.
    """

    def __init__(  # noqa: PLR0913 - each is an option of its own, by name
        self,
        url: str,
        *,
        user: str | None = None,
        device: str | None = None,
        get_token: GetToken | None = None,
        storage: str | Path | None = None,
        window: int | None = None,
        max_outbox: int = 10_000,
        timing: Timing | None = None,
        socket_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.user, self.device = user, device
        self.stats = Stats()
        self._url = socket_url(url, user if get_token is None else None)
        self._get_token, self._window, self._max_outbox = get_token, window, max_outbox
        self._timing = timing or Timing()
        self._path = None if storage is None else Path(storage)
        self._socket_options = socket_options
        self._listeners = Listeners()
        self._link = Link(self._timing, renews=get_token is not None)
        self._retry_at: int | None = None
        self._attempt = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._questions: dict[str, asyncio.Future[Frame]] = {}
        self._refs = itertools.count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = False

    # Life

    async def open(self) -> None:
        """Loads what is stored, without connecting. Raises StorageError."""
        if self._is_open:
            return
        self._news = News()
        self._storage = Storage(self._path)
        values, seen, items = await self._storage.open()
        try:
            await self._own(values)
        except BaseException:
            await self._storage.close()
            raise
        self._attempt = int(values.get("attempt", "0"))
        self._inbox = Inbox(values.get("cursor"), seen)
        outbox = Outbox(self._timing, items)
        self._connector = Connector(self._url, self._link, self, self._get_token, self._socket_options)
        self._sending = Sending(outbox, self._storage, self._connector.send, self._tell, self._max_outbox)
        self._delivery = Delivery(
            self._inbox, self._storage, self._listeners, self._timing, self._tell, self._entry_stored
        )
        self._is_open = True
        for work in (self._delivery.run(), self._sending.run()):
            self._spawn(work, "a part of the client has failed")
        where = {"kind": "memory", "durable": False, "why": "no path was given"}
        if self._path is not None:
            where = {"kind": "sqlite", "durable": True, "path": str(self._path)}
        self._tell("storage", where)

    async def _own(self, values: Mapping[str, str]) -> None:
        """The file is this user's and this device's, from now on."""
        for name, ours in (("user", self.user), ("device", self.device)):
            theirs = values.get(name)
            if ours is not None and theirs is not None and ours != theirs:
                raise StorageError("other_owner", f"the database holds the inbox of {name} {theirs}, not {ours}")
        self.user = self.user or values.get("user")
        self.device = self.device or values.get("device") or new_id()
        facts = [("device", self.device), *([("user", self.user)] if self.user else [])]
        if any(values.get(name) != value for name, value in facts):
            await self._storage.write([database.set_meta(name, value) for name, value in facts])

    async def __aenter__(self) -> Self:
        await self.open()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _begin(self) -> None:
        if self.state is State.CLOSED:
            raise ClientClosed("the client is closed")
        self._delivery.end(None)
        self._connector.do(self._link.connect(self._connector.now()))

    async def connect(self) -> None:
        """Begins to connect (again, after `failed`) and waits until the state is `live`.

        Raises ClientFailed, ClientClosed, StorageError. Cancelled, it goes on connecting.
        """
        await self.open()
        self._begin()

        def settled() -> State | None:
            return self.state if self.state in (State.LIVE, State.FAILED, State.CLOSED) else None

        state = await self._news.until(settled)
        if state is State.FAILED:
            raise self._why()
        if state is State.CLOSED:
            raise ClientClosed("the client is closed")

    def _why(self) -> ClientFailed:
        failure = self.failure or Failure(None, "")
        return ClientFailed(failure.code, failure.reason)

    async def close(self) -> None:
        """For good. What waits in the outbox stays there; its awaiters get SendError `closed`.

        A message handler that is running is cancelled; its message comes again the next time.
        """
        if self.state is State.CLOSED:
            return
        if not self._is_open:
            self._link.close()
            return
        self._ack_now()
        self._delivery.end(ClientClosed("the client is closed"))
        self._connector.do(self._link.close())
        self._sending.disconnected()
        await self._connector.close()
        await self._sending.close()
        await self._end_tasks()
        await self._storage.close()

    async def _end_tasks(self) -> None:
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # What it is

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._link.state

    @property
    def failure(self) -> Failure | None:
        """Why the state is `failed`."""
        return self._link.failure

    @property
    def retry_at(self) -> int | None:
        """Unix ms of the next try, in the state `reconnecting`."""
        return self._retry_at

    @property
    def cursor(self) -> str | None:
        """Up to where the inbox is handled, as stored."""
        return self._inbox.cursor if self._is_open else None

    # Receiving

    def on(self, type: str, handler: Handler) -> Callable[[], None]:
        """Calls `handler(event)` for each; the answer takes it away again. See the class for types."""
        off = self._listeners.on(type, handler)
        if self._is_open:
            self._delivery.wake()
        return off

    def __aiter__(self) -> Messages:
        """Messages in order; each counts as handled when the next one is asked for. One loop at a time."""
        return self._delivery.messages()

    async def handled(self, message: Message) -> None:
        """Says so before the next one is asked for; on disk when this returns.

        Raises ValueError for a message that is not in hand, StorageError never: it is tried until it works.
        """
        await self._delivery.handled(message)

    @asynccontextmanager
    async def handling(self, message: Message) -> AsyncIterator[Handling]:
        """The message is handled in one transaction with what is written inside: exactly once, kills included.

        Left with an exception nothing of it happened, and the message is not handled. Keep it short: the outbox and
        reconnects wait for it. Raises ValueError for a message that is not in hand, StorageError.
        """
        async with self._delivery.handling(message) as transaction:
            yield Handling(transaction, self._sending)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Handling]:
        """The application's own reads and writes in the same file, such as making its tables; sends in them, too."""
        await self.open()
        async with self._storage.transaction() as transaction:
            yield Handling(transaction, self._sending)

    # Sending

    async def send(
        self, to: str | Sequence[str], body: Any, *, id: str | None = None, expires_in: int | None = None
    ) -> Acceptance:
        """Stores the message, then sends it until it is answered: over reconnects, and restarts.

        `to`: a user, or up to 100. `id`: absent, a UUIDv7. `expires_in`: seconds from now. Waits as long as it takes:
        cancelled (`asyncio.timeout`) only the waiting ends, the message stays in the outbox. Raises SendError,
        StorageError.
        """
        await self.open()
        return await self._sending.send(to, body, id, expires_in)

    def outbox(self) -> list[OutboxItem]:
        """What is not accepted yet, in order."""
        return self._sending.outbox.items()

    async def retry(self, id: str) -> None:
        """Sends a failed or stale item again; a stale one may arrive twice. Raises LookupError."""
        await self._sending.retry(id)

    async def discard(self, id: str) -> None:
        """Forgets an item; whoever waits for it gets SendError `discarded`. It may be in. Raises LookupError."""
        await self._sending.discard(id)

    # Asking

    async def history(
        self, *, with_user: str | None = None, before: str | None = None, limit: int | None = None
    ) -> tuple[list[Frame], bool]:
        """One page of one's own inbox, newest first, and whether there is more.

        `with_user`: only the conversation with that one. `before`: a cursor. `limit`: 1 to 200. Raises RequestError
        `not_connected`, or as the service says.
        """
        if not self._is_open or not self._connector.is_connected:
            raise RequestError("not_connected", "there is no connection")
        ref = f"h{next(self._refs)}"
        asked = {"with": with_user, "before": before, "limit": limit}
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._questions[ref] = answer
        try:
            said = {name: value for name, value in asked.items() if value is not None}
            self._connector.send({"type": "history", "ref": ref, **said})
            page = await answer
        finally:
            self._questions.pop(ref, None)
        return page["entries"], page["more"]

    # The network

    def set_online(self, online: bool) -> None:
        """What the platform says: without a network nothing is tried, with it at once."""
        self._do(lambda: self._link.set_online(online, self._connector.now()))

    def wake(self) -> None:
        """Whoever waits for the next try has it now; for when somebody looks."""
        self._do(lambda: self._link.wake(self._connector.now()))

    def drop(self) -> None:
        """Cuts the connection as a bad network would. The client comes back by itself."""
        self._do(lambda: self._link.drop(self._connector.now()))

    def _do(self, decide: Callable[[], Any]) -> None:
        if self._is_open:
            self._connector.do(decide())
        else:
            decide()

    # What the connector tells

    async def hello(self) -> Frame:
        """Raises and stores the attempt."""
        self._attempt += 1
        await self._storage.write([database.set_meta("attempt", str(self._attempt))])
        hello = {"type": "hello", "device": self.device, "attempt": self._attempt}
        more = {"cursor": self._inbox.cursor, "window": self._window}
        return hello | {name: value for name, value in more.items() if value is not None}

    def changed(self, change: Changed) -> None:
        """The state is another one."""
        self._retry_at = None if change.wait is None else wall() + round(change.wait * 1000)
        if change.state is State.FAILED:
            self._delivery.end(self._why())
        self._news.wake()
        self._tell("state", StateChange(change.state, change.previous, self._retry_at, change.code, change.reason))

    def welcomed(self, number: int, frame: Frame) -> None:
        """The service has answered: replay begins."""
        user = str(frame.get("user"))
        if self.user is None:
            self.user = user
            self._spawn(self._storage.write([database.set_meta("user", user)]), "the user's name was not stored")
        elif user != self.user:
            self._connector.do(self._link.fail(None, "other_owner"))
            return
        self.stats.connections += 1
        self.stats.last_pending = int(frame.get("pending") or 0)
        limits = Limits.of(frame.get("limits") or {})
        self._connector.limit(limits.max_frame)
        self._inbox.connected(number, int(frame.get("window") or 256))
        self._sending.connected(limits)

    def received(self, frame: Frame) -> None:
        """Any frame of the current connection."""
        kind = frame["type"]
        if "cursor" in frame and kind not in TOLD:
            self.stats.received += 1
            self._inbox.received(frame)
            self._delivery.wake()
        elif kind == "accepted":
            self._sending.accepted(frame)
        elif kind == "error":
            self._error(frame)
        elif kind == "history":
            self._answer(frame)
        elif kind in TOLD:
            self._tell(kind, frame)

    def _error(self, frame: Frame) -> None:
        if frame.get("id") is not None:
            self._sending.refused(frame, time.monotonic())
        elif frame.get("ref") is not None:
            self._answer(frame)
        else:
            self._tell("error", frame)

    def _answer(self, frame: Frame) -> None:
        question = self._questions.get(str(frame.get("ref")))
        if question is None or question.done():
            return
        if frame["type"] == "error":
            question.set_exception(RequestError(str(frame.get("code")), str(frame.get("message", ""))))
        else:
            question.set_result(frame)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._cancel_ack()
        self._inbox.disconnected()
        self._sending.disconnected()
        for question in self._questions.values():
            if not question.done():
                question.set_exception(RequestError("not_connected", "the connection was lost"))

    def fault(self, code: str, error: Exception | None = None, **more: Any) -> None:
        """Something failed that is tried again."""
        self._tell("error", {"code": code, "error": error, **more})

    # Acks

    def _entry_stored(self, entry: Entry, repeat: bool) -> None:
        if repeat:
            self.stats.repeats += 1
        elif entry.frame["type"] == "gap":
            self.stats.gaps += 1
        if not repeat:
            self._tell("handled", entry.frame)
        if self._inbox.must_ack:
            self._ack_now()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(self._timing.ack_delay, self._ack_now)

    def _cancel_ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    def _ack_now(self) -> None:
        self._cancel_ack()
        cursor = self._inbox.ack()
        if cursor is not None:
            self._connector.send({"type": "ack", "cursor": cursor})

    # Telling

    def _tell(self, kind: str, event: Any) -> None:
        """Handlers that are coroutines run beside; one that raises is told as an error, and changes nothing."""
        self.stats.sent = self._sending.sent if self._is_open else 0
        for handler in self._listeners.of(kind):
            try:
                result = handler(event)
            except Exception as fault:
                self._handler_failed(kind, fault)
            else:
                if asyncio.iscoroutine(result):
                    self._spawn(result, f"a handler of {kind} has failed")

    def _handler_failed(self, kind: str, fault: Exception) -> None:
        if kind == "error":
            log.error("a handler of errors has failed", exc_info=fault)
        else:
            self._tell("error", {"code": "listener_failed", "error": fault, "type": kind})

    def _spawn(self, work: Awaitable[Any], what: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as fault:  # noqa: BLE001 - logged and told, whatever it is
                log.exception(what)
                self._tell("error", {"code": "listener_failed", "error": fault})

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
