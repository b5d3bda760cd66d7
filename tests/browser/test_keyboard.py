"""A whole conversation without a mouse."""

from playwright.async_api import Locator, Page, expect

from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Enter, Fresh
from tests.support.device import Device

STOPS = 40
"""Presses of Tab after which one would have given up."""

RING = """(element) => {
  const seen = getComputedStyle(element);
  const round = seen.outlineStyle !== "none" && parseFloat(seen.outlineWidth) > 0;
  return round || seen.boxShadow !== "none" || seen.borderColor !== getComputedStyle(document.body).borderColor;
}"""


async def is_focused(element: Locator) -> bool:
    return bool(await element.evaluate("(element) => element === document.activeElement"))


async def tab_to(page: Page, element: Locator, key: str = "Tab") -> None:
    """Presses Tab until it is there, and checks that one can see where one is."""
    await expect(element).to_be_attached()
    for _ in range(STOPS):
        if await is_focused(element):
            break
        await page.keyboard.press(key)
    await expect(element).to_be_focused()
    assert await element.evaluate(RING), "nothing shows where the focus is"


async def test_somebody_with_a_keyboard_enters_talks_leaves_and_comes_back(
    service: Service, fresh: Fresh, alice: str, bob: str
) -> None:
    context, watch = await fresh()
    chat = Chat(await context.new_page(), watch, service.url, alice, "web")
    page, keyboard = chat.page, chat.page.keyboard
    await page.goto(service.url)
    await tab_to(page, chat.by("login-user"))
    await keyboard.type(alice)
    await keyboard.press("Enter")
    await chat.is_live()

    await tab_to(page, chat.by("new-conversation"))
    await keyboard.type(bob)
    await keyboard.press("Enter")
    await expect(chat.composer).to_be_focused()
    await keyboard.type("two")
    await keyboard.press("Shift+Enter")
    await keyboard.type("lines")
    await keyboard.press("Enter")
    await expect(chat.messages).to_have_count(1)
    await expect(chat.composer).to_be_focused()
    await expect(chat.composer).to_have_value("")

    async with Device(service.url, bob) as phone:
        assert (await phone.receive(1))[0]["body"] == {"text": "two\nlines"}
        await phone.send("m-1", alice, {"text": "answer"})
    await expect(chat.message("answer")).to_be_visible()

    await tab_to(page, chat.by("go-offline"), "Shift+Tab")
    await keyboard.press("Enter")
    await chat.is_state("offline")
    await expect(chat.by("go-online")).to_be_focused()
    await keyboard.press("Space")
    await chat.is_live()


async def test_one_conversation_is_left_for_another_by_keys(enter: Enter, alice: str, bob: str, carol: str) -> None:
    chat = await enter(alice)
    for peer in (bob, carol):
        await chat.talk_to(peer)
        await chat.write(f"to {peer}")
    await tab_to(chat.page, chat.row(bob), "Shift+Tab")
    await chat.page.keyboard.press("Enter")
    await chat.shows(f"to {bob}")
    await expect(chat.row(bob)).to_have_attribute("aria-current", "true")


async def test_the_log_is_scrolled_by_keys(service: Service, enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    async with Device(service.url, bob) as phone:
        for number in range(40):
            await phone.send(f"m-{number}", alice, {"text": f"{number}"})
    await chat.pick(bob)
    await expect(chat.message("39")).to_be_in_viewport()
    await tab_to(chat.page, chat.log, "Shift+Tab")
    await chat.page.keyboard.press("Home")
    await expect(chat.message("0")).to_be_in_viewport()
    await expect(chat.message("39")).not_to_be_in_viewport()
    await chat.page.keyboard.press("End")
    await expect(chat.message("39")).to_be_in_viewport()


async def test_a_failed_send_is_discarded_by_keys(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.composer.fill("x" * 70_000)
    await chat.page.keyboard.press("Enter")
    await tab_to(chat.page, chat.by("discard"), "Shift+Tab")
    await chat.page.keyboard.press("Enter")
    await expect(chat.messages).to_have_count(0)


async def test_messages_are_reacted_to_edited_and_deleted_by_keys(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    keyboard = chat.page.keyboard
    await chat.talk_to(bob)
    await chat.write("one", "two")
    await chat.has_sent("one", "two")
    last, first = (chat.message(text).get_by_test_id("actions") for text in ("two", "one"))
    await tab_to(chat.page, last, "Shift+Tab")
    await keyboard.press("Enter")
    await expect(chat.by("react").first).to_be_focused()
    await keyboard.press("Enter")
    await expect(chat.reactions("two")).to_have_count(1)
    await expect(last).to_be_focused()
    await keyboard.press("ArrowUp")
    await expect(first).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.press("Escape")
    await expect(first).to_be_focused()
    await expect(chat.by("actions-of-message")).to_have_count(0)

    await keyboard.press("Enter")
    await tab_to(chat.page, chat.by("edit"))
    await keyboard.press("Enter")
    await expect(chat.by("edit-text")).to_be_focused()
    await keyboard.press("End")
    await keyboard.type(" more")
    await keyboard.press("Enter")
    await chat.shows("one more", "two")

    await keyboard.press("Enter")
    await tab_to(chat.page, chat.by("delete"))
    await keyboard.press("Enter")
    await expect(chat.by("cancel")).to_be_focused()
    await keyboard.press("Shift+Tab")
    await keyboard.press("Enter")
    await chat.shows("Deleted", "two")


async def test_a_group_is_made_by_keys(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await tab_to(chat.page, chat.by("new-group"))
    await chat.page.keyboard.press("Enter")
    await expect(chat.by("group-name")).to_be_focused()
    await chat.page.keyboard.type("Team")
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.type(bob)
    await chat.page.keyboard.press("Enter")
    await chat.is_open("Team")
    await tab_to(chat.page, chat.by("members"), "Shift+Tab")
    await chat.page.keyboard.press("Space")
    await tab_to(chat.page, chat.by("leave-group"))
