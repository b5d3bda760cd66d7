"""Presence: who is online, asked over HTTP, watched over a socket, across workers."""

import asyncio
from collections.abc import Callable

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.event_stream import EventStream


async def stands(api: Api, user: str, status: str) -> int | None:
    """Waits until this user is said to be so; when last seen."""

    async def probe() -> bool:
        return bool((await api.get(f"/v1/presence/{user}"))["status"] == status)

    await eventually_async(probe, f"{user} {status}")
    seen: int | None = (await api.get(f"/v1/presence/{user}"))["last_seen"]
    return seen


async def test_a_user_whom_nobody_has_seen_is_offline(api: Api, bob: str) -> None:
    assert await api.get(f"/v1/presence/{bob}") == {"user": bob, "status": "offline", "last_seen": None}


async def test_a_user_is_online_while_a_device_is_connected(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob, "phone"):
        came = await stands(api, bob, "online")
        async with EventStream(service.url, bob, "web") as stream:
            await stream.next("live")
    went = await stands(api, bob, "offline")
    assert came is not None
    assert went is not None
    assert went >= came


async def test_several_are_told_in_the_order_of_the_question(service: Service, api: Api, bob: str, carol: str) -> None:
    async with Device(service.url, carol):
        told = (await api.get("/v1/presence", user=[bob, carol, bob]))["presence"]
    assert [(one["user"], one["status"]) for one in told] == [(bob, "offline"), (carol, "online"), (bob, "offline")]


async def test_two_hundred_are_told_and_one_more_is_refused(api: Api) -> None:
    names = [f"u{number}" for number in range(201)]
    assert len((await api.get("/v1/presence", user=names[:200]))["presence"]) == 200
    problem(await api.http.get("/v1/presence", params={"user": names}), 422, "invalid_field", "user")


async def test_who_is_asked_for_must_have_a_name(api: Api) -> None:
    for path in ("/v1/presence", "/v1/presence?user=", "/v1/presence?user=a&user=b%20c", "/v1/presence/b%20c"):
        problem(await api.http.get(path), 422, "invalid_field", "user")


async def test_who_is_blocked_sees_nobody(service: Service, api: Api, bobs: Api, alice: str, bob: str) -> None:
    async with Device(service.url, bob), Device(service.url, alice) as mine:
        await stands(api, bob, "online")
        await mine.say({"type": "watch", "users": [bob]})
        await mine.wire.next("presence", user=bob, status="online")
        await bobs.http.put(f"/v1/blocks/{alice}")
        hidden = {"user": bob, "status": "offline", "last_seen": None}
        assert await api.get(f"/v1/presence/{bob}") == hidden
        assert await api.get("/v1/presence", user=[bob]) == {"presence": [hidden]}
        assert await mine.wire.next("presence", user=bob) == {"type": "presence", **hidden}
        assert (await bobs.get(f"/v1/presence/{alice}"))["status"] == "online"


async def test_watchers_on_every_worker_hear_who_comes_and_goes(
    service: Service, alice: str, bob: str, carol: str, named: Callable[[str], str]
) -> None:
    here, there = service.workers()
    watchers = [Device(service.url, alice), Device(service.url, carol)]
    for worker, watcher in zip((here, there), watchers, strict=True):
        with service.only(worker.name):
            await watcher.connect()
        await watcher.say({"type": "watch", "users": [bob, named("nobody")]})
        first = await watcher.wire.next("presence", user=bob)
        assert first == {"type": "presence", "user": bob, "status": "offline", "last_seen": None}
    async with Device(service.url, bob):
        for watcher in watchers:
            await watcher.wire.next("presence", user=bob, status="online")
    for watcher in watchers:
        gone = await watcher.wire.next("presence", user=bob, status="offline")
        assert type(gone["last_seen"]) is int
        await watcher.close()


async def test_a_watch_ends_with_unwatch_and_with_the_connection(
    service: Service, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as mine, Device(service.url, carol) as other:
        for device in (mine, other):
            await device.say({"type": "watch", "users": [bob]})
            await device.wire.next("presence")
        await mine.say({"type": "unwatch", "users": [bob]})
        await mine.ping()
        async with Device(service.url, bob):
            await other.wire.next("presence", status="online")
        await other.wire.next("presence", status="offline")
        assert len(mine.wire.of("presence")) == 1
        await mine.say({"type": "watch", "users": [bob]})
        await mine.wire.next("presence")
        await mine.abort()
        await mine.connect()
        assert mine.wire.of("presence") == []
        await other.say({"type": "unwatch", "users": [bob]})

        async def over() -> bool:
            return (await asyncio.to_thread(service.metrics))["inboxd_watches"] == 0

        await eventually_async(over, "nobody is watched by who is gone")


async def test_too_many_are_refused_and_the_connection_goes_on(service: Service, alice: str, bob: str) -> None:
    names = [f"u{number}" for number in range(201)]
    async with Device(service.url, alice) as mine:
        await mine.say({"type": "watch", "users": names})
        assert (await mine.wire.next("error"))["code"] == "invalid_field"
        await mine.say({"type": "watch", "users": names[:200]})
        await mine.wire.until(lambda: len(mine.wire.of("presence")) == 200, "a word of each")
        await mine.say({"type": "watch", "users": [bob]})
        error = await mine.wire.next("error")
        assert (error["code"], error["field"]) == ("invalid_field", "users")
        for users in ([], "bob", [bob, 7], ["b c"], None):
            await mine.say({"type": "watch", "users": users})
            assert (await mine.wire.next("error"))["code"] == "invalid_field"
        await mine.say({"type": "unwatch", "users": names[:1]}, {"type": "watch", "users": [bob]})
        await mine.wire.next("presence", user=bob)


async def test_an_event_stream_counts_as_being_there(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as mine:
        await mine.say({"type": "watch", "users": [bob]})
        await mine.wire.next("presence", status="offline")
        async with EventStream(service.url, bob):
            await mine.wire.next("presence", status="online")
        await mine.wire.next("presence", status="offline")
