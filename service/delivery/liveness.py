"""Liveness: heartbeats, canaries, and whether this worker may call itself ready."""

import asyncio
import logging
import os
import socket
import time
from typing import Protocol

from service.core.errors import Unavailable
from service.core.server_clock import ServerClock
from service.store.presence import Presence

log = logging.getLogger("inboxd.liveness")


class Host(Protocol):
    """What liveness needs of its worker."""

    @property
    def id(self) -> str: ...

    @property
    def connections(self) -> int: ...

    @property
    def position(self) -> str:
        """How far the reader has read."""

    async def take_identity(self) -> None:
        """A new one: the old one was called dead. Raises Unavailable."""

    def beaten(self, beating: bool) -> None:
        """After each heartbeat, whether it succeeded."""

    async def inspect(self) -> str:
        """Looks at the server's live settings; its replication id. Raises Unavailable."""

    def changed(self) -> None:
        """The server was away, or may be another one."""

    def deaf(self) -> None:
        """The canary is late: what is told to this worker may not reach it."""


class Liveness:
    """`interval`: seconds between heartbeats. Clocks: the monotonic one to judge, the server's to tell."""

    def __init__(self, host: Host, presence: Presence, interval: float, version: str) -> None:
        self._host = host
        self._presence = presence
        self._interval = interval
        self._about: dict[str, str | int] = {"host": socket.gethostname(), "pid": os.getpid(), "version": version}
        self.clock = ServerClock()
        self._sent = 0
        self._heard = 0
        self._waiting_since: float | None = None
        self._history = ""
        self.reachable = False

    def now_ms(self) -> int:
        """The server's clock, as far as this worker knows it (ms)."""
        return self.clock.now(time.monotonic())

    def least_ms(self) -> int:
        """What the next entry's `ms` must reach: time never goes back, whichever server answers."""
        return self.clock.least(time.monotonic())

    def on_canary(self, count: int) -> None:
        """One's own sign has come through one's own stream."""
        self._heard = max(self._heard, count)
        if self._heard >= self._sent:
            self._waiting_since = None

    def problems(self) -> list[str]:
        """Why this worker is not ready; [] when it is."""
        found = []
        if not self.reachable:
            found.append("the server cannot be reached")
        if self._late():
            found.append("the canary is late: hints do not arrive")
        return found

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            before = time.monotonic()
            try:
                await self.beat()
            except Unavailable as error:
                if self.reachable:
                    log.warning("the server cannot be reached: %s", error.why)
                self.reachable = False
                self._host.beaten(False)
            await asyncio.sleep(max(0.0, self._interval - (time.monotonic() - before)))

    async def beat(self) -> None:
        """One heartbeat and one canary. Raises Unavailable."""
        if not await self._presence.beat(self._host.id):
            log.warning("worker %s was called dead; taking a new identity", self._host.id)
            await self._host.take_identity()
            await self._presence.beat(self._host.id)
        self._about.setdefault("started", int(time.time() * 1000))
        about = {**self._about, "connections": self._host.connections, "position": self._host.position}
        self._send_canary()
        now, _ = await self._presence.pulse(self._host.id, about, self._sent)
        self.clock.read(now, time.monotonic())
        await self._look_at_server()
        self._host.beaten(True)

    async def _look_at_server(self) -> None:
        history = await self._host.inspect()
        if self._history and (not self.reachable or history != self._history):
            self._host.changed()
        self._history = history
        if not self.reachable:
            self.reachable = True
            log.info("the server is reached")

    def _send_canary(self) -> None:
        if self._late():
            self._host.deaf()
        self._sent += 1
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def _late(self) -> bool:
        waiting = self._waiting_since
        return waiting is not None and time.monotonic() - waiting > 1.5 * self._interval
