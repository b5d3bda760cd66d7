"""One worker's place, without a parent around it: the contract, back-off, giving up."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripts.lab.processes import is_alive
from scripts.lab.timing import PATIENCE
from service import worker_slot
from service.core.errors import Refused
from service.worker_slot import Launch, WorkerSlot
from tests.parent import STUB


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Lines(list[str]):
    """What was said, and an event for each new line."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def say(self, line: str) -> None:
        self.append(line)
        self.queue.put_nowait(line)


def slot(listener: socket.socket, folder: Path, behaviour: str, say: Lines) -> WorkerSlot:
    launch = Launch(
        command=(sys.executable, "-I", "-S", str(STUB), behaviour),
        settings={"INBOXD_PREFIX": "x:"},
        listen_fd=listener.fileno(),
        metrics_dir=folder,
        drain=0.1,
    )
    return WorkerSlot(launch, say.say)


@asynccontextmanager
async def kept(slot: WorkerSlot) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(slot.keep())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def one_answer(listener: socket.socket) -> int:
    """The pid of the worker that serves a connection made now."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    answer = json.loads(await reader.read())
    writer.close()
    await writer.wait_closed()
    return int(answer["pid"])


def pid(slot: WorkerSlot) -> int:
    assert slot.process is not None
    return slot.process.pid


async def test_it_is_ready_when_its_worker_says_so_and_ends_it_when_cancelled(
    listener: socket.socket, tmp_path: Path
) -> None:
    one = slot(listener, tmp_path, "serve", Lines())
    async with kept(one):
        async with asyncio.timeout(PATIENCE):
            await one.ready.wait()
        assert is_alive(pid(one))
    assert not is_alive(pid(one))
    assert one.process is not None
    assert one.process.returncode == 0


async def test_a_dead_worker_is_replaced_and_its_gauges_are_cleared(listener: socket.socket, tmp_path: Path) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "serve", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        gauge = tmp_path / f"gauge_livesum_{first}.db"
        gauge.touch()
        os.kill(first, signal.SIGKILL)
        said = await lines.queue.get()
        assert said.startswith(f"worker process {first} has ended (SIGKILL); another starts in 0.")
        assert not gauge.exists()
        assert await one_answer(listener) != first


async def test_deaths_in_a_row_wait_longer_and_longer(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)  # the longest wait each time
    lines = Lines()
    one = slot(listener, tmp_path, "crash", lines)
    one.ready.set()  # it has served before, so it is never given up
    async with kept(one), asyncio.timeout(PATIENCE):
        waits = [(await lines.queue.get()).split("another starts in ")[1] for _ in range(4)]
    assert waits == ["0.2 s", "0.4 s", "0.8 s", "1.6 s"]


async def test_a_worker_that_never_says_it_serves_is_killed(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_slot, "READY_PATIENCE", 0.2)
    monkeypatch.setattr(worker_slot, "KILL_MARGIN", 0.1)
    lines = Lines()
    one = slot(listener, tmp_path, "silent", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        assert "does not come to serve" in await lines.queue.get()
        assert "SIGKILL" in await lines.queue.get()
    assert not one.ready.is_set()


async def test_a_refusal_before_the_first_readiness_ends_it(listener: socket.socket, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Refused, match="refuses to start"):
            await slot(listener, tmp_path, "refuse", Lines()).keep()


async def test_a_refusal_later_on_is_a_death_like_any_other(listener: socket.socket, tmp_path: Path) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "refuse", lines)
    one.ready.set()
    async with kept(one), asyncio.timeout(PATIENCE):
        assert "(exit code 3); another starts in" in await lines.queue.get()


async def test_workers_that_end_before_they_ever_serve_are_given_up(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.999)  # nearly no wait
    lines = Lines()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Refused, match="exit code 7"):
            await slot(listener, tmp_path, "crash", lines).keep()
    assert len(lines) == 4, "it was tried five times"


async def test_a_kill_ends_the_process_without_a_drain(listener: socket.socket, tmp_path: Path) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "stubborn", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        one.kill()
        assert "SIGKILL" in await lines.queue.get()
