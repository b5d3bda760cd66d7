"""The page can be used by everybody: axe finds nothing serious in any of its states, light or dark."""

import json
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from scripts.lab.service import Service
from scripts.tools import NO_NODE, node
from tests.browser.chat import Chat
from tests.browser.conftest import Enter, Fresh
from tests.support.api import Api

FOLDER = Path(__file__).parent / "axe"
LOOKS: dict[Literal["light", "dark"], dict[str, list[str]]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
CHECK = """rules => axe.run(document, { resultTypes: ["violations"], ...rules }).then(({ violations }) =>
  violations.map(({ id, impact, help, nodes }) => `${impact} ${id}: ${help}: ${nodes.map((one) => one.html)}`))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The program, from npm; installed when it is not there."""
    found = FOLDER / "node_modules/axe-core/axe.min.js"
    locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]["node_modules/axe-core"]["version"]
    if not found.is_file() or json.loads((found.parent / "package.json").read_text())["version"] != locked:
        runtime = node()
        if runtime is None:
            pytest.skip(NO_NODE)
        subprocess.run(
            [*runtime.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=FOLDER,
            env=runtime.environ,
            check=True,
            capture_output=True,
        )
    return found.read_text()


async def faults(page: Page, axe: str) -> str:
    """What stands against the page as it is now, in both looks. Its policy does not hold for what a test evaluates."""
    await page.evaluate(f"() => {{ {axe} }}")
    found = []
    for look, rules in LOOKS.items():
        await page.emulate_media(color_scheme=look)
        found += [f"{look}: {fault}" for fault in await page.evaluate(CHECK, rules)]
    return "\n".join(found)


async def test_the_page_in_use_has_no_fault(enter: Enter, api: Api, axe: str, alice: str, bob: str) -> None:
    chat = await enter(bob)
    assert await faults(chat.page, axe) == "", "with no conversation"
    for number in range(40):
        await api.send(bob, {"text": f"message {number}"}, f"m-{number}")
    await api.send(bob, {"json": [1, 2]}, "m-json")
    await chat.talk_to(alice)
    await chat.write("accepted")
    await chat.has_sent("accepted")
    await chat.composer.fill("x" * 70_000)
    await chat.by("send").click()
    await expect(chat.by("retry")).to_be_visible()
    assert await faults(chat.page, axe) == "", "with unread messages elsewhere, and a failed send"
    await chat.pick("operator")
    await expect(chat.messages.last).to_be_in_viewport()
    assert await faults(chat.page, axe) == "", "in a long conversation"
    await chat.go_offline()
    await chat.write("waiting")
    assert await faults(chat.page, axe) == "", "offline"
    await api.send(bob, {"text": "meanwhile"}, "m-meanwhile")
    await chat.go_online()
    await expect(chat.by("caught-up")).to_be_visible()
    assert await faults(chat.page, axe) == "", "caught up"


async def test_a_group_and_what_can_be_done_in_it_have_no_fault(
    enter: Enter, api: Api, axe: str, alice: str, bob: str
) -> None:
    chat, his = await enter(alice), await enter(bob)
    await chat.by("new-group").click()
    assert await faults(chat.page, axe) == "", "about to make a group"
    await chat.by("new-group").click()
    await chat.make_group("Team", bob)
    await chat.write("one", "two", "three")
    await his.pick_group("Team")
    await his.react("one")
    await his.write("four")
    await chat.react("one", "❤️")
    await chat.edit("two", "second")
    await chat.delete("three")
    await chat.is_read("one")
    await chat.by("members").click()
    await expect(chat.by("member")).to_have_count(2)
    assert await faults(chat.page, axe) == "", "with members, reactions, an edit, a deletion, blue ticks"
    for what in ("edit", "delete"):
        await chat.message("one").get_by_test_id("actions").click()
        assert await faults(chat.page, axe) == "", "about to choose"
        await chat.by(what).click()
        assert await faults(chat.page, axe) == "", what
        await chat.by("cancel").click()
    await chat.by("leave-group").click()
    await expect(chat.by("left")).to_be_visible()
    await chat.talk_to(bob)
    await chat.by("block").click()
    await expect(chat.by("blocked")).to_be_visible()
    assert await faults(chat.page, axe) == "", "with a block"


async def test_the_page_on_a_phone_has_no_fault(enter: Enter, api: Api, axe: str, bob: str) -> None:
    chat = await enter(bob, viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    await api.send(bob, {"text": "hello"}, "m-1")
    await expect(chat.row("operator")).to_be_visible()
    assert await faults(chat.page, axe) == "", "the list"
    await chat.pick("operator")
    await chat.shows("hello")
    assert await faults(chat.page, axe) == "", "the conversation"


async def test_the_page_before_one_has_said_who_one_is_has_no_fault(service: Service, fresh: Fresh, axe: str) -> None:
    context, _ = await fresh()
    page = await context.new_page()
    await page.goto(service.url)
    await page.get_by_test_id("login-user").fill("not a name")
    await page.get_by_test_id("login-submit").click()
    await expect(page.get_by_role("alert")).to_contain_text("letters")
    assert await faults(page, axe) == ""


async def test_a_message_that_comes_is_news_for_a_screen_reader_and_one_that_is_loaded_is_not(
    enter: Enter, api: Api, bob: str
) -> None:
    await api.fill(bob, 80)
    chat = await enter(bob)
    await chat.pick("operator")
    assert await chat.log.get_attribute("role") == "log"
    await expect(chat.log).to_have_attribute("aria-live", "polite")
    await expect(chat.log).to_have_accessible_name("Messages with operator")
    await expect(chat.page.get_by_role("status").first).to_contain_text("Connected")


async def states(chat: Chat) -> list[str]:
    """What is said of each message, beyond what is drawn."""
    return [text.strip(" ,") for text in await chat.messages.locator(".state .unseen").all_text_contents()]


async def test_a_messages_state_is_said_and_not_only_drawn(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.write("one")
    await chat.has_sent("one")
    await chat.go_offline()
    await chat.write("two")
    assert await states(chat) == ["accepted", "waiting to be sent"]
