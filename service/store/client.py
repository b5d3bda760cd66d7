"""Connections to the server, and the one place where Redis exceptions are translated.

Several clients, because their failures differ: `write` has one connection, down which batches go in order;
`read` serves one blocking reader (BLOCK shorter than its time-out, so that a black-holed network is
noticed in seconds); `beat` is never behind thousands of page reads; `rest` does everything else. None
repeats a command by itself: a hidden retry would append twice.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import hiredis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from service.core.errors import Unavailable

NoScript = NoScriptError

REST_CONNECTIONS = 32
"""Most connections one worker opens for everything but the blocking reader and the committer."""


class Settings(Protocol):
    """What the store needs to know of `service.config.Settings`."""

    @property
    def redis_url(self) -> str | None: ...
    @property
    def redis_timeout(self) -> float: ...


Redis = redis.asyncio.Redis


@contextmanager
def translated() -> Iterator[None]:
    """Every failure to ask the server, or to hear its answer, becomes `Unavailable`."""
    try:
        yield
        # Before Python 3.12 `wait_for`, which redis-py uses, may swallow a cancel: then it must not go on here.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
    except NoScriptError:
        raise
    except (TimeoutError, RedisError, OSError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def connect(settings: Settings, name: str = "inboxd", connections: int = REST_CONNECTIONS) -> Redis:
    """A client with bytes replies and no retries of its own. Opens nothing yet.

    Beyond `connections` callers wait for a free one, in turn, instead of failing.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url or "redis://127.0.0.1:6379/0",
        max_connections=connections,
        timeout=None,
        socket_timeout=settings.redis_timeout,
        socket_connect_timeout=min(2.0, settings.redis_timeout),
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        legacy_responses=False,
        client_name=name,
    )
    return redis.asyncio.Redis.from_pool(pool)


class Clients:
    """The clients of one worker. `aclose` ends them."""

    def __init__(self, settings: Settings, name: str = "inboxd") -> None:
        self.write = connect(settings, f"{name}-write", 1)
        self.read = connect(settings, f"{name}-read", 1)
        self.beat = connect(settings, f"{name}-beat", 1)
        self.rest = connect(settings, f"{name}-rest")

    async def aclose(self) -> None:
        for client in (self.write, self.read, self.beat, self.rest):
            await client.aclose()


async def run(client: Any, *command: Any) -> Any:
    """One command. Raises Unavailable."""
    with translated():
        return await client.execute_command(*command)


async def run_large(client: Any, *command: Any) -> Any:
    """As `run`, for a command of hundreds of arguments: packed by hiredis instead of in Python, which is a
    quarter of a busy worker's time. Raises Unavailable.
    """
    with translated():
        pool = client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command([hiredis.pack_command(command)])
            return await connection.read_response()
        finally:
            await pool.release(connection)


async def pipeline(client: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Several commands down one connection, in order, not atomic. A command's own error stands as an
    exception in its place; raises Unavailable when the connection fails (any of them may have run).
    """
    with translated():
        async with client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))
