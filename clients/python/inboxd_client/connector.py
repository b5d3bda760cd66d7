"""Carries out what the link decides: timers, tokens, sockets."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from inboxd_client.errors import StorageError
from inboxd_client.frames import Frame
from inboxd_client.link import NOT_AUTHENTICATED, Changed, Drop, Effect, Link, Open, Ping
from inboxd_client.states import CONNECTED, State
from inboxd_client.tokens import renew_in
from inboxd_client.wire import Ended, Wire, open_socket

GetToken = Callable[[bool], Awaitable[str | None]]
"""`get_token(refresh)`: a JWT; with `refresh` another one than last time. None: there is none for us any more."""

LEAST_BETWEEN_TOKENS = 1.0
"""Seconds between two questions for a fresh one on the same connection."""


class Owner(Protocol):
    """Who is told what a connection brings."""

    async def hello(self) -> Frame:
        """Raises the attempt and stores that; the frame, without a token."""

    def changed(self, change: Changed) -> None: ...
    def welcomed(self, number: int, frame: Frame) -> None: ...
    def received(self, frame: Frame) -> None: ...
    def disconnected(self) -> None: ...
    def fault(self, code: str, error: Exception | None = None, **more: Any) -> None: ...


class Connector:
    """`url`: of the WebSocket. `options`: more of what `websockets` takes."""

    def __init__(
        self, url: str, link: Link, owner: Owner, get_token: GetToken | None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.link = link
        self._url, self._owner, self._get_token = url, owner, get_token
        self._options = dict(options or {})
        self._wire: Wire | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._token: str | None = None

    @staticmethod
    def now() -> float:
        return time.monotonic()

    @property
    def is_connected(self) -> bool:
        return self._wire is not None and self.link.state in CONNECTED

    def send(self, frame: Frame) -> None:
        """On the connection there is; lost where there is none."""
        if self._wire is not None:
            self._wire.send(frame)

    def limit(self, max_frame: int | None) -> None:
        """The service takes frames of so many bytes."""
        if self._wire is not None and max_frame is not None:
            self._wire.most = min(self._wire.most, max_frame // 4)

    def do(self, effects: list[Effect]) -> None:
        """In order; then the timer is set anew."""
        for effect in effects:
            match effect:
                case Open(number, fresh) if self.link.is_current(number):  # whoever was told may have closed
                    self._leave()
                    self._opening = asyncio.create_task(self._open(number, fresh))
                case Drop():
                    self._leave()
                case Ping():
                    self.send({"type": "ping"})
                case Changed(state):
                    if state not in (State.CONNECTING, *CONNECTED):
                        self._leave(keep=state is State.CLOSED)
                    self._owner.changed(effect)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.link.deadline
        self._timer = None
        if deadline is not None:
            wait = max(0.0, deadline - self.now())
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self.do(self.link.tick(self.now()))

    def _leave(self, *, keep: bool = False) -> None:
        """No connection any more, and none being opened. `keep`: it is going to be closed properly."""
        for task in (self._opening, self._renewing):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._opening = self._renewing = None
        if self._wire is not None and not keep:
            self._wire.drop()
            self._wire = None
            self._owner.disconnected()

    async def close(self) -> None:
        """Says goodbye, if there is anybody. The link is closed before."""
        if self._timer is not None:
            self._timer.cancel()
        wire, self._wire = self._wire, None
        if wire is not None:
            try:
                await wire.close()
            except asyncio.CancelledError:
                wire.drop()
                raise

    # A try

    async def _open(self, number: int, fresh: bool) -> None:
        try:
            hello = await self._owner.hello()
            if self._get_token is not None and not await self._ask_token(fresh):
                return
            connection = await open_socket(self._url, **self._options)
        except Ended as end:
            self._owner.fault("connect_failed", end, status=end.status)
            self._ended(number, None, end.reason, end.retry_after)
        except StorageError as fault:
            self._owner.fault("storage_failed", fault)
            self._ended(number, None, "storage_failed")
        except Exception as fault:  # noqa: BLE001 - get_token is the application's, and any fault of it is told
            self._owner.fault("token_failed", fault)
            self._ended(number, None, "token_failed")
        else:
            self._opened(Wire(connection, number, self), hello)

    def _opened(self, wire: Wire, hello: Frame) -> None:
        self._opening = None
        self._wire = wire
        wire.send(hello if self._token is None else {**hello, "token": self._token})

    async def _ask_token(self, fresh: bool) -> bool:
        """Whether there is one worth trying."""
        assert self._get_token is not None
        last, self._token = self._token, await self._get_token(fresh)
        if not self._token or (fresh and self._token == last and self.link.is_refused):
            self._opening = None
            self.do(self.link.fail(NOT_AUTHENTICATED if self._token else None, "unauthenticated"))
            return False
        return True

    def _ended(self, number: int, code: int | None, reason: str, retry_after: float | None = None) -> None:
        self.do(self.link.ended(number, code, reason, self.now(), retry_after))

    # What the wire says

    def wire_received(self, wire: Wire, frame: Frame) -> None:
        """A frame of the current connection; of an older one nothing comes."""
        self.link.heard(wire.number, self.now())
        match frame["type"]:
            case "welcome":
                self._owner.welcomed(wire.number, frame)
                if wire is not self._wire:
                    return  # the owner would not have it
                self.do(self.link.welcomed(wire.number, float(frame.get("ping_interval") or 20.0), self.now()))
                self._renew_later()
            case "live":
                self.do(self.link.went_live(wire.number))
            case "closing":
                self.link.closing(wire.number, float(frame.get("reconnect_after_ms") or 0) / 1000)
        if wire is self._wire:
            self._owner.received(frame)

    def wire_ended(self, wire: Wire, code: int | None, reason: str) -> None:
        """The other side has gone."""
        if wire is self._wire:
            self._wire = None
            self._owner.disconnected()
        if reason.startswith("malformed"):
            self._owner.fault("malformed_json")
        self._ended(wire.number, code, reason)

    # Tokens

    def _renew_later(self, least: float = 0.0) -> None:
        wait = None if self._token is None else renew_in(self._token, time.time())
        if wait is not None:
            self._renewing = asyncio.create_task(self._renew(max(wait, least)))

    async def _renew(self, wait: float) -> None:
        """Sends a fresh token before the old one is over; without one, asks again. At the end there is 4002."""
        assert self._get_token is not None
        await asyncio.sleep(wait)
        try:
            token = await self._get_token(True)
        except Exception as fault:  # noqa: BLE001 - the application's
            token = None
            self._owner.fault("token_failed", fault)
        if token and token != self._token:
            self._token = token
            self.send({"type": "auth", "token": token})
        self._renew_later(LEAST_BETWEEN_TOKENS)
