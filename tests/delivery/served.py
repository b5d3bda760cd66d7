"""A whole worker, as its process composes it, in the test's own process and on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from service import worker as process
from service.config import Settings
from service.delivery.worker import Worker
from tests.delivery.rig import ready, until, within


@dataclass
class Served:
    """`deaths`: what `on_death` was told. `alarms`: seconds after which the kernel would have ended the process."""

    worker: Worker
    server: process.Server
    url: str
    running: "asyncio.Task[None]"
    deaths: list[str] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)

    async def stop(self) -> None:
        """What SIGTERM does."""
        self.server.should_exit = True
        await within(asyncio.shield(self.running), "the end of the server")


@asynccontextmanager
async def served(settings: Settings, ready_fd: int | None = None) -> AsyncIterator[Served]:
    """Serves on a free port until the end."""
    deaths: list[str] = []
    alarms: list[float] = []
    worker = Worker(settings, deaths.append)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_end_at_last", alarms.append)  # it would end the tests
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = process.Server(process.config_of(worker), worker, ready_fd)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: running.done() or (server.started and ready(worker)), "it serves")
            yield Served(worker, server, url, running, deaths, alarms)
        finally:
            server.should_exit = True
            await within(asyncio.gather(running, return_exceptions=True), "the end of the server")
