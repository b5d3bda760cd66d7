"""Fixtures that tests of every layer may use."""

import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.lab import flavours
from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.redis_server import RedisServer
from scripts.lab.rights import USER, Rights
from scripts.lab.sentinel_group import SentinelGroup
from scripts.lab.service import Service, close_all
from tests.support.fake_redis import fake_client


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


Backend = RedisServer | SentinelGroup | ClusterGroup

BACKENDS = ("one", "oldest", "sentinel", "cluster")
"""What the service's store may be: one server, one of the oldest kind that is served, and the two kinds of groups."""


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Backend]]:
    """By name, each started when it is first asked for. The service may do there what the operators' page grants it,
    and at the end it must not have tried more.
    """
    started: dict[str, Backend] = {}

    def backend(name: str) -> Backend:
        if name not in started:
            started[name] = made(name, tmp_path_factory.mktemp(name))
            started[name].start()
        return started[name]

    yield backend
    refusals = [line for one in started.values() for line in one.refusals() if line.startswith(USER)]
    for one in started.values():
        one.stop()
    assert not refusals, f"docs/operators.md, Least rights, does not grant: {refusals}"


def made(name: str, folder: Path) -> Backend:
    """Not yet started. Skips what cannot be had here."""
    if name == "sentinel":
        return SentinelGroup(folder, rights=Rights())
    if name == "cluster":
        return ClusterGroup(folder, rights=Rights())
    if name == "oldest" and not flavours.oldest():
        pytest.skip("no Redis 7.0 on the PATH (Debian 12: apt install redis-server)")
    return RedisServer(folder, binary=flavours.oldest() if name == "oldest" else "", rights=Rights())


@pytest.fixture(scope="session")
def redis_server(backends: Callable[[str], Backend]) -> RedisServer:
    """One real server with AOF for the whole run."""
    server = backends("one")
    assert isinstance(server, RedisServer)
    return server


@pytest.fixture
def backend(request: pytest.FixtureRequest, backends: Callable[[str], Backend]) -> Backend:
    """One server, empty when the test begins; or what a test's parameter (of `BACKENDS`) asks for."""
    backend = backends(getattr(request, "param", "one"))
    backend.flush()
    return backend


@pytest.fixture
def redis_url(backend: Backend) -> str:
    """The backend's URL for the service, which has the least rights there."""
    return backend.service_url


@pytest.fixture
def admin_url(redis_server: RedisServer) -> str:
    """The one, empty server's URL for whoever looks behind the service."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
async def real_redis(backend: Backend) -> AsyncIterator[Any]:
    """An asyncio client with bytes replies and all rights of the empty backend."""
    client = backend.async_client()
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
    client = fake_client() if request.param == "fake" else request.getfixturevalue("backend").async_client()
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured, which is no verdict, wherever they ran."""
    reports = [report for stat in ("passed", "failed") for report in terminalreporter.stats.get(stat, [])]
    figures = sorted({pair for report in reports for pair in getattr(report, "user_properties", [])})
    if figures:
        terminalreporter.section("figures")
        width = max(len(what) for what, _ in figures)
        for what, measured in figures:
            terminalreporter.write_line(f"{what:<{width}}  {measured}")
