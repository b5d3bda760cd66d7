"""Up through three hundred messages, without the log jumping under one's eyes."""

import pytest
from playwright.async_api import expect

from tests.browser.chat import Chat
from tests.browser.conftest import Enter
from tests.support.api import Api

MANY = 300
STILL = 2
"""Pixels that a message may move by while older ones come in above it."""

TO_THE_TOP = """(log) => {
  log.scrollTop = 5;
  const first = log.querySelector("[data-testid=message]");
  return [first.dataset.id, first.getBoundingClientRect().top];
}"""

TOP_OF = """(log, id) => log.querySelector(`[data-id="${id}"]`).getBoundingClientRect().top"""


async def climb(chat: Chat) -> int:
    """Scrolls up until all is there; how often more was loaded. Fails where what one looks at moves."""
    pages = 0
    while (count := await settled(chat)) < MANY:
        watched, top = await chat.log.evaluate(TO_THE_TOP)
        await expect(chat.messages.nth(count)).to_be_attached()
        await settled(chat)
        assert abs(await chat.log.evaluate(TOP_OF, watched) - top) <= STILL
        pages += 1
    return pages


async def settled(chat: Chat) -> int:
    """Waits until nothing is being loaded; the number of messages."""
    await expect(chat.log).to_have_attribute("aria-busy", "false")
    return await chat.messages.count()


@pytest.mark.parametrize("stored", (True, False), ids=("from this browser", "from the service"))
async def test_one_scrolls_up_through_all_messages_without_a_jump(
    enter: Enter, api: Api, bob: str, stored: bool
) -> None:
    await api.fill(bob, MANY)
    chat = await enter(bob)
    # What comes while one looks stays loaded: all is to be there before the first look.
    await expect(chat.row("operator").get_by_test_id("unread")).to_have_text(f"{MANY}")
    await chat.pick("operator")
    await expect(chat.bodies.last).to_have_text(f"{MANY}")
    if not stored:  # the device has them all, this browser has none
        chat = await enter(bob)
        await chat.talk_to("operator")
    await expect(chat.bodies.last).to_have_text(f"{MANY}")
    assert await chat.messages.count() < MANY, "otherwise there is nothing to climb"
    assert await climb(chat) > 1
    await chat.shows(*(f"{number}" for number in range(1, MANY + 1)))


async def test_who_reads_above_is_not_pulled_down_by_what_comes_and_is_told(enter: Enter, api: Api, bob: str) -> None:
    await api.fill(bob, 60)
    chat = await enter(bob)
    await chat.pick("operator")
    await expect(chat.bodies.last).to_have_text("60")
    await chat.bodies.nth(20).scroll_into_view_if_needed()
    watched = await chat.messages.nth(20).get_attribute("data-id")
    top = await chat.log.evaluate(TOP_OF, watched)
    await api.send(bob, {"text": "news"}, "news")
    await expect(chat.message("news")).to_be_attached()
    assert abs(await chat.log.evaluate(TOP_OF, watched) - top) <= STILL
    await expect(chat.message("news")).not_to_be_in_viewport()
    await chat.page.locator(".to-end").click()
    await expect(chat.message("news")).to_be_in_viewport()
    await expect(chat.row("operator").get_by_test_id("unread")).to_have_count(0)


async def test_who_reads_the_end_sees_what_comes(enter: Enter, api: Api, bob: str) -> None:
    await api.fill(bob, 60)
    chat = await enter(bob)
    await chat.pick("operator")
    for number in range(61, 64):
        await api.send(bob, {"text": f"{number}"}, f"m-{number}")
        await expect(chat.message(f"{number}")).to_be_in_viewport()
