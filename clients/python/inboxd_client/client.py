"""The client: a device that loses nothing and shows nothing twice, over reconnects and restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inboxd_client import drafts
from inboxd_client.asking import Asking, Http, http_url
from inboxd_client.connector import Connector, GetToken
from inboxd_client.delivery import Entries, Messages
from inboxd_client.drafts import Target
from inboxd_client.engine import Engine, Options
from inboxd_client.errors import ClientClosed, RequestError
from inboxd_client.events import Handler, Listeners
from inboxd_client.frames import Acceptance, Frame, Message
from inboxd_client.handling import Handling
from inboxd_client.link import Effect, Link
from inboxd_client.outbox import ItemKind, OutboxItem
from inboxd_client.states import Failure, State, Stats
from inboxd_client.timing import Timing
from inboxd_client.wire import socket_url


class InboxClient(Asking):
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
    - `timing`: durations. `socket_options`: more for `websockets.connect` (`ssl`, `proxy`, `additional_headers` …);
      `http_options`: the same for `httpx2.AsyncClient` (`verify`, `headers`, `timeout` …).

    Events, for `on(type, handler)`: every entry's type (`message`: a Message; `receipt`, `read`, `edit`, `delete`,
    `react`, `group`, `gap`, `deleted`: the frame as a dict, its fields in shapes.py; `entry`: entries of types not
    known here); `presence`, `signal`, `broadcast`, `welcome`, `live`: the frame; `state`: a StateChange; `accepted`:
    `{id, acceptance}`;
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
        http_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.stats = Stats()
        self._options = Options(
            socket_url(url, user if get_token is None else None),
            user,
            device,
            get_token,
            None if storage is None else Path(storage),
            window,
            max_outbox,
            timing or Timing(),
            socket_options or {},
        )
        self._http = Http(http_url(url), user, get_token, http_options)
        self._listeners = Listeners()
        self._link = Link(self._options.timing, renews=get_token is not None)
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()

    # Life

    async def open(self) -> None:
        """Loads what is stored, without connecting. Raises StorageError, ClientClosed."""
        async with self._opening:
            if self.state is State.CLOSED:
                raise ClientClosed("the client is closed")
            if self._engine is None:
                self._engine = await Engine.open(self._options, self._link, self._listeners, self.stats)

    async def __aenter__(self) -> Self:
        await self.open()
        self._opened.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Begins to connect (again, after `failed`) and waits until the state is `live`.

        Raises ClientFailed, ClientClosed, StorageError. Cancelled, it goes on connecting.
        """
        await self.open()
        engine = self._opened
        engine.begin()

        def settled() -> State | None:
            return self.state if self.state in (State.LIVE, State.FAILED, State.CLOSED) else None

        state = await engine.news.until(settled)
        if state is State.FAILED:
            raise engine.why()
        if state is State.CLOSED:
            raise ClientClosed("the client is closed")

    async def close(self) -> None:
        """For good. What waits in the outbox stays there; its awaiters get SendError `closed`.

        A message handler that is running is cancelled; its message comes again the next time. Raises RuntimeError
        within `handling()`. Cancelled, it is completed by the next call.
        """
        engine = self._engine
        if engine is not None:
            engine.storage.refuse_within()
            if self._opening.locked() and engine.keeps(asyncio.current_task()):
                return  # a handler: another close() is waiting for its end
        async with self._opening:
            if self._engine is None:
                self._link.close()
            elif not self._engine.is_closed:
                await self._engine.close()
            await self._http.close()

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the client is not open: use `async with`, or await open() or connect() first")
        return self._engine

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
        return None if self._engine is None else self._engine.retry_at

    @property
    def user(self) -> str | None:
        """Whose inbox it is; None until it is known."""
        return self._options.user

    @property
    def device(self) -> str | None:
        """This installation's name; None until the storage is open, where none was given."""
        return self._options.device

    @property
    def cursor(self) -> str | None:
        """Up to where the inbox is handled, as stored."""
        return None if self._engine is None else self._engine.inbox.cursor

    # Receiving

    def on(self, type: str, handler: Handler) -> Callable[[], None]:
        """Calls `handler(event)` for each; the answer takes it away again. See the class for types."""
        off = self._listeners.on(type, handler)
        if self._engine is not None:
            self._engine.delivery.wake()
        return off

    def __aiter__(self) -> Messages:
        """Messages in order; each counts as handled when the next one is asked for. One loop at a time.

        Other entries pass by: what `on(type, …)` does with them is done before the message behind them comes.
        """
        return self.messages()

    def messages(self) -> Messages:
        """As the client itself: `async for message in client`."""
        return self._opened.delivery.messages()

    def entries(self) -> Entries:
        """As `messages`, of every entry and gap: a Message, or the frame of another. From the call on all of them wait
        for such a loop; call it before anything is awaited, and none has passed.
        """
        return self._opened.delivery.entries()

    async def handled(self, entry: Message | Frame) -> None:
        """Says so before the next one is asked for; on disk when this returns.

        Raises ValueError for an entry that is not in hand, StorageError never: it is tried until it works, or until
        the client is closed (ClientClosed: it comes again).
        """
        await self._opened.delivery.handled(entry)

    @asynccontextmanager
    async def handling(self, entry: Message | Frame) -> AsyncIterator[Handling]:
        """The entry is handled in one transaction with what is written inside: exactly once, kills included.

        Left with an exception nothing of it happened, and the entry is not handled. Keep it short: the outbox and
        reconnects wait for it. Raises ValueError for an entry that is not in hand, StorageError.
        """
        async with self._opened.delivery.handling(entry) as transaction:
            yield Handling(transaction, self._opened)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Handling]:
        """The application's own reads and writes in the same file, such as making its tables; sends in them, too."""
        async with self._opened.storage.transaction() as transaction:
            yield Handling(transaction, self._opened)

    # Sending

    async def send(
        self,
        to: str | Sequence[str],
        body: Any,
        *,
        id: str | None = None,
        expires_in: int | None = None,
        receipts: bool = True,
    ) -> Acceptance:
        """Stores the message, then sends it until it is answered: over reconnects, and restarts.

        `to`: a user, or up to 100. `id`: absent, a UUIDv7. `expires_in`: seconds from now. `receipts`: whether to be
        told what becomes of it. Waits as long as it takes: cancelled (`asyncio.timeout`) only the waiting ends, the
        message stays in the outbox. Raises SendError, StorageError.
        """
        return await self._opened.sending.send(drafts.of_message(to, None, body, id, expires_in, receipts))

    async def send_to_group(
        self, group: str, body: Any, *, id: str | None = None, expires_in: int | None = None, receipts: bool = True
    ) -> Acceptance:
        """As `send`, to all members of a group that one belongs to; one's own inbox gets the message as well."""
        return await self._opened.sending.send(drafts.of_message(None, group, body, id, expires_in, receipts))

    async def edit(self, message: Target, body: Any, *, id: str | None = None) -> Acceptance:
        """Another body for a message of one's own; its recipients get an `edit`. An item of the outbox, as a send is,
        in one order with them. `message`: as received, or an object with `id`, `from`, and `to` or `group`.
        """
        return await self._change(ItemKind.EDIT, message, body, id)

    async def delete(self, message: Target, *, id: str | None = None) -> Acceptance:
        """Erases a message of one's own in every inbox; its recipients get a `delete`. Otherwise as `edit`."""
        return await self._change(ItemKind.DELETE, message, None, id)

    async def react(self, message: Target, body: Any, *, id: str | None = None) -> Acceptance:
        """A reaction to anybody's message, up to 1 KiB, such as `{"emoji": "👍"}`; the newest of a user counts, None
        takes it back. Otherwise as `edit`.
        """
        return await self._change(ItemKind.REACT, message, body, id)

    async def _change(self, kind: ItemKind, message: Target, body: Any, id: str | None) -> Acceptance:
        engine = self._opened
        return await engine.sending.send(drafts.of_change(kind, message, body, id, engine.options.user))

    async def read(self, message: Target) -> None:
        """One has read that conversation up to this message; on disk when this returns.

        Said until the service has stored it, over reconnects and restarts; then all of one's devices get a `read`.
        Only the furthest of each conversation counts. Raises ValueError, StorageError.
        """
        engine = self._opened
        await engine.reading.read(drafts.frame_of(message), engine.options.user)

    def signal(self, body: Any, *, to: str | Sequence[str] | None = None, group: str | None = None) -> bool:
        """Typing and the like, up to 1 KiB, for whoever is online now; never stored. Whether it went out: only while
        the state is `live`. Raises RequestError.
        """
        frame = drafts.signal(to, group, body)
        return self._engine is not None and self._engine.signal(frame)

    def watch(self, users: Iterable[str]) -> None:
        """From now on their `presence` is told: at once, and on every change; over reconnects, not over restarts.

        Up to 200 users altogether. Raises RequestError.
        """
        self._opened.watching.watch(users)

    def unwatch(self, users: Iterable[str]) -> None:
        """The end of `watch`."""
        self._opened.watching.unwatch(users)

    def outbox(self) -> list[OutboxItem]:
        """What is not accepted yet, in order."""
        return self._opened.sending.outbox.items()

    async def retry(self, id: str) -> None:
        """Sends a failed or stale item again; a stale one may arrive twice. Raises LookupError."""
        await self._opened.sending.retry(id)

    async def discard(self, id: str) -> None:
        """Forgets an item; whoever waits for it gets SendError `discarded`. It may be in. Raises LookupError."""
        await self._opened.sending.discard(id)

    # Asking

    async def history(
        self,
        *,
        with_user: str | None = None,
        group: str | None = None,
        before: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> tuple[list[Frame], bool]:
        """One page of one's own inbox, and whether there is more.

        `with_user`, `group`: only messages of that conversation, and their changes. `before`: a cursor; newest first.
        `after`: a cursor; oldest first. `limit`: 1 to 200. Raises RequestError `not_connected`, or as the service says.
        """
        asked = {"with": with_user, "group": group, "before": before, "after": after, "limit": limit}
        if self._engine is None:
            raise RequestError("not_connected", "there is no connection")
        page = await self._engine.ask("history", asked)
        return page["entries"], page["more"]

    # The network

    def set_online(self, online: bool) -> None:
        """What the platform says: without a network nothing is tried, with it at once."""
        self._decide(lambda now: self._link.set_online(online, now))

    def wake(self) -> None:
        """Whoever waits for the next try has it now; for when somebody looks."""
        self._decide(self._link.wake)

    def drop(self) -> None:
        """Cuts the connection as a bad network would. The client comes back by itself."""
        self._decide(self._link.drop)

    def _decide(self, decide: Callable[[float], list[Effect]]) -> None:
        effects = decide(Connector.now())
        if self._engine is not None:
            self._engine.connector.do(effects)
