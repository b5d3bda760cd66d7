"""Several tabs of one device share one connection."""

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.browser.application import Application, got
from tests.browser.conftest import Fresh
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture
async def tabs(service: Service, fresh: Fresh, alice: str) -> list[Application]:
    """Three of one device, all live; the first has the connection."""
    context, watch = await fresh(bypass_csp=True)
    first = await Application.open(context, watch, service.url, alice)
    await first.is_state("live")
    tabs = [first, await first.another_tab(), await first.another_tab()]
    for tab in tabs:
        await tab.is_state("live")
    return tabs


def sockets(tabs: list[Application]) -> list[int]:
    """How many each has opened."""
    return [len(tab.watch.sockets(tab.page)) for tab in tabs]


async def test_tabs_share_one_connection_and_each_shows_what_comes(tabs: list[Application], api: Api) -> None:
    assert sockets(tabs) == [1, 0, 0]
    assert [await tab.look("client.leader") for tab in tabs] == [True, False, False]
    for number in range(3):
        await api.send(tabs[0].user, number)
    for tab in tabs:
        await tab.saw(0, 1, 2)
    assert sockets(tabs) == [1, 0, 0]
    devices = (await api.inbox(tabs[0].user))["devices"]
    assert [row["device"] for row in devices] == ["web"]


async def test_a_tab_without_the_connection_sends_and_hears_the_answer(
    service: Service, tabs: list[Application], bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        await tabs[1].send(bob, "from the second")
        await got(phone, "from the second")
        await tabs[1].has_sent("from the second")
        await tabs[2].send(bob, "from the third")
        await got(phone, "from the second", "from the third")
        await tabs[2].has_sent("from the third")
        for tab in tabs:
            await tab.until("(await client.outbox()).length", 0)
    assert sockets(tabs) == [1, 0, 0]


async def test_when_the_tab_with_the_connection_is_closed_another_takes_over(
    service: Service, tabs: list[Application], api: Api, bob: str
) -> None:
    await api.send(tabs[0].user, "before")
    for tab in tabs:
        await tab.saw("before")
    await tabs[0].page.close()
    left = tabs[1:]

    async def one_leads() -> bool:
        return [await tab.look("client.leader") for tab in left].count(True) == 1

    await eventually_async(one_leads, "one of the two has the connection")
    for tab in left:
        await tab.is_state("live")
    await api.send(tabs[0].user, "after")
    for tab in left:
        await tab.saw("before", "after")
    async with Device(service.url, bob) as phone:
        for tab in left:
            await tab.send(bob, "still here")
        await got(phone, "still here", "still here")
    assert sum(sockets(left)) == 1


async def test_what_one_tab_could_not_send_another_sends_once(
    service: Service, tabs: list[Application], bob: str
) -> None:
    """The tab that wrote it is gone, and so is the one that had the connection."""
    tabs[0].watch.cut = True
    await tabs[0].page.context.set_offline(True)
    for tab in tabs:
        await tab.is_state("offline")
    await tabs[1].send(bob, "one", "two")
    await tabs[2].until("(await client.outbox()).length", 2)
    await tabs[1].page.close()
    await tabs[0].page.close()
    async with Device(service.url, bob) as phone:
        await tabs[2].page.context.set_offline(False)
        await got(phone, "one", "two")
        await tabs[2].until("(await client.outbox()).length", 0)
        await tabs[2].send(bob, "three")
        await got(phone, "one", "two", "three")


async def test_a_drop_asked_for_in_one_tab_reaches_the_one_with_the_connection(tabs: list[Application]) -> None:
    await tabs[2].page.evaluate("app.client.drop()")
    await tabs[0].until("client.stats.connections", 2)
    for tab in tabs:
        await tab.is_state("live")
        assert "reconnecting" in await tab.look("app.states.map((state) => state.split(' ')[0])")
    assert sockets(tabs) == [2, 0, 0]


async def test_tabs_of_two_users_or_devices_share_nothing(
    service: Service, tabs: list[Application], api: Api, bob: str
) -> None:
    context, watch = tabs[0].page.context, tabs[0].watch
    others = [
        await Application.open(context, watch, service.url, bob),
        await Application.open(context, watch, service.url, tabs[0].user, "another"),
    ]
    for other in others:
        await other.is_state("live")
    assert sockets(others) == [1, 1]
    await api.send(bob, "for bob")
    await others[0].saw("for bob")
    assert await tabs[0].look("app.seen") == []
