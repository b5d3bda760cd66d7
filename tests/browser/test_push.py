"""What a backend sends by Web Push is shown by the page's service worker, and leads to the page."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.browser import chrome
from tests.browser.chat import Chat
from tests.browser.conftest import Enter
from tests.browser.test_without_service import installed

ACTIVE = """async () => {
  const { active } = await navigator.serviceWorker.ready;
  while (active.state !== "activated") {
    await new Promise((resolve) => active.addEventListener("statechange", resolve, { once: true }));
  }
}"""
"""It claims the page while it activates; what is pushed then may be lost."""

NOTED = """() => {
  globalThis.noted = [];
  const show = registration.showNotification.bind(registration);
  ServiceWorkerRegistration.prototype.showNotification = async (title, { body, tag, data }) => {
    await show(title, { body, tag, data });
    noted.push({ title, body, tag, data });
  };
}"""
"""What was shown, whatever the system does with it afterwards."""

CLICKED = """async () => {
  const went = [];
  clients.openWindow = async (url) => void went.push(`opened ${url}`); // without a click it may not
  WindowClient.prototype.focus = async function () { went.push(`focused ${new URL(this.url).search}`); };
  for (const notification of await registration.getNotifications()) {
    const clicking = new NotificationEvent("notificationclick", { notification });
    const waiting = [];
    clicking.waitUntil = (work) => waiting.push(work);
    dispatchEvent(clicking);
    await Promise.all(waiting);
  }
  return went;
}"""


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chrome.running(whole=True) as browser:
        yield browser


class Phone:
    """A page whose browser takes pushes."""

    def __init__(self, chat: Chat, origin: str) -> None:
        self.chat = chat
        self._origin = origin

    async def start(self) -> None:
        await self.chat.page.context.grant_permissions(["notifications"], origin=self._origin)
        await installed(self.chat)
        async with asyncio.timeout(PATIENCE):
            await self.chat.page.evaluate(ACTIVE)
        self._session = await self.chat.page.context.new_cdp_session(self.chat.page)
        known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def updated(event: dict[str, Any]) -> None:
            for one in event["registrations"]:
                if one["scopeURL"].startswith(self._origin) and not known.done():
                    known.set_result(one["registrationId"])

        self._session.on("ServiceWorker.workerRegistrationUpdated", updated)
        await self._session.send("ServiceWorker.enable")
        async with asyncio.timeout(PATIENCE):
            self._registration = await known
        [self._worker] = self.chat.page.context.service_workers
        await self._worker.evaluate(NOTED)

    async def push(self, data: str) -> None:
        """As the browser's push service delivers it."""
        told = {"origin": self._origin, "registrationId": self._registration, "data": data}
        await self._session.send("ServiceWorker.deliverPushMessage", told)

    async def shown(self, count: int) -> list[dict[str, Any]]:
        """Waits until so many notifications were shown."""

        async def noted() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = await self._worker.evaluate("() => noted")
            return found if len(found) >= count else None

        return await eventually_async(noted, f"{count} notifications")

    async def click(self) -> list[str]:
        """Clicks whatever is shown; where that led."""
        went: list[str] = await self._worker.evaluate(CLICKED)
        return went


@pytest.fixture
async def phone(enter: Enter, service: Service, bob: str) -> Phone:
    phone = Phone(await enter(bob), service.url)
    await phone.start()
    return phone


def pending(user: str, count: int, **more: Any) -> str:
    return json.dumps({"user": user, "from": "alice", "pending": count, **more})


async def test_a_notification_says_who_wrote_and_how_much_waits_and_all_of_a_user_share_a_place(
    phone: Phone, bob: str
) -> None:
    await phone.push(pending(bob, 1))
    await phone.push(pending(bob, 7, group="team"))
    tag = {"tag": f"pending:{bob}", "data": {"user": bob}}
    shown = sorted(await phone.shown(2), key=lambda one: str(one["body"]))
    assert shown == [
        {"title": "alice", "body": "1 new message", **tag},
        {"title": "team", "body": "7 new messages", **tag},
    ]


async def test_a_push_that_says_nothing_is_shown_all_the_same(phone: Phone) -> None:
    odd = ("", "no JSON", "[]", "null")
    for data in odd:
        await phone.push(data)
    shown = await phone.shown(len(odd))
    assert {(one["title"], one["body"]) for one in shown} == {("inboxd", "New messages")}


async def test_a_click_leads_to_the_page_of_that_user_or_opens_it(phone: Phone, bob: str, carol: str) -> None:
    await phone.push(pending(bob, 1))
    await phone.push(pending(carol, 2))
    await phone.shown(2)
    went: list[str] = []

    async def both() -> bool:
        went.extend(await phone.click())
        return len(went) >= 2

    await eventually_async(both, "both are there to be clicked")
    assert f"opened /?user={carol}" in went
    assert any(one.startswith("focused") and f"user={bob}" in one for one in went)
