"""Load generators as processes of their own, held at gates so that readings fall between their phases."""

import asyncio
import gc
import multiprocessing
import resource
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Protocol, Self

import uvloop

PHASE_TIMEOUT = 300.0  # s: a load process that says nothing for so long has hung
FILES = 65536
GO, ARRIVED = "go", "arrived"


@dataclass(frozen=True)
class Outcome:
    """What one load process saw in its measured phase."""

    started: float  # time.monotonic(), which processes of one machine share
    ended: float
    done: int  # within that time; what `done` counts is the subject's own
    total: int  # the same, with what was still under way when the time was up
    cpu: float  # s, of this process, up to the end of what was under way
    wall: float  # s, as cpu
    appends: int = 0  # inbox entries the server wrote for `total`, own copies too
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[float] = field(default_factory=list)  # s
    late: list[float] = field(default_factory=list)  # s: how late the load itself was


class LoadError(Exception):
    """A load process broke; the text is its traceback."""


class Gate:
    """Where a load process waits until the readings for its next phase are taken."""

    def __init__(self, pipe: "Connection[str | Outcome | LoadError, str]") -> None:
        self._pipe = pipe

    async def wait(self) -> None:
        self._pipe.send(ARRIVED)
        # In a thread: meanwhile the connections go on answering pings.
        await asyncio.get_running_loop().run_in_executor(None, self._pipe.recv)
        gc.collect()
        gc.freeze()


class Load(Protocol):
    """A picklable description of a load, and the coroutine that makes it."""

    async def run(self, gate: Gate) -> Outcome: ...


class Stopwatch:
    """CPU and wall time of this process from its creation on."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._cpu = time.process_time()

    def cpu(self) -> float:
        return time.process_time() - self._cpu

    def wall(self) -> float:
        return time.monotonic() - self.started


class Crew:
    """The processes of one measurement. Use: `arrived()`, read, `go()`, … `finished()`, read."""

    def __init__(self, loads: Sequence[Load]) -> None:
        self._loads = loads
        self._members: list[tuple[BaseProcess, Connection[str, str | Outcome | LoadError]]] = []

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        for load in self._loads:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(load, theirs), daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in self._members:
            process.join(0.0 if kind else 10.0)
            if process.is_alive():
                process.terminate()
                process.join()
            pipe.close()

    def arrived(self) -> None:
        """Returns when every process stands at its next gate."""
        for answer in self._answers():
            assert answer == ARRIVED, "a load ended before its gate"

    def go(self) -> None:
        for _, pipe in self._members:
            pipe.send(GO)

    def finished(self) -> list[Outcome]:
        return [answer for answer in self._answers() if isinstance(answer, Outcome)]

    def _answers(self) -> list[str | Outcome]:
        answers: list[str | Outcome] = []
        for _, pipe in self._members:
            if not pipe.poll(PHASE_TIMEOUT):
                raise LoadError(f"a load generator said nothing for {PHASE_TIMEOUT:.0f} s")
            try:
                answer = pipe.recv()
            except EOFError:
                raise LoadError("a load generator died") from None
            if isinstance(answer, LoadError):
                raise answer
            answers.append(answer)
        return answers


def raise_file_limit() -> None:
    """Lets this process (and its children) open as many sockets as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _work(load: Load, pipe: "Connection[str | Outcome | LoadError, str]") -> None:
    raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            pipe.send(runner.run(load.run(Gate(pipe))))
    except Exception:  # noqa: BLE001 - whatever it was, the parent tells it
        pipe.send(LoadError(traceback.format_exc()))
