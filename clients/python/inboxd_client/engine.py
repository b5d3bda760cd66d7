"""The parts of an open client, put together: what a frame, a handled entry or a change sets off."""

import asyncio
import inspect
import itertools
import logging
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from inboxd_client import database
from inboxd_client.connector import Connector, GetToken
from inboxd_client.delivery import Delivery
from inboxd_client.errors import ClientClosed, ClientFailed, RequestError, StorageError
from inboxd_client.events import Listeners, News
from inboxd_client.frames import Frame
from inboxd_client.inbox import Entry, Inbox
from inboxd_client.link import Changed, Link
from inboxd_client.outbox import Limits, Outbox, OutboxItem
from inboxd_client.reading import Reading
from inboxd_client.reads import Reads
from inboxd_client.sending import Sending, wall
from inboxd_client.states import Failure, State, StateChange, Stats
from inboxd_client.storage import Storage
from inboxd_client.timing import Timing
from inboxd_client.values import new_id
from inboxd_client.watching import Watching

log = logging.getLogger("inboxd_client")

TOLD = frozenset({"presence", "signal", "broadcast", "welcome", "live"})
"""Frames that are events of their own name, without being entries."""


Part = Delivery | Sending
"""What runs as long as the client is open."""


@dataclass
class Options:
    """What the application asked for; see InboxClient. `user` and `device` are filled in when they become known."""

    url: str
    user: str | None
    device: str | None
    get_token: GetToken | None
    path: Path | None
    window: int | None
    max_outbox: int
    timing: Timing
    socket_options: Mapping[str, Any]


class Engine:
    """Made by `open`; ended by `close`. `link`, `listeners` and `stats` are the client's."""

    def __init__(self, options: Options, link: Link, listeners: Listeners, stats: Stats, storage: Storage) -> None:
        self.options, self.stats, self.storage = options, stats, storage
        self.retry_at: int | None = None
        self._link, self._listeners = link, listeners
        self.news = News()  # of the state
        self._attempt = 0
        self._welcomed = False  # this connection
        self._ack_timer: asyncio.TimerHandle | None = None
        self._questions: dict[str, asyncio.Future[Frame]] = {}
        self._refs = itertools.count(1)
        self._tasks: set[asyncio.Future[Any]] = set()
        self._running: dict[Part, asyncio.Future[Any]] = {}
        self.is_closed = False
        self.inbox: Inbox
        self.connector: Connector
        self.sending: Sending
        self.delivery: Delivery
        self.reading: Reading
        self.watching: Watching

    @classmethod
    async def open(cls, options: Options, link: Link, listeners: Listeners, stats: Stats) -> Self:
        """Loads what is stored. Raises StorageError."""
        storage = Storage(options.path)
        values, seen, items = await storage.open()
        engine = cls(options, link, listeners, stats, storage)
        try:
            await engine._own(values)
        except BaseException:
            await storage.close()
            raise
        engine._begin(values, seen, items)
        return engine

    async def _own(self, values: Mapping[str, str]) -> None:
        """The file is this user's and this device's, from now on."""
        options = self.options
        for name, ours in (("user", options.user), ("device", options.device)):
            theirs = values.get(name)
            if ours is not None and theirs is not None and ours != theirs:
                raise StorageError("other_owner", f"the database holds the inbox of {name} {theirs}, not {ours}")
        options.user = options.user or values.get("user")
        options.device = options.device or values.get("device") or new_id()
        facts = [("device", options.device), *([("user", options.user)] if options.user else [])]
        if any(values.get(name) != value for name, value in facts):
            await self.storage.write([database.set_meta(name, value) for name, value in facts])

    def _begin(self, values: Mapping[str, str], seen: list[str], items: list[OutboxItem]) -> None:
        options, timing = self.options, self.options.timing
        self._attempt = int(values.get("attempt", "0"))
        self.inbox = Inbox(values.get("cursor"), seen)
        self.connector = Connector(options.url, self._link, self, options.get_token, options.socket_options)
        outbox = Outbox(timing, items)
        self.sending = Sending(outbox, self.storage, self.connector.send, self.tell, self.stats, options.max_outbox)
        self.reading = Reading(Reads(values, self.inbox), self.storage, self._say, timing)
        self.watching = Watching(self._say)
        self.delivery = Delivery(
            self.inbox, self.storage, self._listeners, timing, self.tell, self._entry_stored, self.reading.statements
        )
        self._keep_running()
        where: Frame = {"kind": "memory", "durable": False, "why": "no path was given"}
        if options.path is not None:
            where = {"kind": "sqlite", "durable": True, "path": str(options.path)}
        self.tell("storage", where)

    def _keep_running(self) -> None:
        """A part that died, and was told, begins anew with the next try."""
        for part in (self.delivery, self.sending):
            running = self._running.get(part)
            if running is None or running.done():
                self._spawn(part.run(), part=part)

    async def close(self) -> None:
        """What is handled is acked and what waits is told, as far as that is possible.

        One that was cancelled is completed by the next.
        """
        self.storage.refuse_within()
        self._ack_now()
        self.delivery.end(ClientClosed("the client is closed"))
        self.connector.do(self._link.close())
        self.sending.is_closed = True
        await self.connector.close()
        self.disconnected()
        await self._end_tasks()
        await self.sending.close()
        await self.storage.close()
        self.is_closed = True

    def keeps(self, task: asyncio.Future[Any] | None) -> bool:
        """It is one that `close` waits for."""
        return task in self._tasks

    async def _end_tasks(self) -> None:
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def why(self) -> ClientFailed:
        """The state is `failed`."""
        failure = self._link.failure or Failure(None, "")
        return ClientFailed(failure.code, failure.reason)

    def begin(self) -> None:
        """Tries to connect, from now on."""
        self.delivery.end(None)
        self.connector.do(self._link.connect(self.connector.now()))

    async def ask(self, kind: str, asked: Mapping[str, Any]) -> Frame:
        """The answer to a question. Raises RequestError."""
        if not self.connector.is_connected:
            raise RequestError("not_connected", "there is no connection")
        ref = f"q{next(self._refs)}"
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._questions[ref] = answer
        try:
            said = {name: value for name, value in asked.items() if value is not None}
            self.connector.send({"type": kind, "ref": ref, **said})
            return await answer
        finally:
            self._questions.pop(ref, None)

    # What the connector tells

    async def hello(self) -> Frame:
        """Raises and stores the attempt."""
        self._attempt += 1
        await self.storage.write([database.set_meta("attempt", str(self._attempt))])
        hello = {"type": "hello", "device": self.options.device, "attempt": self._attempt}
        more = {"cursor": self.inbox.cursor, "window": self.options.window}
        return hello | {name: value for name, value in more.items() if value is not None}

    def changed(self, change: Changed) -> None:
        """The state is another one."""
        self.retry_at = None if change.wait is None else wall() + round(change.wait * 1000)
        if change.state is State.FAILED:
            self.delivery.end(self.why())
        elif change.state is State.CONNECTING:
            self._keep_running()
        self.news.wake()
        self.tell("state", StateChange(change.state, change.previous, self.retry_at, change.code, change.reason))

    def welcomed(self, number: int, frame: Frame) -> None:
        """The service has answered: replay begins."""
        user = str(frame.get("user"))
        if self.options.user is None:
            self.options.user = user
            self._spawn(self.storage.write([database.set_meta("user", user)]))
        elif user != self.options.user:
            self.connector.do(self._link.fail(None, "other_owner"))
            return
        self.stats.connections += 1
        self.stats.last_pending = int(frame.get("pending") or 0)
        limits = Limits.of(frame.get("limits") or {})
        self.connector.limit(limits.max_frame)
        self._welcomed = True
        self.inbox.connected(number, int(frame.get("window") or 256))
        self.sending.connected(limits)
        for part in (self.reading, self.watching):
            part.connected()

    def _say(self, frame: Frame) -> None:
        """To the connection that has had its `welcome`; lost where there is none."""
        if self._welcomed:
            self.connector.send(frame)

    def signal(self, frame: Frame) -> bool:
        """Whether it went out: only while live."""
        if self._link.state is State.LIVE:
            self._say(frame)
        return self._link.state is State.LIVE

    def received(self, frame: Frame) -> None:
        """Any frame of the current connection."""
        kind = frame["type"]
        if "cursor" in frame and kind not in TOLD:
            self.stats.received += 1
            self.inbox.received(frame)
            self.delivery.wake()
        elif kind == "accepted":
            self.sending.accepted(frame)
        elif kind == "error":
            self._error(frame)
        elif kind == "history":
            self._answer(frame)
        elif kind in TOLD:
            self.tell(kind, frame)

    def _error(self, frame: Frame) -> None:
        if frame.get("id") is not None:
            self.sending.refused(frame, time.monotonic())
        elif frame.get("ref") is not None:
            self._answer(frame)
        elif frame.get("upto") is not None:
            self._read_refused(frame)
        else:
            self.tell("error", frame)

    def _read_refused(self, frame: Frame) -> None:
        statements = self.reading.refused(frame)
        if statements:
            self._spawn(self.storage.write(statements))
        if not frame.get("retryable"):
            self.tell("error", frame)

    def _answer(self, frame: Frame) -> None:
        question = self._questions.get(str(frame["ref"]))
        if question is None or question.done():
            return
        if frame["type"] == "error":
            question.set_exception(RequestError(str(frame.get("code")), str(frame.get("message", ""))))
        else:
            question.set_result(frame)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._welcomed = False
        self._cancel_ack()
        self.inbox.disconnected()
        self.sending.disconnected()
        self.reading.disconnected()
        for question in self._questions.values():
            if not question.done():
                question.set_exception(RequestError("not_connected", "the connection was lost"))

    def fault(self, code: str, error: Exception | None = None, **more: Any) -> None:
        """Something failed that is tried again."""
        self.tell("error", {"code": code, "error": error, **more})

    # Acks

    def _entry_stored(self, entry: Entry, repeat: bool) -> None:
        if repeat:
            self.stats.repeats += 1
        else:
            self.stats.gaps += entry.frame["type"] == "gap"
            self.reading.stored(entry)
            self.tell("handled", entry.frame)
        if self.inbox.must_ack:
            self._ack_now()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(self.options.timing.ack_delay, self._ack_now)

    def _cancel_ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    def _ack_now(self) -> None:
        self._cancel_ack()
        cursor = self.inbox.ack()
        if cursor is not None:
            self.connector.send({"type": "ack", "cursor": cursor})

    # Telling

    def tell(self, kind: str, event: Any) -> None:
        """Handlers that are coroutines run beside; one that raises is told as an error, and changes nothing."""
        for handler in self._listeners.of(kind):
            try:
                result = handler(event)
            except Exception as fault:  # noqa: BLE001 - whatever it is: it is the application's, and it is told
                self._listener_failed(kind, fault)
            else:
                if inspect.isawaitable(result):
                    self._spawn(result, kind)

    def _listener_failed(self, kind: str, fault: Exception) -> None:
        if kind == "error":
            log.error("a handler of errors has failed", exc_info=fault)
        else:
            self.tell("error", {"code": "listener_failed", "error": fault, "type": kind})

    def _spawn(self, work: Awaitable[Any], kind: str = "error", *, part: Part | None = None) -> None:
        """Keeps a task and reacts to its death: without one of its parts the client must not look alive."""

        def over(task: asyncio.Future[Any]) -> None:
            self._tasks.discard(task)
            fault = None if task.cancelled() else task.exception()
            if isinstance(fault, Exception):
                self._listener_failed(kind, fault)
            is_dead = task.cancelled() or isinstance(fault, Exception)
            if part is not None and is_dead and self._link.state is not State.CLOSED:
                log.error("a part of the client has %s", "failed" if fault else "been cancelled", exc_info=fault)
                self.connector.do(self._link.fail(None, "internal"))

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        if part is not None:
            self._running[part] = task
        task.add_done_callback(over)
