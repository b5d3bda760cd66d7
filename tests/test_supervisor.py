"""The parent as a real process, with the real embedded server and stub workers."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis.asyncio

from scripts.lab.ports import free_port
from scripts.lab.processes import descendants, is_alive
from scripts.lab.timing import eventually
from service.config import Settings
from tests.parent import Parent, running
from tests.stub_worker import REASON


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def children(parent: Parent) -> list[psutil.Process]:
    found = descendants(parent.pid)
    assert found
    return found


def client(parent: Parent) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(port=parent.server_port, decode_responses=True)


async def test_it_starts_the_server_and_the_workers_and_says_where_everything_is(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("Ctrl-C stops it")
        assert len(parent.workers) == 2
        said = parent.output
        assert "ready, version" in said
        assert f"http://127.0.0.1:{port}/docs" in said
        assert f"ws://127.0.0.1:{port}/v1/ws" in said
        assert f"redis-cli -p {parent.server_port}" in said
        assert f"curl -s -X POST http://127.0.0.1:{port}/v1/messages" in said
        assert "tail bob" in said


async def test_workers_get_every_setting_the_server_and_a_folder_for_metrics(port: int, data: Path) -> None:
    async with running(port, data, INBOXD_HEARTBEAT="250ms", INBOXD_ORIGINS="https://a.test,https://b.test") as parent:
        await parent.says("ready")
        environ = (await parent.ask())["environ"]
        expected = Settings(
            port=port,
            data_dir=data,
            heartbeat=0.25,
            origins=("https://a.test", "https://b.test"),
            redis_url=environ["INBOXD_REDIS_URL"],
        )
        assert {k: v for k, v in environ.items() if k in expected.environ()} == expected.environ()
        assert environ["INBOXD_REDIS_URL"] == f"redis://127.0.0.1:{parent.server_port}/0"
        assert Path(environ["PROMETHEUS_MULTIPROC_DIR"]).is_dir()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
async def test_a_signal_stops_everything_and_the_exit_code_is_0(port: int, data: Path, number: signal.Signals) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        before = children(parent)
        metrics = Path((await parent.ask())["environ"]["PROMETHEUS_MULTIPROC_DIR"])
        parent.process.send_signal(number)
        assert await parent.ends() == 0
        assert not any(is_alive(child.pid) for child in before)
        assert not metrics.exists()


async def test_sighup_makes_every_worker_new_and_stops_nothing(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("Ctrl-C stops it")
        server, before = parent.server.pid, {worker.pid for worker in parent.workers}
        parent.process.send_signal(signal.SIGHUP)
        await parent.says("all workers are new")
        after = {worker.pid for worker in parent.workers}
        assert len(after) == 2
        assert not before & after
        assert parent.server.pid == server
        parent.process.send_signal(signal.SIGHUP)
        await parent.says("all workers are new")
        assert not after & {worker.pid for worker in parent.workers}


async def test_a_stop_amid_a_rolling_restart_ends_old_and_new(port: int, data: Path) -> None:
    async with running(port, data, "lingers", INBOXD_DRAIN_TIMEOUT="10ms") as parent:
        await parent.says("Ctrl-C stops it")
        parent.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(parent.workers) == 3, "an old worker and its successor")
        before = children(parent)
        parent.process.terminate()
        assert await parent.ends() == 0
        assert not any(is_alive(child.pid) for child in before)


async def test_a_closed_terminal_stops_it(port: int, data: Path) -> None:
    ours, terminal = os.openpty()
    async with running(port, data, stdin=terminal) as parent:
        os.close(terminal)
        await parent.says("Ctrl-C stops it")
        parent.process.send_signal(signal.SIGHUP)
        await parent.says("all workers are new")  # the terminal is there: an operator has asked
        os.close(ours)
        parent.process.send_signal(signal.SIGHUP)  # what the kernel does then
        assert await parent.ends() == 0


async def test_a_signal_during_the_start_stops_it_too(port: int, data: Path) -> None:
    async with running(port, data, "silent") as parent:
        eventually(lambda: len(parent.workers) == 2, "two workers that do not serve")
        parent.process.terminate()
        assert await parent.ends() == 0


async def test_the_data_and_the_servers_port_are_there_next_time(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        async with client(parent) as server:
            await server.set("kept", "yes")
        first = (await parent.ask())["environ"]["INBOXD_REDIS_URL"]
        parent.process.terminate()
        await parent.ends()
    async with running(port, data) as parent:
        await parent.says("ready")
        assert (await parent.ask())["environ"]["INBOXD_REDIS_URL"] == first
        async with client(parent) as server:
            assert await server.get("kept") == "yes"


async def test_a_killed_worker_is_replaced_and_waiting_connections_are_served_by_the_next(
    port: int, data: Path
) -> None:
    async with running(port, data, INBOXD_WORKERS="1") as parent:
        await parent.says("ready")
        worker = (await parent.ask())["pid"]
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: not is_alive(worker), "the worker is gone")
        assert (await parent.ask())["pid"] != worker
        assert "SIGKILL" in await parent.says(f"worker process {worker} has ended")


async def test_no_child_outlives_a_killed_parent(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        before = children(parent)
        assert len(before) == 3
        parent.process.kill()
        eventually(lambda: not any(is_alive(child.pid) for child in before), "all children are gone")


async def test_a_start_right_after_a_killed_parent_finds_the_data_whole(data: Path) -> None:
    async with running(free_port(), data) as parent:
        await parent.says("ready")
        async with client(parent) as server:
            await server.set("kept", "yes")
        parent.process.kill()
        async with running(free_port(), data) as second:
            await second.says("ready")
            async with client(second) as server:
                assert await server.get("kept") == "yes"


async def test_a_killed_server_is_started_again_on_the_same_data_and_port(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        async with client(parent) as server:
            for n in range(3):
                await server.set("kept", n)
                killed = parent.server.pid
                os.kill(killed, signal.SIGKILL)
                await parent.says("the embedded server is back")
                assert parent.server.pid != killed
                await server.connection_pool.disconnect()
                assert await server.get("kept") == str(n)


async def test_a_taken_port_is_named_with_the_setting_to_change(data: Path, taken_port: int) -> None:
    async with running(taken_port, data) as parent:
        assert await parent.ends() == 3
        assert f"Port {taken_port}" in parent.output
        assert "INBOXD_PORT" in parent.output
        assert not data.exists(), "nothing was begun before the port was there"


async def test_a_second_start_on_the_same_data_names_the_process_that_holds_it(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        async with running(free_port(), data) as second:
            assert await second.ends() == 3
            assert f"in use by process {parent.pid}" in second.output


async def test_a_worker_that_refuses_to_start_stops_everything_with_its_own_words(port: int, data: Path) -> None:
    async with running(port, data, "refuse") as parent:
        assert await parent.ends() == 3
        assert REASON in parent.output
        assert "refuses to start" in parent.output


async def test_workers_that_only_crash_are_given_up(port: int, data: Path) -> None:
    async with running(port, data, "crash", INBOXD_WORKERS="1") as parent:
        assert await parent.ends() == 3
        assert "exit code 7" in parent.output
        assert "ready, version" not in parent.output


async def test_a_worker_that_does_not_drain_in_time_is_killed(port: int, data: Path) -> None:
    async with running(port, data, "stubborn", INBOXD_WORKERS="1", INBOXD_DRAIN_TIMEOUT="10ms") as parent:
        await parent.says("ready")
        parent.process.terminate()
        assert await parent.ends() == 0
        assert "has not drained in time" in parent.output


async def test_a_second_signal_forces_the_end(port: int, data: Path) -> None:
    async with running(port, data, "stubborn", INBOXD_DRAIN_TIMEOUT="1h") as parent:
        await parent.says("ready")
        before = children(parent)
        parent.process.terminate()
        await parent.says("once more to force it")
        parent.process.terminate()
        assert await parent.ends() == 1
        assert not any(is_alive(child.pid) for child in before)


async def test_ctrl_c_reaches_the_parent_alone(port: int, data: Path) -> None:
    async with running(port, data) as parent:
        await parent.says("ready")
        groups = {os.getpgid(child.pid) for child in children(parent)}
        assert len(groups) == 3
        assert os.getpgid(parent.pid) not in groups


async def test_with_a_server_of_ones_own_none_is_started(port: int, data: Path, redis_url: str) -> None:
    async with running(port, data, INBOXD_REDIS_URL=redis_url) as parent:
        await parent.says("ready")
        assert len(children(parent)) == 2
        assert (await parent.ask())["environ"]["INBOXD_REDIS_URL"] == redis_url
        assert not data.exists()


async def test_the_parent_holds_on_when_nobody_reads_what_it_says(port: int, data: Path) -> None:
    async with running(port, data, INBOXD_WORKERS="1") as parent:
        await parent.says("Ctrl-C stops it")
        assert parent.process.stdout is not None
        transport = parent.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()
        worker = (await parent.ask())["pid"]
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: not is_alive(worker), "the worker is gone")
        assert (await parent.ask())["pid"] != worker
