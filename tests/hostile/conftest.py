"""Hostile clients against real services. What they cost is printed at the end of the run: figures, not verdicts."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.hostile.raw import Raw
from tests.support.wire import Wire

Figure = Callable[[str, str], None]


@pytest.fixture(autouse=True)
async def _tidy(anyio_backend: str) -> AsyncIterator[None]:
    """Drops the connections that a failing test has left open, so that only that test fails. (The backend is named
    for tests that are not async.)
    """
    yield
    await Wire.drop_unfinished()
    for raw in list(Raw.unfinished):
        await raw.abort()


@pytest.fixture
def figure(record_property: Figure) -> Figure:
    """Notes what was measured, for the end of the run (`tests/conftest.py`)."""
    return record_property
