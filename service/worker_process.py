"""One worker process, from its start to its end, and what it says through its pipe: `1` it serves, `0` it drains."""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence

from service.child import end, spawn
from service.config import LISTEN_FD, READY_FD


class WorkerProcess:
    """`leaving` is set when it takes no new connections any more: it drains, or has ended."""

    def __init__(self, process: Process, pipe: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._pipe = pipe
        self._serves: asyncio.Future[bool] = self._loop.create_future()
        self.draining = False
        self.leaving = asyncio.Event()
        self._loop.add_reader(pipe, self._hear)

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str], listen_fd: int) -> "WorkerProcess":
        """A process that has been told of the listening socket and its end of the pipe; it serves later."""
        pipe, workers_end = os.pipe()
        told = {LISTEN_FD: str(listen_fd), READY_FD: str(workers_end)}
        try:
            process = await spawn(command, env={**environ, **told}, fds=(listen_fd, workers_end))
        except BaseException:
            os.close(pipe)
            raise
        finally:
            os.close(workers_end)
        return cls(process, pipe)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.returncode

    async def served(self, patience: float) -> bool:
        """True when it says that it serves; False when it ends instead, or is silent for `patience` seconds."""
        done, _ = await asyncio.wait((self._serves,), timeout=patience)
        return bool(done) and self._serves.result()

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        return await self._process.wait()

    async def end(self, patience: float) -> bool:
        """Drains it, kills it after `patience` seconds. Returns when it has ended: whether by itself."""
        by_itself = await end(self._process, patience)
        self._hang_up()
        return by_itself

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    def _hear(self) -> None:
        said = os.read(self._pipe, 16)
        if b"1" in said and not self._serves.done():
            self._serves.set_result(True)
        if b"0" in said:
            self.draining = True
            self.leaving.set()
        if not said:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
        if not self._serves.done():
            self._serves.set_result(False)
        self.leaving.set()
