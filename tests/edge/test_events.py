"""`GET /v1/events`: what comes over a stream, where it begins, what its window holds."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, duration, eventually_async
from tests.hostile.raw import Raw
from tests.support.api import Api, problem
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.event_stream import EventStream


async def test_it_begins_with_welcome_then_what_waits_then_live(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    async with EventStream(service.url, bob, window=7) as stream:
        await stream.next("live")
        assert [frame["type"] for frame in stream.frames] == ["welcome", *["message"] * 3, "live"]
        assert [entry["cursor"] for entry in stream.entries] == cursors
        assert stream.frames[0]["window"] == 7
        assert stream.frames[0]["limits"]["dedupe_window"] == 86_400.0
        await api.send(bob, "now", "m-now")
        assert "replay" not in (await stream.receive(4))[3]


async def test_its_frames_are_those_of_a_socket(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 3, body={"text": "line\nend\r\n\r\ndata: x"})
    async with EventStream(service.url, bob) as stream, Device(service.url, bob) as phone:
        assert await stream.receive(3) == await phone.receive(3)


async def test_nothing_between_the_service_and_a_browser_is_to_keep_or_gather_it(service: Service, bob: str) -> None:
    async with EventStream(service.url, bob) as stream:
        headers = stream.answer.headers
        assert headers["content-type"] == "text/event-stream"
        assert "no-store" in headers["cache-control"]
        assert headers["x-accel-buffering"] == "no"
        await stream.next("live")
        assert stream.text.retry is not None
        assert 1000 <= stream.text.retry <= 3000


async def test_a_request_behind_it_on_its_connection_harms_no_chunk(service: Service, api: Api, bob: str) -> None:
    raw = await Raw.open(service.url)
    raw.write(b"GET /v1/events?device=x&user=%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % bob.encode())
    async with asyncio.timeout(PATIENCE):
        await raw.reader.readuntil(b"\r\n\r\n")
        raw.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await api.send(bob, "behind it", "m-1")
        content = b""
        while b"behind it" not in content:
            size = int(await raw.reader.readuntil(b"\r\n"), 16)
            content += (await raw.reader.readexactly(size + 2))[:-2]
    await raw.abort()


# Where it begins.


async def test_a_cut_stream_goes_on_after_the_last_event_it_had(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    async with EventStream(service.url, bob) as stream:
        await stream.receive(5)
    await api.fill(bob, 2, prefix="later")
    async with EventStream(service.url, bob, last_event_id=cursors[2]) as again:
        assert (await again.next("welcome"))["cursor"] == cursors[2]
        bodies = [entry["body"] for entry in await again.receive(4)]
        assert bodies == [4, 5, 1, 2]


async def test_what_a_browser_says_by_itself_acks_nothing(service: Service, api: Api, bobs: Api, bob: str) -> None:
    """It names the last event it was given; whether the page has handled that, only the page can say."""
    cursors = await api.fill(bob, 3)
    async with EventStream(service.url, bob, last_event_id=cursors[2]) as stream:
        await stream.next("live")
        assert await api.stored(bob, "events") == "0-0"
    async with EventStream(service.url, bob) as reloaded:
        assert len(await reloaded.receive(3)) == 3


async def test_without_a_last_event_it_goes_on_after_what_was_acked(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    async with EventStream(service.url, bob) as stream:
        await stream.receive(5)
        assert (await stream.ack(cursors[2])).status_code == 204
    async with EventStream(service.url, bob) as again:
        assert [entry["body"] for entry in await again.receive(2)] == [4, 5]
        assert again.frames[0]["cursor"] == cursors[2]


async def test_a_last_event_that_was_never_given_out_is_told_as_lost_history(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 2)
    beyond = f"{Cursor.parse(cursors[1]).ms + 5000}-9"
    async with EventStream(service.url, bob, last_event_id=beyond) as stream:
        entries = await stream.receive(3)
        assert (entries[0]["type"], entries[0]["reason"], entries[0]["after"]) == ("gap", "rewound", beyond)
        assert [entry["cursor"] for entry in entries[1:]] == cursors


# The window.


async def test_the_window_is_kept_and_freed_by_acks_that_reach_the_other_worker(
    service: Service, api: Api, bob: str
) -> None:
    await api.fill(bob, 25)
    async with EventStream(service.url, bob, window=10) as stream:
        await stream.receive(10)
        holder = stream.frames[0]["worker"]
        other = next(worker.name for worker in service.workers() if worker.name != holder)
        for received in (20, 25):
            with service.only(other):
                assert (await stream.ack()).status_code == 204
            await stream.receive(received)
        assert [entry["body"] for entry in stream.entries] == list(range(1, 26))
        assert stream.rules.most_in_flight == 10
        assert service.metrics()["inboxd_acks_relayed_total"] > 0


async def test_an_ack_over_http_frees_the_window_of_a_socket_too(
    service: Service, api: Api, bobs: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 10)
    phone = Device(service.url, bob)
    await phone.connect(window=4)
    await phone.receive(4)
    phone.rules.sent({"type": "ack", "cursor": cursors[3]})
    content = {"device": "phone", "cursor": cursors[3]}
    assert (await bobs.http.post("/v1/inbox/ack", json=content)).status_code == 204
    assert [entry["body"] for entry in await phone.receive(8)] == list(range(1, 9))
    await phone.close()


async def test_an_ack_beyond_what_was_sent_counts_for_what_was_sent(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 9)
    async with EventStream(service.url, bob, window=3) as stream:
        await stream.receive(3)
        for received in (6, 9):
            assert (await stream.ack(cursors[-1])).status_code == 204
            await stream.receive(received)
        await stream.next("live")
        assert [entry["cursor"] for entry in stream.entries] == cursors
    assert await api.stored(bob, "events") == cursors[-1]


async def test_an_ack_beyond_the_newest_entry_is_refused_and_frees_nothing(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 4)
    async with EventStream(service.url, bob, window=2) as stream:
        await stream.receive(2)
        problem(await stream.ack(f"{Cursor.parse(cursors[-1]).ms}-5"), 422, "ack_beyond_head")
        assert len(stream.entries) == 2


async def test_acking_streams_of_two_devices_get_everything_once_and_in_order(
    service: Service, api: Api, bob: str
) -> None:
    async def read(device: str) -> list[int]:
        async with EventStream(service.url, bob, device, window=8) as stream:
            acked = 0
            while acked < 100:
                acked = len(await stream.receive(acked + 1))
                await stream.ack()
            return [entry["body"] for entry in stream.entries]

    async def write() -> None:
        for number in range(100):
            await api.send(bob, number, f"m{number}")

    found = await asyncio.gather(read("one"), read("two"), write())
    assert found[0] == found[1] == list(range(100))


# What else comes.


async def test_a_broadcast_reaches_it(service: Service, api: Api, bob: str) -> None:
    async with EventStream(service.url, bob) as stream:
        await stream.next("live")
        await api.http.post("/v1/ops/broadcast", json={"body": f"to {bob}"})
        await stream.until(lambda: any(f["body"] == f"to {bob}" for f in stream.of("broadcast")), "the broadcast")


async def test_an_idle_stream_stays_whatever_requests_have_for_time(
    serve: Callable[..., Service], alice: str, bob: str
) -> None:
    short = {"handshake_timeout": duration(0.3), "keep_alive": duration(0.2), "ping_interval": duration(0.4)}
    service = serve(workers=1, **short)
    async with Api(service.url, alice) as api, EventStream(service.url, bob) as stream:
        await stream.next("live")
        await stream.until(lambda: stream.text.comments >= 5, "five comments that keep it alive")
        await api.send(bob, "after a while", "m-1")
        assert (await stream.receive(1))[0]["id"] == "m-1"


async def test_one_who_goes_away_is_no_longer_connected(service: Service, api: Api, bob: str) -> None:
    async with EventStream(service.url, bob) as stream:
        await stream.next("live")
        row = (await api.inbox(bob))["devices"][0]
        assert row["worker"] == stream.frames[0]["worker"]

    async def gone() -> bool:
        return all(row["worker"] is None for row in (await api.inbox(bob))["devices"])

    await eventually_async(gone, "its claim is given back")


# Requests at fault.


@pytest.mark.parametrize(
    ("query", "field"),
    (
        ({}, "device"),
        ({"device": ""}, "device"),
        ({"device": "a b"}, "device"),
        ({"device": "x" * 129}, "device"),
        ({"device": "d", "window": "0"}, "window"),
        ({"device": "d", "window": "1025"}, "window"),
        ({"device": "d", "window": "many"}, "window"),
        ({"device": "d", "window": "9" * 4000}, "window"),
        ({"device": "d", "stream": "a/b"}, "stream"),
        ({"device": "d", "stream": "x" * 65}, "stream"),
        ({"device": "d", "stream": "a\n\nevent: x"}, "stream"),
    ),
)
async def test_a_parameter_at_fault_is_a_problem_before_anything_begins(
    bobs: Api, query: dict[str, str], field: str
) -> None:
    problem(await bobs.http.get("/v1/events", params=query), 422, "invalid_field", field)


@pytest.mark.parametrize("name", ("x", "1", "1-", "-1", "01-1", "1-1-1", "9" * 17 + "-1", "é", "\uff11-\uff11"))
async def test_a_last_event_id_that_is_no_cursor_is_a_problem(bobs: Api, name: str) -> None:
    headers = [(b"Last-Event-ID", name.encode())]
    response = await bobs.http.get("/v1/events", params={"device": "d"}, headers=headers)
    problem(response, 422, "invalid_field", "Last-Event-ID")


async def test_an_empty_last_event_id_is_none(service: Service, bob: str) -> None:
    async with EventStream(service.url, bob, last_event_id="") as stream:
        assert (await stream.next("welcome"))["cursor"] == "0-0"


async def test_nobody_named_is_a_problem(service: Service) -> None:
    async with EventStream(service.url, None) as stream:
        problem(stream.answer, 401, "unauthenticated")


async def test_whatever_a_client_accepts_it_is_a_stream(service: Service, bob: str) -> None:
    """As everywhere here: the path says what one gets."""
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as http:
        headers = {"X-Inboxd-User": bob, "Accept": "application/json"}
        async with http.stream("GET", "/v1/events", params={"device": "d"}, headers=headers) as response:
            assert response.headers["content-type"] == "text/event-stream"


async def test_too_many_devices_of_a_user_are_told_so_by_status(serve: Callable[..., Service], bob: str) -> None:
    service = serve(workers=1, max_connections_per_user=2, max_devices=3)
    async with (
        EventStream(service.url, bob, "one"),
        EventStream(service.url, bob, "two"),
        EventStream(service.url, bob, "three") as crowded,
    ):
        problem(crowded.answer, 429, "too_many_connections")
        assert "retry-after" in crowded.answer.headers
    async with Api(service.url, bob) as bobs:
        await bobs.get("/v1/inbox", device="three")

        async def refused() -> bool:
            async with EventStream(service.url, bob, "four") as stream:
                return stream.status == 409 and bool(problem(stream.answer, 409, "too_many_devices"))

        await eventually_async(refused, "the fourth is one too many")
