"""`rediss://`: the whole service over TLS, and no word to a server whose certificate is not trusted."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service
from scripts.lab.tcp_proxy import TcpProxy
from scripts.lab.tls import Authority
from service.config import Settings
from service.core.errors import Refused
from service.store.preflight import preflight
from tests.support.api import Api

# The usual server binary speaks no TLS itself: as with many providers something in front of it does.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def front(server: RedisServer, authority: Authority) -> Iterator[TcpProxy]:
    """What speaks TLS in front of the server, as 127.0.0.1."""
    yield from running(TcpProxy(server.port, tls=authority.server()))


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """CPython 3.11.2 leaves the transports of a TLS handshake that failed to the collector, which complains."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def running(proxy: TcpProxy) -> Iterator[TcpProxy]:
    proxy.start()
    yield proxy
    proxy.stop()


def url(front: TcpProxy, authority: Authority) -> str:
    return f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={authority.ca}"


async def test_the_service_works_over_tls(front: TcpProxy, authority: Authority, tmp_path: Path) -> None:
    service = Service(tmp_path, redis_url=url(front, authority))
    service.start()
    try:
        async with Api(service.url, "alice") as alice, Api(service.url, "bob") as bob:
            sent = await alice.send("bob", message_id="m1")
            assert sent["durability"] == "fsynced"
            assert [entry["id"] for entry in (await bob.get("/v1/inbox", device="phone"))["entries"]] == ["m1"]
        assert front.counts["connections"] > 2
    finally:
        service.close()


async def test_an_authority_that_is_not_named_is_not_trusted(front: TcpProxy) -> None:
    with pytest.raises(Refused, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
        await preflight(Settings(redis_url=f"rediss://127.0.0.1:{front.port}/0"))


async def test_another_authority_is_not_trusted(front: TcpProxy, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
        await preflight(Settings(redis_url=url(front, Authority(tmp_path / "other"))))


async def test_a_certificate_for_another_host_is_refused(server: RedisServer, authority: Authority) -> None:
    for elsewhere in running(TcpProxy(server.port, tls=authority.server("127.0.0.2"))):
        with pytest.raises(Refused, match="IP address mismatch"):
            await preflight(Settings(redis_url=url(elsewhere, authority)))


async def test_a_server_without_tls_is_refused(server: RedisServer, authority: Authority) -> None:
    with pytest.raises(Refused):
        await preflight(Settings(redis_url=f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={authority.ca}"))
