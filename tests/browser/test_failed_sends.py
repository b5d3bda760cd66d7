"""What the service refuses, and what it no longer has, is shown and not hidden."""

from typing import Any

import pytest
from playwright.async_api import expect

from scripts.lab.service import Service
from scripts.lab.tcp_proxy import Faults, TcpProxy
from tests.browser.chat import Chat
from tests.browser.conftest import NOTHING_COMES_BACK, Enter, Fresh
from tests.support.api import Api
from tests.support.device import Device

PENDING = 5
TWO_DAYS_LATER = "{ const now = Date.now; Date.now = () => now() + 48 * 3600 * 1000; }"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Inboxes are full soon. A sender's own copy would tell that a message has arrived whose answer was lost."""
    return {"max_pending": PENDING, "own_copy": "off"}


@pytest.fixture
async def refused(enter: Enter, api: Api, alice: str, bob: str) -> Chat:
    """Alice has written once more than bob's inbox takes."""
    await api.fill(bob, PENDING)
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.write("one too many")
    await chat.is_in_state("one too many", "failed")
    return chat


async def test_a_send_that_was_refused_stays_with_its_reason_until_it_is_sent_again(
    refused: Chat, service: Service, bob: str
) -> None:
    await expect(refused.message("one too many")).to_contain_text("full")
    await refused.reload()
    await refused.is_live()
    await refused.is_in_state("one too many", "failed")
    async with Device(service.url, bob) as phone:
        await phone.receive(PENDING)
        await phone.ack()
        await phone.ping()
        await refused.by("retry").click()
        await refused.has_sent("one too many")
        assert (await phone.receive(PENDING + 1))[-1]["body"] == {"text": "one too many"}
    await refused.shows("one too many")
    await expect(refused.by("retry")).to_have_count(0)


async def test_a_send_that_was_refused_and_is_discarded_is_gone_for_good(
    refused: Chat, service: Service, bob: str
) -> None:
    await refused.by("discard").click()
    await expect(refused.messages).to_have_count(0)
    await refused.reload()
    await refused.is_live()
    async with Device(service.url, bob) as phone:
        await phone.receive(PENDING)
        await phone.ack()
        await phone.ping()
        await refused.write("another")
        await refused.has_sent("another")
        assert (await phone.receive(PENDING + 1))[-1]["body"] == {"text": "another"}
        await refused.shows("another")


async def test_others_get_their_messages_meanwhile(refused: Chat, service: Service, carol: str) -> None:
    await refused.talk_to(carol)
    await refused.write("to you")
    await refused.has_sent("to you")


async def test_a_text_that_is_too_long_is_refused_before_it_is_sent(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.composer.fill("x" * 70_000)
    await chat.by("send").click()
    await expect(chat.messages).to_have_attribute("data-state", "failed")
    await chat.write("short")
    await chat.has_sent("short")
    await chat.by("discard").click()
    await chat.shows("short")


async def test_what_was_tried_a_day_ago_and_never_answered_waits_to_be_asked_for(
    service: Service, fresh: Fresh, proxy: TcpProxy, alice: str, bob: str
) -> None:
    """The service may have forgotten its id: sent again by itself, it could arrive twice."""
    context, watch = await fresh()
    watch.cut = True
    chat = await Chat.open(context, watch, f"http://127.0.0.1:{proxy.port}", alice)
    await chat.is_live()
    await chat.talk_to(bob)
    proxy.faults = NOTHING_COMES_BACK
    async with Device(service.url, bob) as phone:
        await chat.write("perhaps")
        await phone.receive(1)
        await chat.page.close()
        proxy.faults = Faults()
        await context.add_init_script(TWO_DAYS_LATER)
        chat = await Chat.open(context, watch, chat.base, alice)
        await chat.is_live()
        await chat.pick(bob)
        await chat.is_in_state("perhaps", "stale")
        await chat.write("next")
        await chat.has_sent("next")
        assert [entry["body"]["text"] for entry in await phone.receive(2)] == ["perhaps", "next"]
        await chat.by("retry").click()
        await chat.has_sent("perhaps")
