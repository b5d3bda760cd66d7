"""A browser for each module, a person's own context for each test, and nothing that a page may not do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Playwright

from scripts.lab.service import Service
from scripts.lab.tcp_proxy import Faults, TcpProxy
from scripts.lab.timing import duration
from tests.browser import chrome
from tests.browser.chat import Chat
from tests.browser.watch import Watch
from tests.support.api import Api

# A browser on a busy machine may be late; a connection that is cut for that would make what a test says untrue.
PATIENT = {"ping_interval": duration(20), "hello_timeout": duration(20)}


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Of the module's service, without `INBOXD_`; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service], settings: dict[str, Any]) -> Service:
    chrome.program()  # without a browser no service need be started
    return serve(**PATIENT, **settings)


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
