"""Every module here has services of its own: they are there to be broken."""

from collections.abc import AsyncIterator

import pytest

from tests.support.history import History
from tests.support.wire import Wire


@pytest.fixture(autouse=True)
async def _tidy() -> AsyncIterator[None]:
    """Drops the connections that a failing test has left open, so that only that test fails."""
    yield
    await Wire.drop_unfinished()


@pytest.fixture
def history() -> History:
    return History()
