"""Signals: typing and the like, to whoever is online now. Never stored, at most once.

Whatever gathered while the last flight was under way is the next one: whose devices are where is asked once for all of
them, and each worker that holds some gets one control.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from service.core.errors import ClientError, Fault, Unavailable
from service.core.frames import signal_frame
from service.delivery.connection import Connection
from service.delivery.hub import Hub, Subscriber, safely
from service.store.blocks import Blocks
from service.store.watchers import Watchers
from service.store.worker_stream import SIGNAL, WorkerStreams
from service.telemetry import SIGNALS_DROPPED, SIGNALS_TOLD

log = logging.getLogger("inboxd.signals")

MOST_WAITING = 10_000
"""Recipients of what waits for a flight; a signal beyond is dropped and counted."""
FLIGHT = 500
"""Recipients of one flight, give or take a signal's own."""
GROUP = 100
"""What a signal to a group counts for, before it is known how many members there are."""
SLICE = 500
"""Commands of one pipeline; a longer one would hold up everybody else's."""
ENTRY_BYTES = 64 << 10
"""What one control holds at most, give or take a signal."""
NOBODY = "*"
"""Where a control names a group, of a signal to users; no name has it."""

Members = Callable[[str, str], Awaitable[Sequence[str]]]
"""(group, asking) → its members. Raises ClientError `no_such_group` (also for who is none), Unavailable."""


Holders = set[str] | Unavailable
"""The workers that hold devices of one user; or that this one cannot be read."""


@dataclass(frozen=True, slots=True)
class Signal:
    """`users`: none for a group's. `body`: compact JSON. `refuse`: tells the sender why it went nowhere."""

    sender: str
    users: tuple[str, ...]
    group: str | None
    body: bytes
    ts: int
    refuse: Callable[[Fault], None]


class Host(Protocol):
    """What this needs of its worker."""

    @property
    def id(self) -> str: ...


class Signals:
    """One per worker. `members` is asked for groups."""

    def __init__(
        self, host: Host, watchers: Watchers, blocks: Blocks, streams: WorkerStreams, hub: Hub, members: Members
    ) -> None:
        self._host = host
        self._watchers = watchers
        self._blocks = blocks
        self._streams = streams
        self._hub = hub
        self._members = members
        self._waiting: list[Signal] = []
        self._weight = 0
        self._wake = asyncio.Event()

    def send(self, signal: Signal) -> None:
        """On its way, or dropped."""
        if self._weight >= MOST_WAITING:
            SIGNALS_DROPPED.inc()
            return
        self._waiting.append(signal)
        self._weight += _weight(signal)
        self._wake.set()

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting, self._weight = self._waiting, [], 0
            for flight in _flights(waiting):
                try:
                    await self._fly(flight)
                except Unavailable:
                    SIGNALS_DROPPED.inc(len(flight))

    async def _fly(self, flight: Sequence[Signal]) -> None:
        named = await self._named(flight)
        holders = await self._holders(list({user: None for users in named for user in users}))
        blocked = await self._blocked(flight, named, holders)
        controls: dict[str, list[bytes]] = {}
        for signal, users in zip(flight, named, strict=True):
            found: dict[str, list[str]] = {}
            for user in users:
                there, refused = holders[user], blocked.get((user, signal.sender), False)
                if isinstance(there, Unavailable) or isinstance(refused, Unavailable):
                    SIGNALS_DROPPED.inc()
                elif not refused:
                    for worker in there:
                        found.setdefault(worker, []).append(user)
            for worker, here in found.items():
                if worker == self._host.id:
                    self._deliver(signal.sender, here, signal.group, signal.body, signal.ts)
                else:
                    controls.setdefault(worker, []).append(_line(signal, here))
        await self._tell(controls)

    async def _holders(self, users: list[str]) -> dict[str, Holders]:
        found: dict[str, Holders] = {}
        for at in range(0, len(users), SLICE):
            part = users[at : at + SLICE]
            found |= zip(part, await self._watchers.holders(part), strict=True)
        return found

    async def _blocked(
        self, flight: Sequence[Signal], named: Sequence[Sequence[str]], holders: dict[str, Holders]
    ) -> dict[tuple[str, str], bool | Unavailable]:
        pairs = {
            (user, signal.sender): None
            for signal, users in zip(flight, named, strict=True)
            for user in users
            if holders[user]
        }
        found: dict[tuple[str, str], bool | Unavailable] = {}
        for at in range(0, len(pairs), SLICE):
            found |= await self._blocks.between(list(pairs)[at : at + SLICE])
        return found

    async def _named(self, flight: Sequence[Signal]) -> list[list[str]]:
        """Whom each is for, its sender left out."""
        groups = iter(await asyncio.gather(*(self._members_for(one) for one in flight if one.group is not None)))
        return [
            [user for user in (one.users if one.group is None else next(groups)) if user != one.sender]
            for one in flight
        ]

    async def _members_for(self, signal: Signal) -> Sequence[str]:
        """None where the sender was told why, or the group cannot be read: that is no other signal's trouble."""
        assert signal.group is not None
        try:
            return await self._members(signal.group, signal.sender)
        except ClientError as error:
            signal.refuse(error.fault)
        except Unavailable:
            SIGNALS_DROPPED.inc()
        return ()

    async def _tell(self, controls: dict[str, list[bytes]]) -> None:
        entries = [(worker, part) for worker, lines in controls.items() for part in _parts(lines)]
        if not entries:
            return
        told = await self._streams.announce([(worker, [(SIGNAL, b"\n".join(lines))]) for worker, lines in entries])
        for (_, lines), there in zip(entries, told, strict=True):
            if not there:  # refused, or that worker is gone and its claims are not yet
                SIGNALS_DROPPED.inc(len(lines))

    def on_control(self, value: str) -> None:
        """What another worker tells: `from user,user group ts body`, a line each. Raises ValueError."""
        for line in value.split("\n"):
            sender, users, group, ts, body = line.split(" ", 4)
            self._deliver(sender, users.split(","), None if group == NOBODY else group, body.encode(), int(ts))

    def _deliver(self, sender: str, users: Sequence[str], group: str | None, body: bytes, ts: int) -> None:
        """To the sockets and streams that are here; a long poll has no place for it."""
        for user in users:
            frame = signal_frame(sender, user, group, body, ts)
            for subscriber in self._hub.of(user):
                if isinstance(subscriber, Connection):
                    safely(subscriber, partial(_offer, frame))


def _offer(frame: bytes, subscriber: Subscriber) -> None:
    assert isinstance(subscriber, Connection)
    (SIGNALS_TOLD if subscriber.offer(frame) else SIGNALS_DROPPED).inc()


def _weight(signal: Signal) -> int:
    return len(signal.users) if signal.group is None else GROUP


def _flights(waiting: Sequence[Signal]) -> Iterator[list[Signal]]:
    flight: list[Signal] = []
    weight = 0
    for signal in waiting:
        flight.append(signal)
        weight += _weight(signal)
        if weight >= FLIGHT:
            yield flight
            flight, weight = [], 0
    if flight:
        yield flight


def _line(signal: Signal, users: Sequence[str]) -> bytes:
    head = f"{signal.sender} {','.join(users)} {signal.group or NOBODY} {signal.ts} "
    return head.encode() + signal.body


def _parts(lines: list[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line)
        if size >= ENTRY_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
