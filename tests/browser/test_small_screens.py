"""On a phone: nothing sticks out, and one sees the list or one conversation, each with all that belongs to it."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from scripts.lab.service import Service
from tests.browser.conftest import Enter, Fresh
from tests.support.api import Api

SCREENS = pytest.mark.parametrize("size", ((375, 667), (320, 568)), ids=("375", "320"))

# What a box cuts off, with an ellipsis or by scrolling within, does not stick out.
STICKS_OUT = """() => {
  const cuts = (one) => getComputedStyle(one).overflowX !== "visible";
  const cut = (one) => one !== document.body && (cuts(one) || cut(one.parentElement));
  const out = [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !cut(one.parentElement))
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && one.getBoundingClientRect().width > 1)
    .map((one) => one.outerHTML.slice(0, 120));
  const wide = document.documentElement.scrollWidth - innerWidth;
  return wide > 0 ? [`${wide} px too wide`, ...out] : out;
}"""

LONG = ("W" * 300, "https://elsewhere.test/" + "a/" * 100, "漢字" * 80, "😀" * 60, "a word and another " * 20)


def phone(size: tuple[int, int]) -> dict[str, Any]:
    return {"viewport": {"width": size[0], "height": size[1]}, "has_touch": True, "is_mobile": True}


async def fits(page: Page) -> None:
    assert await page.evaluate(STICKS_OUT) == []


@SCREENS
async def test_both_views_fit_and_lead_to_each_other(
    enter: Enter, service: Service, bob: str, carol: str, size: tuple[int, int]
) -> None:
    chat = await enter(bob, **phone(size))
    await expect(chat.by("new-conversation")).to_be_in_viewport()
    await fits(chat.page)
    async with Api(service.url, "N" * 128) as long_name:
        for number, text in enumerate(LONG):
            await long_name.send(bob, {"text": text}, f"{bob}-{number}")
        await long_name.send(bob, {"json": ["x" * 200] * 3}, f"{bob}-json")
    await expect(chat.row("N" * 128).get_by_test_id("unread")).to_be_in_viewport()
    await fits(chat.page)

    await chat.row("N" * 128).tap()
    await expect(chat.messages).to_have_count(len(LONG) + 1)
    await expect(chat.messages.last).to_be_in_viewport()
    await expect(chat.composer).to_be_in_viewport(ratio=1)
    await expect(chat.by("send")).to_be_in_viewport(ratio=1)
    await expect(chat.conversations).not_to_be_visible()
    await fits(chat.page)

    await chat.by("back").tap()
    await expect(chat.conversations).to_be_visible()
    await expect(chat.composer).not_to_be_visible()
    await chat.talk_to(carol)
    await chat.write("x" * 200)
    await chat.has_sent("x" * 200)
    await chat.page.go_back()
    await expect(chat.row(carol)).to_be_visible()


@SCREENS
async def test_what_goes_wrong_fits_too(enter: Enter, api: Api, bob: str, carol: str, size: tuple[int, int]) -> None:
    chat = await enter(bob, **phone(size))
    await chat.talk_to(carol)
    await chat.composer.fill("x" * 70_000)
    await chat.by("send").tap()
    await expect(chat.by("retry")).to_be_visible()
    await chat.go_offline()
    await fits(chat.page)
    await api.send(bob, {"text": "meanwhile"}, "m-1")
    await chat.go_online()
    await expect(chat.by("caught-up")).to_be_in_viewport()
    await fits(chat.page)


@SCREENS
async def test_a_group_and_what_can_be_done_in_it_fit(
    enter: Enter, alice: str, bob: str, size: tuple[int, int]
) -> None:
    chat = await enter(alice, **phone(size))
    await chat.by("new-group").tap()
    await fits(chat.page)
    await chat.by("new-group").tap()
    await chat.make_group("T" * 200, bob, *(f"{letter}{'x' * 100}" for letter in "abcdefgh"))
    await chat.write("W" * 300)
    await chat.has_sent("W" * 300)
    await chat.by("members").tap()
    await fits(chat.page)
    await chat.by("members").tap()
    await chat.message("W" * 300).get_by_test_id("actions").tap()
    await expect(chat.by("delete")).to_be_in_viewport(ratio=1)
    await fits(chat.page)
    await chat.by("edit").tap()
    await expect(chat.by("save")).to_be_in_viewport(ratio=1)
    await fits(chat.page)


@SCREENS
async def test_the_login_fits(service: Service, fresh: Fresh, size: tuple[int, int]) -> None:
    context, _ = await fresh(**phone(size))
    page = await context.new_page()
    await page.goto(service.url)
    await expect(page.get_by_test_id("login-submit")).to_be_in_viewport(ratio=1)
    await fits(page)
