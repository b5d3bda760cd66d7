"""How far a message came: ticks, blue when it is read; and what was read on one's other devices."""

import asyncio
from collections.abc import Callable
from functools import partial

from playwright.async_api import Route, WebSocketRoute, expect

from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Enter, Fresh
from tests.support.api import Api


async def test_ticks_tell_of_acceptance_then_delivery_then_reading(enter: Enter, alice: str, bob: str) -> None:
    hers = await enter(alice)
    await hers.talk_to(bob)
    await hers.write("one", "two")
    await hers.is_in_state("two", "accepted")
    his = await enter(bob)
    await hers.is_in_state("one", "delivered")
    await hers.is_in_state("two", "delivered")
    await expect(hers.message("two")).to_have_attribute("data-seen", "false")
    await his.pick(alice)
    await hers.is_read("two")
    await hers.is_read("one")
    await hers.reload()
    await hers.is_read("two")
    await hers.write("three")
    await hers.is_read("three")


async def test_what_one_read_on_one_device_is_no_longer_unread_on_the_other(
    enter: Enter, api: Api, alice: str, bob: str
) -> None:
    laptop, phone = await enter(bob), await enter(bob, "phone")
    for text in ("one", "two"):
        await api.send(bob, {"text": text}, f"m-{text}")
    for chat in (laptop, phone):
        await expect(chat.row("operator").get_by_test_id("unread")).to_have_text("2")
    await phone.pick("operator")
    await expect(laptop.row("operator").get_by_test_id("unread")).to_have_count(0)
    await laptop.go_offline()
    await api.send(bob, {"text": "three"}, "m-three")
    await phone.shows("one", "two", "three")
    await laptop.go_online()
    await expect(laptop.row("operator")).to_contain_text("three")
    await expect(laptop.row("operator").get_by_test_id("unread")).to_have_count(0)


async def test_what_the_service_has_counted_as_unread_is_not_counted_again_when_it_comes(
    fresh: Fresh, service: Service, api: Api, bob: str
) -> None:
    context, watch = await fresh()
    held = asyncio.Queue[Callable[[], None]]()

    def hold(page: WebSocketRoute) -> None:
        def on_message(frame: str | bytes) -> None:
            if "m-two" in str(frame):
                held.put_nowait(partial(page.send, frame))
            else:
                page.send(frame)

        page.connect_to_server().on_message(on_message)

    async def late(route: Route) -> None:
        await api.send(bob, {"text": "two"}, "m-two")
        await route.continue_()

    await context.route_web_socket("**/v1/ws*", hold)
    await context.route("**/v1/conversations", late)
    await api.send(bob, {"text": "one"}, "m-one")
    his = await Chat.open(context, watch, service.url, bob)
    unread = his.row("operator").get_by_test_id("unread")
    await expect(unread).to_have_text("2")  # as the service says: one has come
    (await held.get())()
    await api.send(bob, {"text": "three"}, "m-three")
    await expect(his.row("operator")).to_contain_text("three")
    await expect(unread).to_have_text("3")


async def test_only_what_is_in_view_is_said_to_be_read(enter: Enter, api: Api, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await his.talk_to(alice)
    await his.write("x\n" * 60)
    await his.has_sent("x\n" * 60)
    await hers.write("seen")
    await hers.is_read("seen")
    await his.log.evaluate("(log) => { log.scrollTop = 0; }")
    await expect(his.message("seen")).not_to_be_in_viewport()
    await hers.write("below")
    await expect(his.message("below")).to_be_attached()
    await hers.is_in_state("below", "delivered")
    await expect(his.row(alice).get_by_test_id("unread")).to_have_text("1")
    await expect(hers.message("below")).to_have_attribute("data-seen", "false")
    await his.page.locator(".to-end").click()
    await hers.is_read("below")
