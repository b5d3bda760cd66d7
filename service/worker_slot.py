"""One place for a worker: a process is started in it, awaited, and replaced when it dies.

What parent and worker agree on:
- environment: all settings, `INBOXD_LISTEN_FD` (the shared listening socket), `INBOXD_READY_FD` (the worker
  writes one byte `1` when it serves), `PROMETHEUS_MULTIPROC_DIR`;
- SIGTERM drains it; exit code 0: drained, 3: it refuses to start and has said why on stderr.
"""

import asyncio
import os
import random
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from service.child import end, ending, spawn
from service.config import LISTEN_FD, READY_FD
from service.core.backoff import Backoff
from service.core.errors import Refused

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
        self.process: Process | None = None
        self._deaths = 0  # before anything ever served here

    async def keep(self) -> None:
        """Keeps a worker running until cancelled; then drains it.

        Raises Refused when a worker does not get to serve for the first time.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(first=0.2, most=5.0)
        while True:
            since = loop.time()
            code, pid = await self._run_one()
            if not self.ready.is_set():
                self._count_death(code)
            if loop.time() - since >= _STEADY:
                backoff.reset()
            delay = backoff.wait(random.random())
            self.say(f"worker process {pid} has ended ({ending(code)}); another starts in {delay:.1f} s")
            await asyncio.sleep(delay)

    def kill(self) -> None:
        """Ends the process at once, without a drain."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def _run_one(self) -> tuple[int, int]:
        """One process from start to end: its exit code and pid."""
        process, ready_fd = await self._start()
        self.process = process
        try:
            if await _served(ready_fd):
                self.ready.set()
            else:
                await self._end_unserved(process)
            return await process.wait(), process.pid
        finally:
            os.close(ready_fd)
            await self._end(process)

    async def _end_unserved(self, process: Process) -> None:
        """A worker that closed its end of the pipe is ending, with a code of its own; else it is stuck."""
        try:
            async with asyncio.timeout(KILL_MARGIN):
                await process.wait()
        except TimeoutError:
            self.say(f"worker process {process.pid} does not come to serve; it is killed")
            process.kill()

    async def _start(self) -> tuple[Process, int]:
        ready_fd, workers_end = os.pipe()
        try:
            process = await spawn(
                self.launch.command,
                env=self._environment(workers_end),
                fds=(self.launch.listen_fd, workers_end),
            )
        except BaseException:
            os.close(ready_fd)
            raise
        finally:
            os.close(workers_end)
        return process, ready_fd

    def _environment(self, ready_fd: int) -> dict[str, str]:
        return {
            **os.environ,
            **self.launch.settings,
            LISTEN_FD: str(self.launch.listen_fd),
            READY_FD: str(ready_fd),
            METRICS_DIR: str(self.launch.metrics_dir),
        }

    async def _end(self, process: Process) -> None:
        """Drains the process if it still runs, kills it if that takes too long, and clears its gauges."""
        if not await end(process, self.launch.drain + KILL_MARGIN):
            self.say(f"worker process {process.pid} has not drained in time; it was killed")
        mark_process_dead(process.pid, str(self.launch.metrics_dir))  # type: ignore[no-untyped-call]

    def _count_death(self, code: int) -> None:
        self._deaths += 1
        if code == REFUSES:
            raise Refused("A worker refuses to start; what it said stands above.")
        if self._deaths >= _HOPELESS:
            raise Refused(f"Workers end before they serve, the last one with {ending(code)}.")


async def _served(ready_fd: int) -> bool:
    """True when the worker says that it serves; False when it ends or is silent for too long."""
    loop = asyncio.get_running_loop()
    said: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        loop.remove_reader(ready_fd)  # before the result, so that it is read once
        if not said.done():
            said.set_result(os.read(ready_fd, 1))

    loop.add_reader(ready_fd, read)
    try:
        async with asyncio.timeout(READY_PATIENCE):
            return await said == b"1"
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(ready_fd)
