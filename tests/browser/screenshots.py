"""`make screenshots`: the chat page's main states, as the README shows them. No test makes them anew."""

import asyncio
import re
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from scripts.lab.service import ROOT, Service
from scripts.lab.timing import duration
from scripts.tools import NO_CHROMIUM, chromium
from tests.browser import chrome
from tests.browser.chat import Chat

FOLDER = ROOT / "docs/img"
QUALITY = 85
SCALE = 1.5
DESKTOP: dict[str, Any] = {"viewport": {"width": 900, "height": 560}}
PHONE: dict[str, Any] = {"viewport": {"width": 375, "height": 667}, "has_touch": True, "is_mobile": True}

TALK = (
    ("bob", "The worker is gone. Did you get my last message?"),
    ("alice", "Yes. It was in my inbox before you saw the ✓."),
    ("bob", "And what I wrote in the tunnel?"),
    ("alice", "That too, in order, each once 👍"),
    ("bob", "Добре. 很好。 جيد."),
)


async def person(browser: Browser, base: str, user: str, device: str = "web", **options: Any) -> Chat:
    context, watch = await chrome.context_of(browser, device_scale_factor=SCALE, **options)
    chat = await Chat.open(context, watch, base, user, device)
    await chat.is_live()
    return chat


async def shot(chat: Chat, name: str) -> None:
    """One picture, when what is drawn has come to rest. WebP is a quarter of what PNG would be."""
    if await chat.log.count():
        await expect(chat.log).to_have_attribute("aria-busy", "false")
    await chat.page.evaluate("() => document.activeElement?.blur()")
    session = await chat.page.context.new_cdp_session(chat.page)
    clip = {"x": 0, "y": 0, **(chat.page.viewport_size or {}), "scale": SCALE}
    picture = await session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY, "clip": clip})
    (FOLDER / f"{name}.webp").write_bytes(b64decode(picture["data"]))


GROUP = (
    ("alice", "Release today? Everything is green"),
    ("bob", "I pulled the plug on two workers while the tests ran."),
    ("carol", "And? Anything lost?"),
    ("alice", "Nothing. Each once, in order, in all three inboxes"),
)


async def group(people: dict[str, Chat]) -> None:
    """What three have said to each other, read by all, with what they think of it."""
    await people["alice"].make_group("Release crew", "bob", "carol")
    for user in ("bob", "carol"):
        await people[user].pick_group("Release crew")
    for user, text in GROUP:
        await people[user].write(text)
        for chat in people.values():
            await expect(chat.message(text)).to_be_attached()
    first, *_, last = (text for _, text in GROUP)
    await people["bob"].react(first, "👍")
    await people["carol"].react(first, "👍")
    await people["carol"].react(last, "❤️")
    await people["bob"].react(last, "🙏")
    await people["alice"].edit(last, f"{last}.")
    await expect(people["alice"].by("reaction")).to_have_count(3)
    await people["alice"].is_read(first)
    await people["alice"].is_read(f"{last}.")
    await people["alice"].page.mouse.move(0, 0)
    await people["bob"].composer.press_sequentially("Then let us")
    await expect(people["alice"].by("typing")).to_have_text("bob is typing…")
    await shot(people["alice"], "group")


async def talk(people: dict[str, Chat]) -> None:
    """Everybody has said what is shown; what carol wrote is unread."""
    for user, chat in people.items():
        await chat.talk_to("bob" if user == "alice" else "alice")
    for user, text in TALK:
        await people[user].write(text)
        await people[user].has_sent(text)
        await expect(people["bob" if user == "alice" else "alice"].message(text)).to_be_attached()
    await people["carol"].write("Lunch?", "I am at the corner already")
    await expect(people["alice"].row("carol").get_by_test_id("unread")).to_contain_text("2")


async def conversations(browser: Browser, base: str) -> Chat:
    """Alice's page, on which the conversation with bob is open."""
    people = {user: await person(browser, base, user, **DESKTOP) for user in ("alice", "bob", "carol")}
    phone = await person(browser, base, "alice", "phone", **PHONE)
    await talk(people)
    alice = people["alice"]
    await alice.is_read(TALK[-2][1])
    await shot(alice, "chat-light")
    await alice.page.emulate_media(color_scheme="dark")
    await shot(alice, "chat-dark")
    await expect(phone.row("carol").get_by_test_id("unread")).to_contain_text("2")
    await shot(phone, "phone-list")
    await phone.pick("bob")
    await expect(phone.bodies).to_have_count(len(TALK))
    await shot(phone, "phone")
    await alice.page.emulate_media(color_scheme="light")
    await group(people)
    await alice.pick("bob")
    return alice


async def troubles(chat: Chat, service: Service) -> None:
    await chat.go_offline()
    await chat.write("Written without a network,", "kept here, sent when it is back")
    await shot(chat, "offline")
    await chat.go_online()
    await chat.has_sent("Written without a network,")
    await asyncio.to_thread(service.stop)
    await chat.is_state("reconnecting")
    await chat.write("The service is gone: this waits, too")
    await expect(chat.by("retry-in")).to_have_text(re.compile(r"\d"))
    await shot(chat, "reconnecting")
    await asyncio.to_thread(service.start)
    await chat.is_live()


async def login(browser: Browser, base: str) -> None:
    context, watch = await chrome.context_of(browser, device_scale_factor=SCALE, **DESKTOP)
    chat = Chat(await context.new_page(), watch, base, "", "")
    await chat.page.goto(base)
    await expect(chat.by("login-submit")).to_be_visible()
    await shot(chat, "login")


async def main() -> None:
    if chromium() is None:
        sys.exit(f"inboxd: {NO_CHROMIUM}")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home), ping_interval=duration(20), hello_timeout=duration(20))
        service.start()
        try:
            async with chrome.running(whole=True) as browser:
                await login(browser, service.url)
                alice = await conversations(browser, service.url)
                await troubles(alice, service)
        finally:
            service.close()


if __name__ == "__main__":
    asyncio.run(main())
