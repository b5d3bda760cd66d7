"""Offline, dropped, killed: nothing is lost, nothing is shown twice."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import expect

from scripts.lab import processes
from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Enter, gone
from tests.support.api import Api


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """A service to be broken."""
    return {}


async def cut_by_the_button(chat: Chat) -> None:
    await chat.go_offline()


async def cut_by_the_network(chat: Chat) -> None:
    chat.watch.cut = True
    await chat.page.context.set_offline(True)
    await chat.is_state("offline")


async def back_by_the_button(chat: Chat) -> None:
    await chat.go_online()


async def back_by_the_network(chat: Chat) -> None:
    await chat.page.context.set_offline(False)
    await chat.is_live()


@pytest.mark.parametrize(
    ("cut", "back"),
    ((cut_by_the_button, back_by_the_button), (cut_by_the_network, back_by_the_network)),
    ids=("button", "network"),
)
async def test_who_was_offline_gets_all_in_order_and_what_waited_goes_out_in_order(
    enter: Enter, alice: str, bob: str, cut: Any, back: Any
) -> None:
    hers, his = await enter(alice), await enter(bob)
    await hers.talk_to(bob)
    await his.talk_to(alice)
    await hers.write("before")
    await his.shows("before")
    await cut(his)
    await hers.write("one", "two", "three")
    await hers.has_sent("one", "two", "three")
    await his.write("four", "five")
    for text in ("four", "five"):
        await his.is_in_state(text, "queued")
    await his.shows("before", "four", "five")
    await back(his)
    await hers.shows("before", "one", "two", "three", "four", "five")
    await his.shows("before", "one", "two", "three", "four", "five")
    await his.has_sent("four", "five")
    await expect(his.by("caught-up")).to_contain_text("3")


async def test_a_dropped_connection_comes_back_by_itself_and_nothing_is_missing(
    enter: Enter, api: Api, bob: str
) -> None:
    chat = await enter(bob)
    await chat.talk_to("operator")
    texts = [f"{number}" for number in range(12)]
    for number, text in enumerate(texts):
        if number % 4 == 2:
            await chat.by("drop").click()
        await api.send(bob, {"text": text}, f"m-{number}")
    await chat.is_live()
    await chat.shows(*texts)


async def test_a_killed_worker_costs_no_message_and_shows_none_twice(
    service: Service, enter: Enter, api: Api, alice: str, bob: str
) -> None:
    hers, his = await enter(alice), await enter(bob)
    for chat in (hers, his):
        chat.watch.cut = True
    await hers.talk_to(bob)
    await his.talk_to(alice)
    await hers.write("before")
    await his.shows("before")
    holder = (await api.inbox(bob))["devices"][0]["worker"]
    victim = await asyncio.to_thread(service.worker, holder)
    (socket,) = his.watch.sockets(his.page)
    await hers.write("one")
    processes.kill(victim.pid)
    await hers.write("two")
    await his.write("three")
    await his.shows_in_any_order("before", "one", "two", "three")
    await hers.shows_in_any_order("before", "one", "two", "three")
    assert socket.is_closed(), "it was the worker that held the connection"
    assert not processes.is_alive(victim.pid)
    await hers.has_sent("before", "one", "two")
    await his.has_sent("three")
    assert await hers.identities() == await his.identities()
    await asyncio.to_thread(service.await_ready)


async def test_the_page_says_when_it_will_try_again(service: Service, enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    chat.watch.cut = True
    await chat.talk_to(bob)
    async with gone(service):
        await chat.is_state("reconnecting")
        await expect(chat.by("retry-in")).to_have_text(re.compile(r"\d|now", re.IGNORECASE))
        await chat.write("into the dark")
        await chat.is_in_state("into the dark", "queued")
    await chat.is_live()
    await chat.has_sent("into the dark")
    await chat.shows("into the dark")
