"""Two tabs of one device on the chat page."""

from playwright.async_api import expect

from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Enter
from tests.support.api import Api
from tests.support.device import Device


async def two(enter: Enter, user: str, peer: str) -> tuple[Chat, Chat]:
    first = await enter(user)
    await first.talk_to(peer)
    second = await first.another_tab()
    await second.is_live()
    await second.talk_to(peer)
    return first, second


def sockets(*tabs: Chat) -> list[int]:
    return [len(tab.watch.sockets(tab.page)) for tab in tabs]


async def test_two_tabs_have_one_connection_and_show_the_same(
    service: Service, enter: Enter, api: Api, alice: str, bob: str
) -> None:
    first, second = await two(enter, alice, "operator")
    await api.send(alice, {"text": "hello"}, "m-1")
    await first.shows("hello")
    await second.shows("hello")
    await first.write("from the first")
    await second.shows("hello", "from the first")
    await second.write("from the second")
    await first.shows("hello", "from the first", "from the second")
    for tab in (first, second):
        await tab.has_sent("from the first", "from the second")
        await expect(tab.by("repeats")).to_have_attribute("data-count", "0")
    assert sockets(first, second) == [1, 0]
    assert [row["device"] for row in (await api.inbox(alice))["devices"]] == ["web"]


async def test_the_tab_that_stays_takes_over_from_the_one_that_goes(
    service: Service, enter: Enter, alice: str, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        first, second = await two(enter, alice, bob)
        await first.write("before")
        await second.has_sent("before")
        await first.page.close()
        await expect(second.by("leader")).to_have_attribute("data-leader", "true")
        await second.is_live()
        await second.write("after")
        await second.has_sent("after")
        await phone.send("m-1", alice, {"text": "and back"})
        await second.shows("before", "after", "and back")
        await phone.receive(2)
        assert sockets(second) == [1]


async def test_both_tabs_are_offline_together_and_what_either_wrote_goes_out_once(
    service: Service, enter: Enter, alice: str, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        first, second = await two(enter, alice, bob)
        await second.go_offline()
        await first.is_state("offline")
        await first.write("one")
        await second.write("two")
        for tab in (first, second):
            await tab.shows("one", "two")
        await first.page.close()
        await second.go_online()
        await second.has_sent("one", "two")
        await second.write("three")
        assert [entry["body"]["text"] for entry in await phone.receive(3)] == ["one", "two", "three"]
        await second.shows("one", "two", "three")


async def test_the_tab_without_the_connection_reads_types_reacts_and_watches_as_well(
    enter: Enter, alice: str, bob: str
) -> None:
    his = await enter(bob)
    await his.talk_to(alice)
    first, second = await two(enter, alice, bob)
    await first.talk_to("operator")
    await his.write("hello")
    await his.is_read("hello")
    await expect(second.by("presence")).to_have_text("online")
    await second.composer.press_sequentially("ab")
    await expect(his.by("typing")).to_have_text(f"{alice} is typing…")
    await second.react("hello")
    await expect(his.reactions("hello")).to_have_count(1)
    await his.edit("hello", "hello both")
    await second.shows("hello both")
    await first.pick(bob)
    await first.shows("hello both")
    await expect(first.reactions("hello both")).to_have_count(1)
