"""Hostile clients against real services. What they cost is printed at the end of the run: figures, not verdicts."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.hostile.raw import Raw
from tests.support.wire import Wire

FIGURES = pytest.StashKey[list[tuple[str, str]]]()
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
def figure(request: pytest.FixtureRequest) -> Figure:
    """Notes what was measured, for the end of the run."""
    figures = request.config.stash.setdefault(FIGURES, [])
    return lambda what, measured: figures.append((what, measured))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("hostile input figures")
        width = max(len(what) for what, _ in figures)
        for what, measured in figures:
            terminalreporter.write_line(f"{what:<{width}}  {measured}")
