"""A rolling restart under load: nothing is lost, and nobody waits for longer than was asked of it and a moment."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import UNIT, eventually, eventually_async
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Reader, Sender, running

DEVICES = 40
PATIENCE_BEYOND_JITTER = 2 * UNIT
"""Seconds; what the promise says."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service for one test, that the test may shake."""
    service = Service(tmp_path)
    service.start()
    yield service
    service.close()


class Obedient:
    """A device that acks what it gets, and on `closing` comes back when it is told to.

    `waited`: seconds between `closing` and the next `live`, less what it was asked to wait. `workers`: who served it.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.device.acking = True
        self.waited: list[float] = []
        self.workers: list[str] = []
        self.endings: list[int] = []
        self.live = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Raises where the service does anything but `closing` and 1012."""
        loop = asyncio.get_running_loop()
        due = None
        for attempt in range(1, 1000):
            self.workers.append((await self.device.connect(attempt=attempt))["worker"])
            await self.device.go_live()
            if due is not None:
                self.waited.append(loop.time() - due)
            self.live.set()
            # No time-out: a quiet connection is what there should be for most of the time.
            self.endings.append(await self._closing())
            self.live.clear()
            delay = self.device.wire.of("closing")[0]["reconnect_after_ms"] / 1000
            due = loop.time() + delay
            await self.device.close()
            await asyncio.sleep(delay)

    async def _closing(self) -> int:
        code = await self.device.wire.over()
        assert self.device.wire.of("closing"), f"closed with {code} without a word"
        return code


async def settled(devices: list[Obedient]) -> None:
    await asyncio.gather(*(one.live.wait() for one in devices))


async def test_sighup_restarts_every_worker_and_nobody_is_kept_waiting(
    service: Service, history: History, named: Callable[[str], str]
) -> None:
    users = [named(f"user{number}") for number in range(DEVICES // 2)]
    devices = [Obedient(Device(service.url, user, name, history)) for user in users for name in ("phone", "laptop")]
    senders = [Sender(named(f"sender{number}"), history, pause=0.005) for number in range(3)]
    socket = Device(service.url, senders[0].user, "own")
    stop = asyncio.Event()
    before = {worker.name for worker in service.workers()}
    async with (
        running(*(one.run() for one in devices)) as reading,
        running(
            senders[0].over_socket(socket, users, stop),
            *(sender.over_http(service.url, users, stop) for sender in senders[1:]),
        ) as sending,
    ):
        await settled(devices)
        os.kill(service.pid, signal.SIGHUP)

        async def renewed() -> bool:
            reading.check()
            sending.check()
            return "all workers are new" in service.stdout()

        await eventually_async(renewed, "all workers are new")
        await settled(devices)
        stop.set()
        await sending.done()

        async def complete() -> bool:
            reading.check()
            return all(history.missing((one.device.user, one.device.name)) == 0 for one in devices)

        await eventually_async(complete, "every message")
    assert history.violations(*((one.device.user, one.device.name) for one in devices)) == []
    now = {worker.name for worker in service.workers()}
    assert not before & now
    for one in devices:
        assert set(one.endings) == {1012}
        assert len(one.workers) in {2, 3}, "each old worker sends a device away once"
        assert len(set(one.workers)) == len(one.workers), "who drains takes nobody in"
        assert one.workers[-1] in now
    worst = max(wait for one in devices for wait in one.waited)
    moves = Counter(len(one.waited) for one in devices)
    answers = sum((sender.seen for sender in senders), Counter())
    repeats = sum(history.repeats((one.device.user, one.device.name)) for one in devices)
    measured = (
        f"{DEVICES} devices moved {dict(moves)} times, waited {worst:.2f} s at most beyond their jitter; "
        f"sends {dict(answers)}; {repeats} entries came twice"
    )
    print(measured)  # noqa: T201 - for whoever asks with -s
    assert worst <= PATIENCE_BEYOND_JITTER, measured


async def test_a_worker_of_one_that_gets_sigterm_is_succeeded_while_it_drains(
    tmp_path: Path, history: History, bob: str, named: Callable[[str], str]
) -> None:
    service = Service(tmp_path, workers=1)
    service.start()
    sender, reader = Sender(named("sender"), history), Reader(Device(service.url, bob, "phone", history))
    stop = asyncio.Event()
    try:
        (old,) = service.workers()
        async with (
            running(reader.run()) as reading,
            running(sender.over_http(service.url, [bob], stop)) as sending,
        ):
            await eventually_async(lambda: flowing(reading.check, history, bob, 20), "traffic")
            os.kill(old.pid, signal.SIGTERM)

            async def succeeded() -> bool:
                reading.check()
                return reader.workers[-1] != old.name

            await eventually_async(succeeded, "the device is at the successor")
            count = len(history.accepted_at[bob])
            await eventually_async(lambda: flowing(sending.check, history, bob, count + 20), "traffic again")
            stop.set()
            await sending.done()
            await eventually_async(lambda: complete(reading.check, history, bob), "every message")
        assert history.violations((bob, "phone")) == []
        assert set(reader.endings) <= {1012}
        assert f"worker process {old.pid} drains; another starts" in service.stdout()
        await asyncio.to_thread(eventually, lambda: not processes.is_alive(old.pid), "the old one ends")
    finally:
        await asyncio.to_thread(service.close)


async def flowing(check: Callable[[], None], history: History, user: str, count: int) -> bool:
    check()
    return len(history.accepted_at[user]) > count


async def complete(check: Callable[[], None], history: History, user: str) -> bool:
    check()
    return history.missing((user, "phone")) == 0
