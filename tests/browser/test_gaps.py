"""What will not come any more is marked where it would stand."""

from typing import Any

import pytest
from playwright.async_api import expect

from scripts.lab.service import Service
from scripts.lab.timing import duration, eventually_async
from tests.browser.chat import Chat
from tests.browser.conftest import Enter
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Keeps little, and for devices that are away only shortly."""
    return {"history": 10, "device_expiry": duration(1)}


async def found_above(chat: Chat) -> bool:
    """Looks one page further up."""
    await chat.log.evaluate("(log) => { log.scrollTop = 0; }")
    return await chat.by("gap").count() == 1


async def test_a_gap_is_marked_where_messages_were_trimmed(enter: Enter, service: Service, api: Api, bob: str) -> None:
    chat = await enter(bob)
    await chat.talk_to("operator")
    await api.send(bob, {"text": "before"}, "m-before")
    await chat.shows("before")
    await chat.go_offline()
    sent = 0
    quick = Device(service.url, bob, "quick")
    quick.acking = True
    async with quick:

        async def trimmed() -> bool:
            nonlocal sent
            await api.fill(bob, 100, prefix=f"p{sent}-")
            sent += 100
            await quick.receive(sent + 1)
            return int((await api.inbox(bob))["length"]) < sent

        await eventually_async(trimmed, "the oldest entries are gone")
    await chat.go_online()
    await chat.pick("operator")
    marker = chat.by("gap")
    await expect(marker).to_have_count(1)
    await expect(marker).to_have_attribute("data-reason", "trimmed")
    await expect(marker).to_contain_text("missing")
    await chat.reload()
    await chat.is_live()
    await eventually_async(lambda: found_above(chat), "the marker is there above what is loaded first")


async def test_a_gap_is_marked_where_the_server_lost_its_history(
    enter: Enter, service: Service, api: Api, bob: str
) -> None:
    chat = await enter(bob)
    await chat.talk_to("operator")
    for text in ("one", "two"):
        await api.send(bob, {"text": text}, f"m-{text}")
    await chat.shows("one", "two")
    await chat.go_offline()
    with service.store() as store:
        lost = [key for key in store.keys("*") if f"{{{bob}}}" in key]
        assert store.delete(*lost) == len(lost) > 0
    await api.send(bob, {"text": "three"}, "m-three")
    await chat.go_online()
    await chat.shows("one", "two", "three")
    await expect(chat.by("gap")).to_have_attribute("data-reason", "rewound")
