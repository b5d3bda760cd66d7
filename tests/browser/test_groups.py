"""Groups on the chat page."""

from playwright.async_api import expect

from tests.browser.conftest import Enter
from tests.support.api import Api


async def test_a_group_is_made_written_in_and_shows_who_came_and_went(
    enter: Enter, alice: str, bob: str, carol: str
) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.make_group("Team", bob)
    await expect(hers.events).to_have_text(["You created the group “Team”"])
    await hers.write("before carol")
    await his.pick_group("Team")
    await his.shows("before carol")
    await expect(his.page.locator(".sender")).to_have_text(alice)

    await hers.by("members").click()
    await expect(hers.by("member")).to_have_count(2)
    await expect(hers.by("member").filter(has_text="owner")).to_contain_text(alice)
    await hers.by("add-member").fill(carol)
    await hers.page.keyboard.press("Enter")
    await expect(hers.by("member")).to_have_count(3)
    third = await enter(carol)
    await third.pick_group("Team")
    await expect(third.events).to_have_text([f"{alice} added you"])
    await his.write("welcome")
    await third.shows("welcome")
    await expect(third.by("presence")).to_have_text(f"3 members, led by {alice}")

    await hers.by("member-panel").locator(f'[data-user="{carol}"]').get_by_test_id("remove-member").click()
    await expect(third.by("left")).to_be_visible()
    await his.write("without carol")
    await hers.shows("before carol", "welcome", "without carol")
    await third.shows("welcome")
    await third.reload()
    await expect(third.by("left")).to_be_visible()
    await expect(hers.events).to_have_text(
        ["You created the group “Team”", f"You added {carol}", f"You removed {carol}"]
    )


async def test_whoever_leads_may_leave_and_another_leads(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.make_group("Team", bob)
    await his.pick_group("Team")
    await hers.by("members").click()
    await hers.by("leave-group").click()
    await expect(hers.by("left")).to_be_visible()
    await expect(hers.events.last).to_have_text("You left")
    await expect(his.by("presence")).to_have_text(f"1 member, led by {bob}")


async def test_a_groups_ticks_say_who_has_read_and_are_blue_when_all_have(
    enter: Enter, alice: str, bob: str, carol: str
) -> None:
    hers, his, third = await enter(alice), await enter(bob), await enter(carol)
    await hers.make_group("Team", bob, carol)
    await hers.write("who is in?")
    await his.pick_group("Team")
    await expect(hers.by("read-by")).to_have_text("read by 1 of 2")
    await expect(hers.message("who is in?")).to_have_attribute("data-seen", "false")
    await third.pick_group("Team")
    await hers.is_read("who is in?")
    await hers.reload()
    await hers.is_read("who is in?")


async def test_messages_of_a_group_are_edited_deleted_and_reacted_to(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.make_group("Team", bob)
    await hers.write("one", "two")
    await his.pick_group("Team")
    await his.react("two", "🙏")
    await hers.edit("two", "second")
    await hers.delete("one")
    await his.reload()
    for chat in (hers, his):
        await chat.shows("Deleted", "second")
        await expect(chat.reactions("second")).to_have_count(1)


async def test_a_group_that_cannot_be_made_says_why(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.by("new-group").click()
    await chat.by("make-group").click()
    await expect(chat.by("group-form").get_by_role("alert")).to_have_text("A group has a name.")
    await chat.by("group-name").fill("Team")
    await chat.by("group-members").fill("not/a/name")
    await chat.by("make-group").click()
    await expect(chat.by("group-form").get_by_role("alert")).to_have_text("Names are separated by spaces.")


async def test_what_is_written_to_a_group_without_a_network_waits(enter: Enter, api: Api, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.make_group("Team", bob)
    await his.pick_group("Team")
    await hers.go_offline()
    await hers.write("from the tunnel")
    await hers.is_in_state("from the tunnel", "queued")
    await hers.go_online()
    await hers.has_sent("from the tunnel")
    await his.shows("from the tunnel")
