"""Two people talk on the chat page."""

from playwright.async_api import expect

from tests.browser.conftest import Enter
from tests.support.api import Api


async def test_two_people_chat_both_ways_and_both_show_the_same(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await hers.write("hello", "are you there?")
    await hers.has_sent("hello", "are you there?")
    await his.pick(alice)
    await his.shows("hello", "are you there?")
    await his.is_in_state("hello", "received")
    await his.write("yes")
    for chat in (hers, his):
        await chat.shows("hello", "are you there?", "yes")
    assert await hers.identities() == await his.identities()
    await hers.is_in_state("yes", "received")


async def test_what_comes_elsewhere_is_counted_as_unread_until_it_is_looked_at(
    enter: Enter, api: Api, alice: str, bob: str
) -> None:
    chat = await enter(bob)
    for text in ("one", "two", "three"):
        await api.send(bob, {"text": text}, f"m-{text}")
    badge = chat.row("operator").get_by_test_id("unread")
    await expect(badge).to_contain_text("3")
    await chat.pick("operator")
    await chat.shows("one", "two", "three")
    await expect(badge).to_have_count(0)
    await chat.visit()
    await expect(chat.row("operator")).to_be_visible()
    await expect(badge).to_have_count(0)


async def test_an_unfinished_text_waits_in_its_conversation_over_a_reload(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.composer.fill("not yet fini")
    await chat.talk_to("carol")
    await expect(chat.composer).to_have_value("")
    await expect(chat.row(bob)).to_contain_text("not yet fini")
    await chat.visit()
    await chat.pick(bob)
    await expect(chat.composer).to_have_value("not yet fini")
    await chat.by("send").click()
    await chat.has_sent("not yet fini")
    await chat.visit()
    await chat.pick(bob)
    await chat.shows("not yet fini")
    await expect(chat.composer).to_have_value("")


async def test_the_conversation_is_there_again_after_a_reload_each_message_once(
    enter: Enter, api: Api, alice: str, bob: str
) -> None:
    chat = await enter(alice)
    await chat.talk_to("operator")
    await chat.write("mine")
    await chat.has_sent("mine")
    await api.send(alice, {"text": "theirs"}, "m-1")
    await chat.shows("mine", "theirs")
    await chat.reload()
    await chat.is_live()
    await chat.shows("mine", "theirs")
    await expect(chat.by("repeats")).to_have_attribute("data-count", "0")


async def test_a_browser_that_never_was_here_gets_what_the_service_still_has(
    enter: Enter, api: Api, alice: str, bob: str
) -> None:
    first = await enter(alice)
    await first.talk_to("operator")
    await first.write("mine")
    await first.has_sent("mine")
    await api.send(alice, {"text": "theirs"}, "m-1")
    await first.shows("mine", "theirs")
    second = await enter(alice, "another")
    await second.pick("operator")
    await second.shows("mine", "theirs")


async def test_bodies_that_are_no_text_are_shown_as_they_are(enter: Enter, api: Api, bob: str) -> None:
    chat = await enter(bob)
    await api.send(bob, {"temperature": 21.5}, "m-1")
    await api.send(bob, ["a", None], "m-2")
    await api.send(bob, "plain", "m-3")
    await chat.pick("operator")
    await expect(chat.bodies).to_have_count(3)
    await expect(chat.bodies.nth(0)).to_contain_text("21.5")
    await expect(chat.bodies.nth(1)).to_contain_text("null")
    await expect(chat.bodies.nth(2)).to_contain_text("plain")


async def test_a_day_divider_stands_above_the_first_message_of_a_day(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.write("one", "two")
    await expect(chat.by("day")).to_have_count(1)


async def test_one_may_write_to_oneself(enter: Enter, alice: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(alice)
    await chat.write("a note")
    await chat.has_sent("a note")
    await chat.shows("a note")


async def test_somebody_says_who_they_are_and_may_become_another(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.by("switch-user").click()
    await chat.by("login-user").fill(bob)
    await chat.by("login-device").fill("tablet")
    await chat.by("login-submit").click()
    await chat.is_live()
    await expect(chat.page.get_by_text(bob, exact=True)).to_be_visible()
    await chat.by("switch-user").click()
    await chat.by("login-user").fill("not a name")
    await chat.by("login-submit").click()
    await expect(chat.page.get_by_role("alert").first).to_contain_text("letters")
    await expect(chat.connection).to_have_count(0)
