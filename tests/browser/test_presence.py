"""Who is there, who is typing, and whom one blocks."""

import re

from playwright.async_api import expect

from scripts.lab.service import Service
from tests.browser.conftest import Enter
from tests.support.api import Api


async def test_one_sees_whether_the_other_is_there_and_typing(enter: Enter, alice: str, bob: str) -> None:
    hers = await enter(alice)
    await hers.talk_to(bob)
    await expect(hers.by("presence")).to_have_text("offline")
    his = await enter(bob)
    await his.talk_to(alice)
    await expect(hers.by("presence")).to_have_text("online")
    await his.composer.press_sequentially("abc")
    await expect(hers.by("typing")).to_have_text(f"{bob} is typing…")
    await his.by("send").click()
    await hers.shows("abc")
    await expect(hers.by("typing")).to_have_text("")
    await his.page.close()
    await expect(hers.by("presence")).to_have_text(re.compile("^last seen at"))
    await hers.go_offline()
    await expect(hers.by("presence")).to_have_text("")


async def test_that_one_types_is_said_now_and_then_only_and_to_a_group_too(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.make_group("Team", bob)
    await his.pick_group("Team")
    said: list[str] = []
    for socket in his.watch.sockets(his.page):
        socket.on("framesent", lambda payload: said.extend(re.findall('"type":"signal"', str(payload))))
    await his.composer.press_sequentially("not too often")
    await expect(hers.by("typing")).to_have_text(f"{bob} is typing…")
    assert len(said) == 1


async def test_who_blocks_is_not_reached_and_the_sender_is_told_plainly(enter: Enter, alice: str, bob: str) -> None:
    hers, his = await enter(alice), await enter(bob)
    await his.talk_to(alice)
    await his.by("block").click()
    await expect(his.by("blocked")).to_contain_text(f"You block {alice}")
    await hers.talk_to(bob)
    await hers.write("do you hear me?")
    await hers.is_in_state("do you hear me?", "failed")
    await expect(hers.by("trouble-of-message")).to_contain_text("they do not take messages from you")
    await his.reload()
    await expect(his.by("blocked")).to_be_visible()
    await his.is_live()
    await his.by("block").click()
    await expect(his.by("blocked")).to_have_count(0)
    await hers.by("retry").click()
    await his.shows("do you hear me?")


async def test_a_block_made_elsewhere_is_known_here(enter: Enter, service: Service, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    async with Api(service.url, alice) as elsewhere:
        await elsewhere.http.put(f"/v1/blocks/{bob}")
    await chat.go_offline()
    await chat.go_online()
    await expect(chat.by("blocked")).to_be_visible()
