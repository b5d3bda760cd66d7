"""The relay: an ack over HTTP frees the window of the device's connection, whichever worker holds that.

The ack is stored first. What the holder is told is a hint like any other: it may be lost, and the audit finds it.
"""

import asyncio
from typing import Protocol

from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.delivery.hub import Hub
from service.store.inbox import AckStatus, Inboxes
from service.store.worker_stream import ACKED, WorkerStreams
from service.telemetry import ACKS_RELAYED, HINTS_DROPPED

MOST_WAITING = 10_000
"""Devices whose acks wait for one flight; beyond, they are left to the audit and counted."""
PART = 200
"""Devices named by one control."""
Device = tuple[str, str]
"""user, device"""


class Host(Protocol):
    """What the relay needs of its worker."""

    @property
    def id(self) -> str: ...


class Relay:
    """Later acks of a device take the place of those that still wait."""

    def __init__(self, host: Host, inboxes: Inboxes, streams: WorkerStreams, hub: Hub) -> None:
        self._host = host
        self._inboxes = inboxes
        self._streams = streams
        self._hub = hub
        self._waiting: dict[tuple[str, Device], Cursor] = {}  # (worker, device)
        self._wake = asyncio.Event()

    async def ack(self, user: str, device: str, cursor: Cursor) -> AckStatus:
        """One ack, stored before this returns; the holder hears of it at once, or soon. Raises Unavailable."""
        status, holder = await self._inboxes.ack_position(user, device, cursor)
        if status in (AckStatus.MOVED, AckStatus.NOT_NEWER):  # a repeated one may be of a repeated entry
            self._hub.on_acked(user, device, cursor)
            if holder is not None and holder != self._host.id:
                self._add(holder, (user, device), cursor)
        return status

    def _add(self, worker: str, device: Device, cursor: Cursor) -> None:
        waiting = self._waiting.get((worker, device))
        if waiting is None and len(self._waiting) >= MOST_WAITING:
            HINTS_DROPPED.inc()
            return
        self._waiting[worker, device] = cursor if waiting is None else max(waiting, cursor)
        self._wake.set()

    async def run(self) -> None:
        """Tells other workers until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._tell(waiting)
            except Unavailable:
                HINTS_DROPPED.inc(len(waiting))

    async def _tell(self, waiting: dict[tuple[str, Device], Cursor]) -> None:
        acks: dict[str, list[str]] = {}
        for (worker, (user, device)), cursor in waiting.items():
            acks.setdefault(worker, []).append(f"{user}/{device}/{cursor}")
        controls = [
            (worker, [(ACKED, " ".join(named[at : at + PART]))])
            for worker, named in acks.items()
            for at in range(0, len(named), PART)
        ]
        for (_, [(_, value)]), told in zip(controls, await self._streams.announce(controls), strict=True):
            (HINTS_DROPPED if told is False else ACKS_RELAYED).inc(value.count(" ") + 1)

    def on_control(self, value: str) -> None:
        """What another worker's relay tells: `user/device/cursor`, several with spaces between. Raises ValueError."""
        for part in value.split(" "):
            user, device, cursor = part.split("/")
            self._hub.on_acked(user, device, Cursor.parse(cursor))
