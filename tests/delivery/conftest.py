"""Fixtures of the delivery path: workers over the real, empty server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from service.delivery.worker import Worker
from tests.delivery.rig import proxied, quick, running

Start = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    """An asyncio client of the server, text replies."""
    client = redis.asyncio.Redis.from_url(redis_url, protocol=2, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
async def start(redis_url: str, proxy: RedisProxy) -> AsyncIterator[Start]:
    """Starts workers that live until the test is over, but no longer than `proxy`. `url`: of the proxy; `may_die`:
    its tasks; else settings.
    """
    async with AsyncExitStack() as stack:

        async def start(url: str = redis_url, may_die: bool = False, **settings: Any) -> Worker:
            return await stack.enter_async_context(running(quick(url, **settings), may_die=may_die))

        yield start


@pytest.fixture
async def worker(start: Start) -> Worker:
    """A running worker."""
    return await start()


@pytest.fixture
async def other(start: Start) -> Worker:
    """Another running worker."""
    return await start()


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[RedisProxy]:
    """A way to the server that can be cut."""
    with proxied(redis_server.port) as proxy:
        yield proxy
