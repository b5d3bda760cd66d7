"""One service for all tests of the protocol; every test has users of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from scripts.lab.service import CALM, Service
from tests.support.api import Api
from tests.support.issuer import SECRET, Issuer
from tests.support.wire import Wire


@pytest.fixture(autouse=True)
async def _tidy(anyio_backend: str) -> AsyncIterator[None]:
    """Drops the connections that a failing test has left open, so that only that test fails. (The backend is named
    for tests that are not async.)
    """
    yield
    await Wire.drop_unfinished()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers on the embedded server, default limits."""
    service = Service(tmp_path_factory.mktemp("service"), **CALM)
    try:
        service.start()
        yield service
    finally:
        service.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As `service`, with tokens signed by `SECRET`."""
    service = Service(tmp_path_factory.mktemp("guarded"), operator=by_token, AUTH="jwt", JWT_SECRET=SECRET, **CALM)
    try:
        service.start()
        yield service
    finally:
        service.close()


def by_token() -> dict[str, str]:
    return {"Authorization": f"Bearer {Issuer().token('operator', 'ops')}"}


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    """Requests in Alice's name."""
    async with Api(service.url, alice) as api:
        yield api


@pytest.fixture
async def bobs(service: Service, bob: str) -> AsyncIterator[Api]:
    """Requests in Bob's name."""
    async with Api(service.url, bob) as api:
        yield api
