"""A browser for each module, a person's own context for each test, and nothing that a page may not do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.async_api import Browser, Playwright

from scripts.lab.service import CALM, Service
from scripts.lab.tcp_proxy import Faults, TcpProxy
from scripts.lab.timing import duration
from tests.browser import chrome
from tests.browser.chat import Chat
from tests.browser.watch import Watch
from tests.support import network
from tests.support.api import Api

# A browser on a busy machine may be late; a connection that is cut for that would make what a test says untrue.
PATIENT: dict[str, Any] = {"ping_interval": duration(20), "hello_timeout": duration(20)}


@pytest.fixture(autouse=True)
def still_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with network.held(tmp_path_factory, changing=False):
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all modules that leave it as it is: starting one costs more than most tests do."""
    service = Service(tmp_path_factory.mktemp("shared"), **PATIENT, **CALM)
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="module")
def settings() -> dict[str, Any] | None:
    """Of the module's own service, without `INBOXD_`; None: it may share one with others."""
    return None


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, serve: Callable[..., Service], settings: dict[str, Any] | None) -> Service:
    chrome.program()  # without a browser no service need be started
    if settings is None:
        return cast("Service", request.getfixturevalue("shared"))
    return serve(**PATIENT, **settings)


@asynccontextmanager
async def gone(service: Service) -> AsyncIterator[None]:
    """While this holds, there is no service."""
    await asyncio.to_thread(service.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(service.start)


@pytest.fixture
async def api(service: Service) -> AsyncIterator[Api]:
    """An operator, who may send as nobody in particular."""
    async with Api(service.url, "operator") as api:
        yield api


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chrome.running() as browser:
        yield browser


@pytest.fixture(scope="module")
async def playwright() -> AsyncIterator[Playwright]:
    async with chrome.driver() as playwright:
        yield playwright


Fresh = Callable[..., Awaitable[tuple[Any, Watch]]]


@pytest.fixture
async def fresh(browser: Browser) -> AsyncIterator[Fresh]:
    """Makes contexts (options as Playwright has them). At the end they are closed, and nothing may have gone wrong."""
    made: list[tuple[Any, Watch]] = []

    async def make(**options: Any) -> tuple[Any, Watch]:
        made.append(await chrome.context_of(browser, **options))
        return made[-1]

    yield make
    for context, _ in made:
        await context.close()
    assert [fault for _, watch in made for fault in watch.faults] == []


@pytest.fixture
def proxy(service: Service) -> Iterator[TcpProxy]:
    """A way to the service that loses what it is told to."""
    proxy = TcpProxy(service.port)
    proxy.start()
    yield proxy
    proxy.stop()


NOTHING_COMES_BACK = Faults(black_hole=True, ways=("down",))

Enter = Callable[..., Awaitable[Chat]]


@pytest.fixture
def enter(fresh: Fresh, service: Service) -> Enter:
    """Opens the chat page as a user, in a context of their own, and waits until it is live."""

    async def enter(user: str, device: str = "web", *, base: str = service.url, **options: Any) -> Chat:
        context, watch = await fresh(**options)
        chat = await Chat.open(context, watch, base, user, device)
        await chat.is_live()
        return chat

    return enter


@pytest.fixture
async def profile(playwright: Playwright, tmp_path: Path) -> AsyncIterator[chrome.Profile]:
    """A browser that can be killed; not yet started. What went wrong before a kill counts, too."""
    profile = chrome.Profile(playwright, tmp_path / "profile")
    yield profile
    await profile.close()
    assert profile.watch.faults == []
