"""Two workers as their processes compose them, in one process, over a server of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvicorn

from scripts.bench.redis_info import calls_between, parse_calls
from scripts.lab.redis_server import RedisServer
from service.config import Settings
from service.delivery.worker import Worker
from service.worker import config_of
from tests.delivery.rig import LOOK, NEVER, ready, until
from tests.support.issuer import SECRET
from tests.work.counting import Calls
from tests.work.device import Device
from tests.work.record import Work

OURS_TO_ASK = frozenset({"hvals", "hello", "client|setinfo", "client|setname", "script|load", "auth"})
"""Commands of the test itself, or of a connection's beginning."""


def settings(server: RedisServer, **more: Any) -> Settings:
    """Nothing happens by the clock while a run lasts."""
    quiet = {"heartbeat": NEVER, "dead_after": 2 * NEVER, "audit_interval": NEVER, "ping_interval": NEVER}
    quiet |= {"handshake_timeout": NEVER, "keep_alive": NEVER}
    waits = {"redis_timeout": 120.0, "reader_block": 60.0, "ack_delay": 0.0}
    tokens = {"auth": "jwt", "jwt_secret": SECRET, "rate": 1e6, "burst": 10**6}
    return Settings(**{"redis_url": server.url, **quiet, **waits, **tokens, **more})


class Stage:
    """`ports`: of worker A and worker B."""

    def __init__(self, server: RedisServer, ports: list[int]) -> None:
        self.server = server
        self.ports = ports
        self.calls = Calls()
        self.most: list[tuple[str, float]] = []
        self._admin = server.client()

    async def device(self, worker: int, user: str) -> Device:
        device = Device(self.ports[worker], user)
        await device.connect()
        return device

    async def stored(self, *devices: Device) -> None:
        """Returns when what these have acked last is stored; to ask counts for nothing."""
        for device in devices:
            while self._cursor(device.user) != device.acked:  # noqa: ASYNC110 - the server does not tell
                await asyncio.sleep(LOOK)

    def _cursor(self, user: str) -> str:
        with self.calls.rest():
            return str(self._admin.hvals(f"chat:cursors:{{{user}}}")[0])

    async def count(self, messages: int, run: Callable[[], Awaitable[None]]) -> Work:
        """What one message of this run costs."""
        self.calls = Calls()
        before = parse_calls(self._admin.info("commandstats"))
        self.calls.start()
        try:
            await run()
        finally:
            self.calls.stop()
        server = {
            name: stat.calls
            for name, stat in calls_between(before, parse_calls(self._admin.info("commandstats"))).items()
            if name not in OURS_TO_ASK
        }
        scripts = sum(server.pop(name, 0) for name in ("evalsha", "eval", "fcall"))
        self.most = [(name, count / messages) for name, count in (*self.calls.most(12), *server.items())]
        counts = (self.calls.ours, self.calls.libraries, scripts, sum(server.values()))
        return Work(*(round(count / messages, 2) for count in counts))


@asynccontextmanager
async def staged(server: RedisServer, **more: Any) -> AsyncIterator[Stage]:
    """Two workers that have settled down, until the end."""
    server.flush()
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(_serving(settings(server, **more))) for _ in range(2)]
        yield Stage(server, ports)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[int]:
    """One worker; its port. As `service/worker.py` does it, without a process."""
    worker = Worker(settings, lambda _: None)
    config = config_of(worker)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await worker.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup(sockets=[listener])
        try:
            await until(lambda: ready(worker) and worker.reader.position, "it serves")
            yield int(listener.getsockname()[1])
        finally:
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await worker.drain()
            server.force_exit = True
            await server.shutdown(sockets=[listener])
            await worker.stop()
