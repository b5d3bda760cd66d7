"""What becomes of a message: edits, deletions, reactions."""

from playwright.async_api import expect

from tests.browser.conftest import Enter
from tests.support.api import Api


async def test_an_edit_is_shown_to_both_and_survives_a_reload(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await hers.write("helo", "there")
    await his.pick(alice)
    await his.shows("helo", "there")
    await hers.edit("there", "there you are")
    await hers.edit("helo", "hello")
    for chat in (hers, his):
        await chat.shows("hello", "there you are")
        await expect(chat.by("edited")).to_have_count(2)
        await expect(chat.conversations).to_contain_text("there you are")
    await expect(his.message("hello").get_by_test_id("actions")).to_have_count(1)
    await his.message("hello").hover()
    await his.message("hello").get_by_test_id("actions").click()
    await expect(his.by("edit")).to_have_count(0)
    await his.reload()
    await his.shows("hello", "there you are")


async def test_what_is_deleted_is_gone_from_both_and_from_what_the_page_keeps(
    enter: Enter, alice: str, bob: str
) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await hers.write("stays", "a slip")
    await his.pick(alice)
    await his.shows("stays", "a slip")
    await his.react("a slip")
    await hers.delete("a slip")
    fresh = await enter(bob, "tablet")
    await fresh.pick(alice)
    for chat in (hers, his, fresh):
        await chat.shows("stays", "Deleted")
        await expect(chat.by("reaction")).to_have_count(0)
        await expect(chat.conversations).not_to_contain_text("a slip")
    await his.reload()
    await his.shows("stays", "Deleted")


async def test_reactions_of_both_are_counted_and_ones_own_is_taken_back(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await hers.write("lunch?")
    await his.pick(alice)
    await his.react("lunch?")
    await expect(hers.reactions("lunch?")).to_have_attribute("aria-pressed", "false")
    await hers.reactions("lunch?").click()
    await expect(his.reactions("lunch?")).to_have_text("👍 2thumbs up by " + f"{bob}, {alice}")
    await his.react("lunch?", "🙏")
    await expect(hers.reactions("lunch?")).to_have_count(2)
    await his.react("lunch?", "🙏")
    await expect(hers.reactions("lunch?")).to_have_count(1)
    await hers.reactions("lunch?").click()
    for chat in (hers, his):
        await expect(chat.by("reaction")).to_have_count(0)


async def test_changes_made_offline_are_shown_wait_and_reach_whoever_was_away_as_well(
    enter: Enter, alice: str, bob: str
) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await hers.write("one", "two", "three")
    await his.pick(alice)
    await his.shows("one", "two", "three")
    await his.go_offline()
    await hers.go_offline()
    await hers.edit("one", "first")
    await hers.delete("two")
    await hers.react("three")
    await hers.write("four")
    await hers.reload()
    await hers.is_state("live")  # the switch is the tab's
    await hers.shows("first", "Deleted", "three", "four")
    await his.shows("one", "two", "three")
    await his.go_online()
    await his.shows("first", "Deleted", "three", "four")
    await expect(his.reactions("three")).to_have_count(1)


async def test_what_another_client_makes_of_reactions_and_edits_harms_nothing(
    enter: Enter, api: Api, alice: str
) -> None:
    chat = await enter(alice)
    await api.send(alice, {"text": "hi"}, "m-1")
    for number, body in enumerate((1, {"emoji": "<b>x</b>" * 9}, {"emoji": ["👍"]}, {"emoji": "🎉"})):
        await api.post({"type": "react", "id": f"r-{number}", "to": alice, "target": "m-1", "body": body})
    await api.post({"type": "edit", "id": "e-1", "to": alice, "target": "m-1", "body": ["not", "text"]})
    await chat.pick("operator")
    await chat.shows('["not","text"]')
    await expect(chat.by("reaction")).to_have_count(1)
    await expect(chat.by("reaction")).to_contain_text("🎉")
