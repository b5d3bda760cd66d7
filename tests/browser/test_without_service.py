"""The page opens where there is no service and no network, and shows what it has."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.browser.chat import Chat
from tests.browser.conftest import Enter, Fresh, gone
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """A service to be broken."""
    return {}


INSTALLED = """async () => {
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve));
  }
}"""


async def installed(chat: Chat) -> None:
    """Waits until the page's service worker answers for it."""
    async with asyncio.timeout(PATIENCE):
        await chat.page.evaluate(INSTALLED)


async def talked(enter: Enter, api: Api, user: str, peer: str) -> Chat:
    """A page that could be opened without a network, with a conversation."""
    chat = await enter(user)
    await chat.talk_to(peer)
    await chat.write("before")
    await chat.has_sent("before")
    await installed(chat)
    chat.watch.cut = True
    return chat


async def test_without_the_service_the_page_opens_and_what_is_written_goes_out_once_when_it_is_back(
    service: Service, enter: Enter, api: Api, alice: str, bob: str
) -> None:
    chat = await talked(enter, api, alice, bob)
    texts = ["before", "when it has gone", "on a page without it"]
    async with gone(service):
        await chat.write("when it has gone")
        await chat.reload()
        await chat.shows("before", "when it has gone")
        await chat.write("on a page without it")
        for text in texts[1:]:
            await chat.is_in_state(text, "queued")
        await chat.page.close()
        again = await Chat.open(chat.page.context, chat.watch, service.url, alice)
        await again.pick(bob)
        await again.shows(*texts)
    await again.is_live()
    await again.has_sent(*texts)
    async with Device(service.url, bob) as phone:
        assert [entry["body"]["text"] for entry in await phone.receive(3)] == texts


async def test_without_a_network_the_page_opens_with_its_conversations(
    enter: Enter, api: Api, alice: str, bob: str
) -> None:
    chat = await talked(enter, api, alice, bob)
    await chat.page.context.set_offline(True)
    await chat.visit()
    await chat.is_state("offline")
    await chat.pick(bob)
    await chat.shows("before")
    await chat.write("in the tunnel")
    await chat.is_in_state("in the tunnel", "queued")
    await chat.page.context.set_offline(False)
    await chat.has_sent("in the tunnel")
    await chat.shows("before", "in the tunnel")


async def test_the_page_can_be_installed(enter: Enter, alice: str) -> None:
    chat = await enter(alice)
    await installed(chat)
    session = await chat.page.context.new_cdp_session(chat.page)
    manifest = await session.send("Page.getAppManifest")
    assert manifest["url"].endswith("/manifest.webmanifest")
    assert manifest["errors"] == []
    faults = await session.send("Page.getInstallabilityErrors")
    # A context of a test is a private window, which is the one thing that may stand against it.
    assert {fault["errorId"] for fault in faults["installabilityErrors"]} <= {"in-incognito"}


async def test_a_browser_that_keeps_nothing_is_said_to(
    enter: Enter, fresh: Fresh, service: Service, alice: str
) -> None:
    context, watch = await fresh()
    for name in ("indexedDB", "localStorage"):
        await context.add_init_script(
            f"Object.defineProperty(globalThis, '{name}', {{ get() {{ throw new DOMException('no'); }} }})"
        )
    chat = await Chat.open(context, watch, service.url, alice)
    await chat.is_live()
    await expect(chat.by("storage")).to_have_attribute("data-durable", "false")
    await expect(chat.by("storage")).to_contain_text("memory")
    await chat.talk_to(alice)
    await chat.write("a note")
    await chat.has_sent("a note")
