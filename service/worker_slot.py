"""One place for a worker: a process is started in it, awaited, and replaced when it dies, drains, or should be new.

What parent and worker agree on:
- environment: all settings, `INBOXD_LISTEN_FD` (the shared listening socket), `INBOXD_READY_FD` (the worker writes
  one byte `1` when it serves, and `0` once it drains and listens no more), `PROMETHEUS_MULTIPROC_DIR`;
- SIGTERM drains it; exit code 0: drained, 3: it refuses to start and has said why on stderr.
"""

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from service.child import ending
from service.core.backoff import Backoff
from service.core.errors import Refused
from service.worker_process import WorkerProcess

REFUSES = 3
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"

READY_PATIENCE = 60.0  # seconds until a worker that does not serve is taken for stuck
_STEADY = 10.0  # seconds up that make the next death a first one again
_HOPELESS = 5  # deaths before ever serving
KILL_MARGIN = 2.0  # seconds beyond the drain time-out, for the process itself to end


@dataclass(frozen=True, slots=True)
class Launch:
    """How every worker is started. `drain`: seconds it is given to end on SIGTERM."""

    command: tuple[str, ...]
    settings: Mapping[str, str]
    listen_fd: int
    metrics_dir: Path
    drain: float


class WorkerSlot:
    """`ready` is set for good once a worker has served here. Its owner runs `keep` in a task."""

    def __init__(self, launch: Launch, say: Callable[[str], None]) -> None:
        self.launch = launch
        self.say = say
        self.ready = asyncio.Event()
        self.worker: WorkerProcess | None = None  # the newest
        self._running: dict[WorkerProcess, asyncio.Task[None] | None] = {}  # with the task that ends it
        self._deaths = 0  # before anything ever served here
        self._wanted = asyncio.Event()
        self._renewal: asyncio.Future[bool] | None = None

    async def keep(self) -> None:
        """Keeps a worker running until cancelled; then drains it.

        Raises Refused when a worker does not get to serve for the first time.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(first=0.2, most=5.0)
        try:
            while True:
                wanted, since = self._wanted.is_set(), loop.time()
                worker = await self._start()
                if await self._serves(worker):
                    self.ready.set()
                    if wanted:
                        self._renewed(True)
                    worker, since = await self._stay(worker, since)
                farewell = await self._farewell(worker)
                if loop.time() - since >= _STEADY:
                    backoff.reset()
                delay = backoff.wait(random.random())
                self.say(f"worker process {worker.pid} {farewell}; another starts in {delay:.1f} s")
                await asyncio.sleep(delay)
        finally:
            await self._end_all()

    async def renew(self) -> bool:
        """Starts a new process, drains the old one once the new one serves, and returns when that has ended.

        False: the new one did not come to serve, and the old one stays.
        """
        self._renewal = asyncio.get_running_loop().create_future()
        self._wanted.set()
        return await self._renewal

    def kill(self) -> None:
        """Ends all processes at once, without a drain."""
        for worker in self._running:
            worker.kill()

    async def _stay(self, worker: WorkerProcess, since: float) -> tuple[WorkerProcess, float]:
        """Returns when the worker leaves: this one, or the last that took over from it; and since when it ran."""
        loop = asyncio.get_running_loop()
        while True:
            await _first(worker.leaving, self._wanted)
            if worker.leaving.is_set():
                return worker, since
            began, successor = loop.time(), await self._start()
            if await self._serves(successor):
                self._let_go(worker).add_done_callback(lambda _: self._renewed(True))
                self._wanted.clear()
                worker, since = successor, began
            else:
                await self._let_go(successor)
                self.say(f"worker process {worker.pid} stays: its successor has ended ({ending(successor.code or 0)})")
                self._renewed(False)

    def _renewed(self, done: bool) -> None:
        self._wanted.clear()
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_result(done)

    async def _start(self) -> WorkerProcess:
        environ = {**os.environ, **self.launch.settings, METRICS_DIR: str(self.launch.metrics_dir)}
        worker = await WorkerProcess.start(self.launch.command, environ, self.launch.listen_fd)
        self._running[worker] = None
        self.worker = worker
        return worker

    async def _serves(self, worker: WorkerProcess) -> bool:
        """One that has closed its end of the pipe is ending, with a code of its own; else it is stuck."""
        if await worker.served(READY_PATIENCE):
            return True
        ended = asyncio.ensure_future(worker.ended())
        await asyncio.wait((ended,), timeout=KILL_MARGIN)
        if not ended.done():
            self.say(f"worker process {worker.pid} does not come to serve; it is killed")
            worker.kill()
        await ended
        return False

    async def _farewell(self, worker: WorkerProcess) -> str:
        """What became of a worker that leaves. One that drains is not waited for: others are to take its clients."""
        if worker.draining:
            _ = self._let_go(worker)  # its end is kept in mind, and seen to on the way out
            return "drains"
        code = await worker.ended()
        await self._let_go(worker)
        if not self.ready.is_set():
            self._count_death(code)
        return f"has ended ({ending(code)})"

    def _let_go(self, worker: WorkerProcess) -> asyncio.Task[None]:
        task = self._running[worker]
        if task is None:
            task = self._running[worker] = asyncio.create_task(self._end(worker))
        return task

    async def _end(self, worker: WorkerProcess) -> None:
        """Drains the process if it still runs, kills it if that takes too long, and clears its gauges."""
        if not await worker.end(self.launch.drain + KILL_MARGIN):
            self.say(f"worker process {worker.pid} has not drained in time; it was killed")
        mark_process_dead(worker.pid, str(self.launch.metrics_dir))  # type: ignore[no-untyped-call]
        del self._running[worker]

    async def _end_all(self) -> None:
        if ends := [self._let_go(worker) for worker in list(self._running)]:
            await asyncio.wait(ends)

    def _count_death(self, code: int) -> None:
        self._deaths += 1
        if code == REFUSES:
            raise Refused("A worker refuses to start; what it said stands above.")
        if self._deaths >= _HOPELESS:
            raise Refused(f"Workers end before they serve, the last one with {ending(code)}.")


async def _first(*events: asyncio.Event) -> None:
    """Returns when one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
