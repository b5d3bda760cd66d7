"""One worker process and its pipe."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from scripts.lab.processes import is_alive
from scripts.lab.timing import PATIENCE
from service.worker_process import WorkerProcess
from tests.parent import STUB


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def started() -> AsyncIterator[list[WorkerProcess]]:
    """Those of a test, ended after it."""
    workers: list[WorkerProcess] = []
    yield workers
    for worker in workers:
        worker.kill()
        await worker.end(PATIENCE)


async def start(started: list[WorkerProcess], listener: socket.socket, behaviour: str) -> WorkerProcess:
    command = (sys.executable, "-I", "-S", str(STUB), behaviour)
    started.append(await WorkerProcess.start(command, dict(os.environ), listener.fileno()))
    return started[-1]


async def test_it_serves_when_it_says_so_and_leaves_when_it_drains(
    listener: socket.socket, started: list[WorkerProcess]
) -> None:
    worker = await start(started, listener, "lingers")
    assert await worker.served(PATIENCE)
    assert not worker.leaving.is_set()
    os.kill(worker.pid, signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await worker.leaving.wait()
    assert worker.draining
    assert is_alive(worker.pid)


async def test_one_that_ends_before_it_serves_has_left(listener: socket.socket, started: list[WorkerProcess]) -> None:
    worker = await start(started, listener, "crash")
    assert not await worker.served(PATIENCE)
    assert worker.leaving.is_set()
    assert not worker.draining
    assert await worker.ended() == worker.code == 7


async def test_silence_is_not_serving(listener: socket.socket, started: list[WorkerProcess]) -> None:
    worker = await start(started, listener, "silent")
    assert not await worker.served(0.01)
    assert worker.code is None


async def test_a_killed_one_leaves_without_a_drain(listener: socket.socket, started: list[WorkerProcess]) -> None:
    worker = await start(started, listener, "serve")
    assert await worker.served(PATIENCE)
    worker.kill()
    async with asyncio.timeout(PATIENCE):
        await worker.leaving.wait()
    assert not worker.draining
    assert await worker.ended() == -signal.SIGKILL


async def test_its_end_is_waited_for_and_forced_when_patience_is_over(
    listener: socket.socket, started: list[WorkerProcess]
) -> None:
    orderly, stubborn = await start(started, listener, "serve"), await start(started, listener, "stubborn")
    assert await orderly.served(PATIENCE)
    assert await stubborn.served(PATIENCE)
    assert await orderly.end(PATIENCE)
    assert not await stubborn.end(0.01)
    assert (orderly.code, stubborn.code) == (0, -signal.SIGKILL)
