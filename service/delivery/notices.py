"""Notices: this worker's claims and releases have made users online or offline; the workers that watch them hear it.

A notice is a hint: it may be lost, and their audit finds it.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from service.core.errors import Unavailable
from service.store.worker_stream import PRESENCE, WorkerStreams
from service.telemetry import NOTICES_DROPPED, NOTICES_SENT

MOST_WAITING = 10_000
"""Notices that wait for one flight; beyond, they are dropped and counted."""
PART = 500
"""Users named by one control."""
ON, OFF = "on", "off"


class Host(Protocol):
    """What this needs of its worker."""

    @property
    def id(self) -> str: ...


class Watching(Protocol):
    """Who watches here."""

    def notice(self, user: str, online: bool) -> None: ...


class Notices:
    """Of several notices of one user that wait, the last counts."""

    def __init__(self, host: Host, streams: WorkerStreams, watching: Watching) -> None:
        self._host = host
        self._streams = streams
        self._watching = watching
        self._waiting: dict[tuple[str, str], bool] = {}  # (worker, user) → online
        self._wake = asyncio.Event()

    def add(self, user: str, online: bool, workers: Sequence[str]) -> None:
        """`workers` watch this user, who has just come or gone."""
        for worker in workers:
            if worker == self._host.id:
                self._watching.notice(user, online)
            elif (worker, user) in self._waiting or len(self._waiting) < MOST_WAITING:
                self._waiting[worker, user] = online
                self._wake.set()
            else:
                NOTICES_DROPPED.inc()

    async def run(self) -> None:
        """Tells other workers until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._tell(waiting)
            except Unavailable:
                NOTICES_DROPPED.inc(len(waiting))

    async def _tell(self, waiting: dict[tuple[str, str], bool]) -> None:
        words: dict[str, list[str]] = {}
        for (worker, user), online in waiting.items():
            words.setdefault(worker, []).append(f"{user}/{ON if online else OFF}")
        controls = [
            (worker, [(PRESENCE, " ".join(named[at : at + PART]))])
            for worker, named in words.items()
            for at in range(0, len(named), PART)
        ]
        for (_, [(_, value)]), told in zip(controls, await self._streams.announce(controls), strict=True):
            (NOTICES_DROPPED if told is False else NOTICES_SENT).inc(value.count(" ") + 1)

    def on_control(self, value: str) -> None:
        """What another worker tells: `user/on` or `user/off`, several with spaces between. Raises ValueError."""
        for part in value.split(" "):
            user, word = part.split("/")
            if word not in (ON, OFF):
                raise ValueError(word)
            self._watching.notice(user, word == ON)
