"""History: pages of one's own inbox, newest first, over HTTP and over the socket."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(params=("http", "socket"))
async def ask(request: pytest.FixtureRequest, service: Service, bobs: Api, bob: str) -> Any:
    """Asks for a page of Bob's history in one of the two ways: `{entries, more}`."""

    async def by_http(**query: Any) -> Any:
        return await bobs.get("/v1/inbox/history", **query)

    async def by_socket(**query: Any) -> Any:
        await phone.say({"type": "history", "ref": "r", **query})
        page = await phone.wire.next("history", ref="r")
        return {"entries": page["entries"], "more": page["more"]}

    if request.param == "http":
        yield by_http
        return
    phone = Device(service.url, bob, "reader")
    async with phone:
        yield by_socket


async def test_a_page_is_newest_first_and_says_whether_there_is_more(ask: Ask, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 7)
    page = await ask(limit=5)
    assert [entry["cursor"] for entry in page["entries"]] == cursors[:1:-1]
    assert page["more"] is True
    rest = await ask(limit=5, before=page["entries"][-1]["cursor"])
    assert [entry["cursor"] for entry in rest["entries"]] == cursors[1::-1]
    assert rest["more"] is False


async def test_pages_end_exactly_at_the_oldest_entry(ask: Ask, api: Api, bob: str) -> None:
    await api.fill(bob, 6)
    page = await ask(limit=6)
    assert (len(page["entries"]), page["more"]) == (6, False)


async def test_fifty_entries_are_a_page_when_no_limit_is_named(ask: Ask, api: Api, bob: str) -> None:
    await api.fill(bob, 60)
    assert len((await ask())["entries"]) == 50
    assert len((await ask(limit=200))["entries"]) == 60


async def test_the_history_of_an_empty_inbox_is_empty(ask: Ask) -> None:
    assert await ask() == {"entries": [], "more": False}


async def test_entries_are_the_frames_a_device_gets(ask: Ask, service: Service, api: Api, bob: str) -> None:
    await api.send(bob, {"a": [1]}, "m-1")
    (entry,) = (await ask())["entries"]
    async with Device(service.url, bob) as phone:
        (delivered,) = await phone.receive(1)
    assert {**entry, "replay": True} == delivered


async def test_with_a_user_only_messages_with_that_user_come(
    ask: Ask, service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, bob, "own") as phone, Api(service.url, carol) as carols:
        await api.send(bob, 1, "from-alice")
        await carols.send(bob, 2, "from-carol")
        await phone.send("to-alice", alice, 3)
        await phone.send("to-carol", carol, 4)
        await phone.send("to-both", [alice, carol], 5)
        await phone.receive(5)
    page = await ask(**{"with": alice})
    assert [entry["id"] for entry in page["entries"]] == ["to-both", "to-alice", "from-alice"]
    assert page["more"] is False
    assert (await ask(**{"with": "nobody.at.all"}))["entries"] == []


async def test_pages_with_a_user_can_be_turned_to_the_end(
    ask: Ask, service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with Api(service.url, carol) as carols:
        for number in range(6):
            await api.send(bob, number, f"a{number}")
            await carols.fill(bob, 20, prefix=f"c{number}-")
    found: list[str] = []
    query: dict[str, Any] = {"with": alice, "limit": 2}
    for _ in range(20):
        page = await ask(**query)
        found += [entry["id"] for entry in page["entries"]]
        if not page["more"]:
            break
        query["before"] = page["entries"][-1]["cursor"]
    assert found == [f"a{number}" for number in reversed(range(6))]


async def test_reading_history_acks_nothing(ask: Ask, api: Api, bob: str) -> None:
    await api.fill(bob, 3)
    await ask()
    assert (await api.inbox(bob))["pending"] == 3


async def test_expired_messages_are_not_shown(ask: Ask, api: Api, bob: str) -> None:
    await api.send(bob, 1, "stays")
    await api.send(bob, 2, "brief", expires_in=1)

    async def over() -> bool:
        shown = [entry.get("id") for entry in (await ask())["entries"] if entry["type"] == "message"]
        return "brief" not in shown

    await eventually_async(over, "the message expires")


async def test_before_the_start_there_is_nothing(ask: Ask, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    assert await ask(before=cursors[0]) == {"entries": [], "more": False}
    assert await ask(before="0-0") == {"entries": [], "more": False}


async def test_one_sees_only_ones_own_inbox(service: Service, api: Api, bob: str, carol: str) -> None:
    await api.fill(bob, 3)
    async with Api(service.url, carol) as carols:
        assert (await carols.get("/v1/inbox/history", **{"with": bob}))["entries"] == []


async def test_a_page_does_not_count_in_the_window(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 20)
    phone = Device(service.url, bob)
    await phone.connect(window=1)
    await phone.receive(1)
    await phone.say({"type": "history", "ref": "r"})
    assert len((await phone.wire.next("history"))["entries"]) == 20
    await phone.ack()
    await phone.receive(2)
    await phone.close()
