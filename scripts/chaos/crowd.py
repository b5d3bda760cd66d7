"""All clients of a run, in one event loop in a thread of its own, so that a scenario may block while they go on."""

import asyncio
import random
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from scripts.chaos.client import Device
from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import History, Reader
from scripts.chaos.readers import Polling, Restless, Slow, Stalled, Steady
from scripts.chaos.senders import InBatches, OverHttp, OverSocket, Sender
from scripts.chaos.streams import Streaming
from scripts.lab.timing import PATIENCE, POLL, eventually

T = TypeVar("T")

TEMPERS: dict[str, type[Steady]] = {
    "phone": Steady,
    "laptop": Restless,
    "tablet": Polling,
    "watch": Slow,
    "car": Stalled,
    "page": Streaming,
}
"""Device name → how it behaves."""


@dataclass(frozen=True)
class Cast:
    """How many of whom. Every user has a phone; the other devices go round."""

    users: int = 6
    single: int = 2
    batches: int = 1
    sockets: int = 3
    rate: float = 18.0
    others: tuple[str, ...] = ("laptop", "tablet", "watch", "car", "laptop")
    names_cursor: bool = False


class Crowd:
    """`start`, `stop_sending`, `read_to_end`, `end` in that order; all block. `check` raises what a client raised."""

    def __init__(self, base: str, cast: Cast, history: History, seed: int) -> None:
        self.base, self.cast, self.history = base, cast, history
        self._rng = random.Random(seed)
        self.users = [f"user{n}" for n in range(cast.users)]
        self.readers: list[Steady] = []
        self.senders: list[Sender] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def steady(self) -> set[Reader]:
        """Devices that want to be online all the time."""
        return {reader.device.reader for reader in self.readers if type(reader) is Steady}

    def start(self) -> None:
        """Starts everybody; waits until every sender had one accepted and every phone got one."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)
        eventually(self._flowing, "messages flow")

    async def _start(self) -> None:
        for number, user in enumerate(self.users):
            self._reader(user, "phone")
            if self.cast.others:
                self._reader(user, self.cast.others[number % len(self.cast.others)])
        kinds: list[type[Sender]] = [
            *[OverHttp] * self.cast.single,
            *[InBatches] * self.cast.batches,
            *[OverSocket] * self.cast.sockets,
        ]
        for number, kind in enumerate(kinds):
            self._sender(kind, f"{kind.__name__.lower()}{number}")
        self._tasks = [asyncio.create_task(reader.run()) for reader in self.readers]
        self._tasks += [asyncio.create_task(sender.run()) for sender in self.senders]

    def _reader(self, user: str, name: str) -> None:
        device = Device(self.base, user, name, self.history, random.Random(self._rng.random()))
        self.readers.append(TEMPERS[name](device, self.cast.names_cursor))

    def _sender(self, kind: type[Sender], user: str) -> None:
        sender = kind(user, self.base, self.users, self.history, random.Random(self._rng.random()))
        sender.rate = self.cast.rate
        if isinstance(sender, OverSocket):
            sender.names_cursor = self.cast.names_cursor
        self.senders.append(sender)

    def _flowing(self) -> bool:
        self.check()
        accepted = {identity[0] for known in list(self.history.accepted_at.values()) for identity in list(known)}
        return accepted >= {sender.user for sender in self.senders} and all(
            self.history.has_seen(reader) for reader in self.steady
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Has the crowd's loop do something; its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * PATIENCE)

    def check(self) -> None:
        """Raises what a client has raised: an answer no client should get, or a fault of its own."""
        for task in list(self._tasks):
            if task.done() and not task.cancelled():
                task.result()

    def wait(self, seconds: float) -> None:
        """Lets them go on for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 5 * POLL))

    def stop_sending(self) -> None:
        """No new messages; waits until those on their way are accepted."""
        for sender in self.senders:
            self._loop.call_soon_threadsafe(sender.stop.set)
        eventually(lambda: self._are_done(len(self.readers), None), "every sender has its answers", 2 * PATIENCE)

    def read_to_end(self, ends: Mapping[str, Cursor], patience: float = 2 * PATIENCE) -> set[Reader]:
        """Has every device read to the newest entry of its user; the devices that managed."""
        for reader in self.readers:
            self._loop.call_soon_threadsafe(reader.finish, ends.get(reader.device.user, START))
        deadline = time.monotonic() + patience
        while not self._are_done(0, len(self.readers)) and time.monotonic() < deadline:
            time.sleep(POLL)
        return {reader.device.reader for reader in self.readers if reader.complete}

    def _are_done(self, begin: int, end: int | None) -> bool:
        self.check()
        return all(task.done() for task in self._tasks[begin:end])

    def end(self) -> None:
        """Ends everybody and the thread. Safe at any time."""
        if self._loop.is_closed():
            return
        if not self._thread.is_alive():
            self._loop.close()
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        leftover = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
