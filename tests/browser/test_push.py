"""What a backend sends by Web Push is shown by the page's service worker, and leads to the page."""

import asyncio
import json
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
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

SHOWN = """async () => {
  const registration = await navigator.serviceWorker.ready;
  const shown = await registration.getNotifications();
  return shown.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
}"""

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

    async def push(self, data: str) -> None:
        """As the browser's push service delivers it."""
        told = {"origin": self._origin, "registrationId": self._registration, "data": data}
        await self._session.send("ServiceWorker.deliverPushMessage", told)

    async def shows(self, *bodies: str) -> list[dict[str, Any]]:
        """Waits for these notifications; all of them."""

        async def shown() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = await self.chat.page.evaluate(SHOWN)
            return found if sorted(one["body"] for one in found) == sorted(bodies) else None

        return await eventually_async(shown, f"{bodies} are shown")

    async def click(self) -> list[str]:
        """Clicks whatever is shown; where that led."""
        [worker] = self.chat.page.context.service_workers
        went: list[str] = await worker.evaluate(CLICKED)
        return went


@pytest.fixture
async def phone(enter: Enter, service: Service, bob: str) -> Phone:
    phone = Phone(await enter(bob), service.url)
    await phone.start()
    return phone


def pending(user: str, count: int, **more: Any) -> str:
    return json.dumps({"user": user, "from": "alice", "pending": count, **more})


async def test_one_notification_says_who_wrote_and_how_much_waits(phone: Phone, bob: str) -> None:
    await phone.push(pending(bob, 1))
    [shown] = await phone.shows("1 new message")
    assert shown == {"title": "alice", "body": "1 new message", "tag": f"pending:{bob}", "data": {"user": bob}}
    await phone.push(pending(bob, 7, group="team"))
    [shown] = await phone.shows("7 new messages")
    assert shown["title"] == "team", "in place of the one before"


@pytest.mark.parametrize("data", ("", "no JSON", "[]", "null"))
async def test_a_push_that_says_nothing_is_shown_all_the_same(phone: Phone, data: str) -> None:
    await phone.push(data)
    [shown] = await phone.shows("New messages")
    assert shown["title"] == "inboxd"


async def test_a_click_leads_to_the_page_of_that_user_or_opens_it(phone: Phone, bob: str) -> None:
    await phone.push(pending(bob, 1))
    await phone.push(pending("carol", 2))
    await phone.shows("1 new message", "2 new messages")
    went = await phone.click()
    assert len(went) == 2
    assert "opened /?user=carol" in went
    assert any(one.startswith("focused") and f"user={bob}" in one for one in went)
    await phone.shows()
