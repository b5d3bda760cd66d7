"""One worker's place, without a parent around it: the contract, back-off, giving up."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.lab.processes import is_alive, pause
from scripts.lab.timing import PATIENCE, eventually_async
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


def command(behaviour: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(STUB), behaviour)


def slot(listener: socket.socket, folder: Path, behaviour: str, say: Lines) -> WorkerSlot:
    launch = Launch(
        command=command(behaviour),
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
    assert slot.worker is not None
    return slot.worker.pid


async def test_it_is_ready_when_its_worker_says_so_and_ends_it_when_cancelled(
    listener: socket.socket, tmp_path: Path
) -> None:
    one = slot(listener, tmp_path, "serve", Lines())
    async with kept(one):
        async with asyncio.timeout(PATIENCE):
            await one.ready.wait()
        assert is_alive(pid(one))
    assert not is_alive(pid(one))
    assert one.worker is not None
    assert one.worker.code == 0


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


async def test_a_renewal_starts_the_successor_first_and_drains_the_old_one_after(
    listener: socket.socket, tmp_path: Path
) -> None:
    one = slot(listener, tmp_path, "serve", Lines())
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        gauge = tmp_path / f"gauge_livesum_{first}.db"
        gauge.touch()
        pause(first)  # it cannot drain, and yet its successor serves
        renewal = asyncio.create_task(one.renew())
        assert await one_answer(listener) == pid(one) != first
        assert is_alive(first)
        os.kill(first, signal.SIGCONT)
        assert await renewal
        assert not is_alive(first)
        assert not gauge.exists()
        assert await one_answer(listener) == pid(one)


async def test_the_old_one_stays_where_the_successor_does_not_come_to_serve(
    listener: socket.socket, tmp_path: Path
) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "serve", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        one.launch = replace(one.launch, command=command("crash"))
        assert not await one.renew()
        assert await lines.queue.get() == (f"worker process {first} stays: its successor has ended (exit code 7)")
        assert await one_answer(listener) == first
        one.launch = replace(one.launch, command=command("serve"))
        assert await one.renew(), "and may be renewed later"
        assert await one_answer(listener) == pid(one) != first


async def test_a_worker_that_dies_while_its_successor_starts_is_succeeded_all_the_same(
    listener: socket.socket, tmp_path: Path
) -> None:
    one = slot(listener, tmp_path, "serve", Lines())
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        renewal = asyncio.create_task(one.renew())
        os.kill(first, signal.SIGKILL)
        assert await renewal
        assert await one_answer(listener) == pid(one) != first


async def test_a_successor_that_dies_is_replaced_as_any_worker(listener: socket.socket, tmp_path: Path) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "serve", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        assert await one.renew()
        second = pid(one)
        os.kill(second, signal.SIGKILL)
        assert f"worker process {second} has ended (SIGKILL)" in await lines.queue.get()
        assert await one_answer(listener) != second


async def test_one_that_drains_by_itself_is_not_waited_for(listener: socket.socket, tmp_path: Path) -> None:
    lines = Lines()
    one = slot(listener, tmp_path, "lingers", lines)
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        os.kill(first, signal.SIGTERM)
        assert f"worker process {first} drains; another starts in 0." in await lines.queue.get()
        assert await one_answer(listener) != first
        assert is_alive(first), "it has time until the end of the drain"


async def test_all_that_run_end_when_it_is_cancelled(listener: socket.socket, tmp_path: Path) -> None:
    one = slot(listener, tmp_path, "lingers", Lines())
    async with kept(one), asyncio.timeout(PATIENCE):
        await one.ready.wait()
        first = pid(one)
        renewal = asyncio.create_task(one.renew())

        async def another() -> bool:
            return pid(one) != first

        await eventually_async(another, "a successor")
        both = {first, pid(one)}
    renewal.cancel()
    assert not any(is_alive(pid) for pid in both)
