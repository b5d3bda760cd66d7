"""Fixtures of the delivery path: workers over the real, empty server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE
from service.delivery.worker import Worker
from tests.conftest import BACKENDS, Backend
from tests.delivery.rig import NEVER, proxied, quick, running

Start = Callable[..., Awaitable[Worker]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every backend, but for those that break the one server, or the way to it."""
    if "backend" in metafunc.fixturenames:
        one = "redis_server" in metafunc.fixturenames
        metafunc.parametrize("backend", ("one",) if one else BACKENDS, indirect=True)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Any]:
    """An asyncio client of the backend with all rights, text replies."""
    client = backend.async_client(decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
async def start(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Start]:
    """Starts workers that live until the test is over, but no longer than `proxy`. `url`: of the proxy; `may_die`:
    its tasks; else settings.
    """
    if "proxy" in request.fixturenames:
        request.getfixturevalue("proxy")
    async with AsyncExitStack() as stack:

        async def start(url: str = redis_url, may_die: bool = False, **settings: Any) -> Worker:
            return await stack.enter_async_context(running(quick(url, **settings), may_die=may_die))

        yield start


def calm(start: Start) -> Start:
    """Of workers none of which takes another identity or place in its stream because the machine is slow: it would pass
    over what it is told there.
    """
    return partial(start, heartbeat=PATIENCE, dead_after=NEVER, redis_timeout=PATIENCE)


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
    with proxied(redis_server) as proxy:
        yield proxy
