"""Fixtures that tests of every layer may use."""

import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio

from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service, close_all
from tests.support.fake_redis import fake_client


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server with AOF for the whole run."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The real server's URL; the server is empty when the test begins."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
async def real_redis(redis_url: str) -> AsyncIterator[Any]:
    """An asyncio client with bytes replies of the real, empty server."""
    client = redis.asyncio.Redis.from_url(redis_url, protocol=2)
    yield client
    await client.aclose()


@pytest.fixture
async def fake_redis() -> AsyncIterator[Any]:
    """An asyncio client with bytes replies of an empty fakeredis that can load the service's scripts."""
    client = fake_client()
    yield client
    await client.aclose()


@pytest.fixture(params=("fake", "real"))
async def any_redis(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """For contract tests: the test runs twice, on fakeredis and on the real server."""
    if request.param == "fake":
        client = fake_client()
    else:
        client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"), protocol=2)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Starts services (settings without `INBOXD_`) that live until the module's tests are over."""
    started: list[Service] = []

    def start(**settings: Any) -> Service:
        service = Service(tmp_path_factory.mktemp("service"), **settings)
        started.append(service)
        service.start()
        return service

    yield start
    close_all(started)


_numbers = itertools.count(1)


@pytest.fixture
def named() -> Callable[[str], str]:
    """Makes a user's name this test's own: `bob` becomes `bob.7f3a.12`, so that tests can share a service."""
    suffix = f"{secrets.token_hex(2)}.{next(_numbers)}"
    return lambda name: f"{name}.{suffix}"


@pytest.fixture
def alice(named: Callable[[str], str]) -> str:
    return named("alice")


@pytest.fixture
def bob(named: Callable[[str], str]) -> str:
    return named("bob")


@pytest.fixture
def carol(named: Callable[[str], str]) -> str:
    return named("carol")
