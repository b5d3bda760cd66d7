"""Receiving without a WebSocket: `GET /v1/inbox`, the long poll, `POST /v1/inbox/ack`."""

import asyncio

import httpx2
import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.support.api import Api, problem
from tests.support.cursors import Cursor
from tests.support.device import Device


async def ack(api: Api, cursor: str, device: str = "poll") -> httpx2.Response:
    return await api.http.post("/v1/inbox/ack", json={"device": device, "cursor": cursor})


async def test_a_page_has_the_frames_a_socket_would_bring(service: Service, api: Api, bobs: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    page = await bobs.get("/v1/inbox", device="poll")
    async with Device(service.url, bob) as phone:
        frames = await phone.receive(3)
    assert page.keys() == {"entries", "cursor", "head"}
    assert [{**entry, "replay": True} for entry in page["entries"]] == frames
    assert (page["cursor"], page["head"]) == (cursors[-1], cursors[-1])


async def test_an_empty_inbox_is_an_empty_page(bobs: Api) -> None:
    assert await bobs.get("/v1/inbox", device="poll") == {"entries": [], "cursor": "0-0", "head": "0-0"}


async def test_pages_are_turned_by_their_cursor(api: Api, bobs: Api, bob: str) -> None:
    cursors = await api.fill(bob, 250)
    found: list[str] = []
    page = await bobs.get("/v1/inbox", device="poll")
    assert len(page["entries"]) == 100
    while page["entries"]:
        found += [entry["cursor"] for entry in page["entries"]]
        assert page["cursor"] == found[-1]
        page = await bobs.get("/v1/inbox", device="poll", after=page["cursor"])
    assert found == cursors


@pytest.mark.parametrize("limit", (1, 7, 1000))
async def test_the_limit_is_kept(api: Api, bobs: Api, bob: str, limit: int) -> None:
    cursors = await api.fill(bob, 1100)
    page = await bobs.get("/v1/inbox", device="poll", limit=limit)
    assert [entry["cursor"] for entry in page["entries"]] == cursors[:limit]
    assert page["head"] == cursors[-1]


async def test_reading_acks_nothing(api: Api, bobs: Api, bob: str) -> None:
    await api.fill(bob, 3)
    first = await bobs.get("/v1/inbox", device="poll")
    assert await bobs.get("/v1/inbox", device="poll") == first
    assert (await api.inbox(bob))["pending"] == 3


# Acks


async def test_an_ack_moves_where_the_next_page_begins(api: Api, bobs: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    await bobs.get("/v1/inbox", device="poll")
    response = await ack(bobs, cursors[2])
    assert (response.status_code, response.content) == (204, b"")
    page = await bobs.get("/v1/inbox", device="poll")
    assert [entry["cursor"] for entry in page["entries"]] == cursors[3:]
    assert (await api.inbox(bob))["pending"] == 2


async def test_an_older_ack_is_ignored(api: Api, bobs: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    await bobs.get("/v1/inbox", device="poll")
    for cursor in (cursors[3], cursors[0], cursors[3], "0-0"):
        assert (await ack(bobs, cursor)).status_code == 204
    assert await api.stored(bob, "poll") == cursors[3]


@pytest.mark.parametrize("beyond", (1, 10**9))
async def test_an_ack_beyond_the_newest_entry_is_refused(api: Api, bobs: Api, bob: str, beyond: int) -> None:
    cursors = await api.fill(bob, 3)
    last = Cursor.parse(cursors[-1])
    await bobs.get("/v1/inbox", device="poll")
    problem(await ack(bobs, str(Cursor(last.ms + beyond, last.seq))), 422, "ack_beyond_head")
    problem(await ack(bobs, str(Cursor(last.ms, last.seq + beyond))), 422, "ack_beyond_head")
    assert await api.stored(bob, "poll") == "0-0"


@pytest.mark.parametrize(
    "content",
    (
        {"device": "d"},
        {"cursor": "0-0"},
        {"device": "d", "cursor": 1},
        {"device": "d", "cursor": "x"},
        {"device": "d", "cursor": "0-0", "more": 1},
        {"device": True, "cursor": "0-0"},
        [],
    ),
)
async def test_an_ack_at_fault_is_refused(bobs: Api, content: object) -> None:
    problem(await bobs.http.post("/v1/inbox/ack", json=content), 422, "invalid_field")


async def test_an_ack_over_http_is_the_same_cursor_a_socket_resumes_from(
    service: Service, api: Api, bobs: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 5)
    await bobs.get("/v1/inbox", device="both")
    await ack(bobs, cursors[2], "both")
    async with Device(service.url, bob, "both") as phone:
        assert phone.rules.welcome is not None
        assert phone.rules.welcome["cursor"] == cursors[2]


# Waiting


async def waiting(api: Api, device: str = "poll", **query: object) -> asyncio.Task[object]:
    """A long poll that is under way."""
    return asyncio.create_task(api.get("/v1/inbox", device=device, wait=60, **query))


async def is_waiting(api: Api, user: str, device: str) -> None:
    """Waits until the service knows of a device."""

    async def known() -> bool:
        return await api.stored(user, device) is not None

    await eventually_async(known, f"{device} waits")


async def test_a_long_poll_returns_as_soon_as_a_message_is_there(api: Api, bobs: Api, bob: str) -> None:
    poll = await waiting(bobs)
    await is_waiting(api, bob, "poll")
    assert not poll.done()
    sent = await api.send(bob, "hi", "m-1")
    async with asyncio.timeout(PATIENCE):
        page = await poll
    assert [entry["id"] for entry in page["entries"]] == ["m-1"]  # type: ignore[index]
    assert page["cursor"] == sent["recipients"][0]["cursor"]  # type: ignore[index]


async def test_a_long_poll_returns_at_once_when_something_is_there_already(api: Api, bobs: Api, bob: str) -> None:
    await api.fill(bob, 2)
    async with asyncio.timeout(PATIENCE):
        assert len((await bobs.get("/v1/inbox", device="poll", wait=60))["entries"]) == 2


async def test_a_long_poll_ends_empty_when_its_time_is_over(bobs: Api) -> None:
    page = await bobs.get("/v1/inbox", device="poll", wait=1)
    assert page == {"entries": [], "cursor": "0-0", "head": "0-0"}


async def test_a_second_long_poll_of_a_device_ends_the_first_with_an_empty_answer(
    service: Service, api: Api, bobs: Api, bob: str
) -> None:
    first = await waiting(bobs)
    await is_waiting(api, bob, "poll")
    async with Api(service.url, bob) as again:
        second = await waiting(again)
        async with asyncio.timeout(PATIENCE):
            assert (await first)["entries"] == []  # type: ignore[index]
        await api.send(bob, "hi")
        async with asyncio.timeout(PATIENCE):
            assert len((await second)["entries"]) == 1  # type: ignore[index]


async def test_long_polls_of_two_devices_both_get_a_message(service: Service, api: Api, bobs: Api, bob: str) -> None:
    async with Api(service.url, bob) as other:
        polls = [await waiting(bobs, "one"), await waiting(other, "two")]
        for device in ("one", "two"):
            await is_waiting(api, bob, device)
        await api.send(bob, "hi", "m-1")
        async with asyncio.timeout(PATIENCE):
            for page in await asyncio.gather(*polls):
                assert len(page["entries"]) == 1  # type: ignore[index]


async def test_polling_with_acks_brings_a_stream_in_order_and_once(
    service: Service, api: Api, bobs: Api, bob: str
) -> None:
    async def stream() -> None:
        for number in range(100):
            await api.send(bob, number, f"m{number}")

    async def read() -> list[int]:
        found: list[int] = []
        while len(found) < 100:
            page = await bobs.get("/v1/inbox", device="poll", wait=10, limit=9)
            found += [entry["body"] for entry in page["entries"]]
            await ack(bobs, page["cursor"])
        return found

    async with asyncio.timeout(PATIENCE):
        found, _ = await asyncio.gather(read(), stream())
    assert found == list(range(100))


async def test_gaps_stand_in_their_places(api: Api, bobs: Api, bob: str) -> None:
    await api.send(bob, 1, "first")
    brief = await api.send(bob, 2, "brief", expires_in=1)
    await api.send(bob, 3, "last")

    async def told() -> bool:
        page = await bobs.get("/v1/inbox", device="poll")
        return [entry["type"] for entry in page["entries"]] == ["message", "gap", "message"]

    await eventually_async(told, "the message expires")
    gap = (await bobs.get("/v1/inbox", device="poll"))["entries"][1]
    assert (gap["reason"], gap["missing"]) == ("expired", 1)
    assert gap["cursor"] == brief["recipients"][0]["cursor"]


async def test_a_poller_that_goes_away_holds_nothing_up(service: Service, api: Api, bob: str) -> None:
    async with Api(service.url, bob) as gone:
        poll = await waiting(gone)
        await is_waiting(api, bob, "poll")
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
    await api.send(bob, "hi")
    async with Device(service.url, bob) as phone:
        await phone.receive(1)
