"""A real worker process keeps the contract that its parent relies on (see service/worker_slot.py)."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import pytest

from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE
from service.config import Settings
from service.worker_slot import REFUSES
from tests.house.tree import ROOT


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


QUICK = {"drain_timeout": 1, "redis_timeout": 2, "reader_block": 1}
MAIN = "\nfrom service.worker import main\nraise SystemExit(main())"


class Worker:
    """A worker process and the end of the pipe it tells its readiness through."""

    def __init__(self, process: Process, ready_fd: int) -> None:
        self.process = process
        self.ready_fd = ready_fd

    async def says(self) -> bytes:
        """The one byte, or nothing when it ends instead."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(os.read, self.ready_fd, 1)

    async def ends(self) -> tuple[int, str]:
        """Exit code and what stood on stderr."""
        async with asyncio.timeout(PATIENCE):
            _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def worker(listener: socket.socket, url: str, hook: str = "", **settings: Any) -> AsyncIterator[Worker]:
    """`hook`: Python to run in the process before its `main`."""
    ready_fd, workers_end = os.pipe()
    fds = {"INBOXD_LISTEN_FD": str(listener.fileno()), "INBOXD_READY_FD": str(workers_end)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *(("-c", hook + MAIN) if hook else ("-m", "service.worker"))),
        pass_fds=(listener.fileno(), workers_end),
        env={
            **os.environ,
            **Settings(**{"redis_url": url, **QUICK, **settings}).environ(),
            **fds,
        },
        cwd=ROOT,
        stderr=PIPE,
    )
    os.close(workers_end)
    try:
        yield Worker(process, ready_fd)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        os.close(ready_fd)


async def status(listener: socket.socket, path: str) -> int:
    host, port = listener.getsockname()
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False, timeout=PATIENCE) as client:
        return (await client.get(path)).status_code


async def test_it_says_when_it_serves_on_the_socket_it_was_given_and_when_no_more(
    listener: socket.socket, redis_url: str
) -> None:
    async with worker(listener, redis_url) as process:
        assert await process.says() == b"1"
        assert await status(listener, "/healthz") == 200
        process.process.send_signal(signal.SIGTERM)
        assert await process.says() == b"0"
        assert await process.says() == b"", "that is all"


async def test_once_it_says_that_it_drains_it_takes_no_connection_any_more(
    listener: socket.socket, redis_url: str
) -> None:
    async with worker(listener, redis_url) as old:
        assert await old.says() == b"1"
        old.process.send_signal(signal.SIGTERM)
        assert await old.says() == b"0"
        early = asyncio.create_task(status(listener, "/healthz"))
        assert (await old.ends())[0] == 0
        assert not early.done()
        async with worker(listener, redis_url):
            assert await early == 200


async def test_connections_that_came_before_it_are_served(listener: socket.socket, redis_url: str) -> None:
    early = asyncio.create_task(status(listener, "/healthz"))
    async with worker(listener, redis_url):
        assert await early == 200


async def test_sigterm_drains_it_and_the_exit_code_is_0(listener: socket.socket, redis_url: str) -> None:
    async with worker(listener, redis_url) as process:
        assert await process.says() == b"1"
        process.process.send_signal(signal.SIGTERM)
        code, said = await process.ends()
        assert code == 0
        assert "Traceback" not in said


async def test_sigterm_in_the_moment_its_loop_begins_ends_it_with_0_and_without_a_word(
    listener: socket.socket, redis_url: str
) -> None:
    hook = """
import os, signal, uvicorn.server
uvicorn.server.asyncio_run = lambda work, **_: os.kill(os.getpid(), signal.SIGTERM)
"""
    async with worker(listener, redis_url, hook) as process:
        assert await process.ends() == (0, "")


async def test_bytes_that_are_no_http_are_answered_and_fill_no_log(listener: socket.socket, redis_url: str) -> None:
    async with worker(listener, redis_url) as process:
        assert await process.says() == b"1"
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"\x16\x03\x01 what is this?\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        process.process.send_signal(signal.SIGTERM)
        _, said = await process.ends()
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert "WARNING" not in said


async def test_it_refuses_to_start_without_its_server_and_says_why(listener: socket.socket) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with worker(listener, f"redis://127.0.0.1:{nobody.getsockname()[1]}/0") as process:
            assert await process.says() == b""
            code, said = await process.ends()
    assert code == REFUSES
    assert said.strip()
    assert "Traceback" not in said


async def test_it_refuses_to_start_where_the_settings_break_the_promise_and_says_the_remedy(
    listener: socket.socket, redis_url: str, redis_server: RedisServer
) -> None:
    with redis_server.client() as store:
        store.config_set("maxmemory-policy", "allkeys-lru")
        try:
            async with worker(listener, redis_url) as process:
                assert await process.says() == b""
                code, said = await process.ends()
        finally:
            store.config_set("maxmemory-policy", "noeviction")
        assert store.hgetall("chat:workers") == {}
    assert code == REFUSES
    assert "CONFIG SET maxmemory-policy noeviction" in said
    assert len(said.strip().splitlines()) == 1


DEAF = """
from service.delivery.reader import Reader
def broken(self, events):
    raise RuntimeError("as the test wants it")
Reader._dispatch = broken
"""


async def test_a_worker_whose_reader_dies_says_so_and_ends_in_order_to_be_replaced(
    listener: socket.socket, redis_url: str, redis_server: RedisServer
) -> None:
    async with worker(listener, redis_url, DEAF, heartbeat=0.1, dead_after=1) as process:
        assert await process.says() == b"1"
        code, said = await process.ends()
    assert code == 0
    assert "the reader has died" in said
    with redis_server.client() as store:
        assert store.hgetall("chat:workers") == {}


HANGING = """
import asyncio
from service.delivery.worker import Worker
async def hang(self):
    await asyncio.Event().wait()
Worker.drain = hang
"""


async def test_a_stop_that_hangs_is_ended_by_the_kernel(listener: socket.socket, redis_url: str) -> None:
    async with worker(listener, redis_url, HANGING) as process:
        assert await process.says() == b"1"
        process.process.send_signal(signal.SIGTERM)
        code, _ = await process.ends()
    assert code == -signal.SIGALRM
