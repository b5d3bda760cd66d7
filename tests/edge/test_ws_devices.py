"""Devices: new ones, several at once, the same one twice, a cursor of one's own."""

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device, RefusedError


async def test_a_new_device_begins_at_the_oldest_entry_kept(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 5)
    async with Device(service.url, bob, "old") as old:
        await old.receive(5)
        await old.ack()
        async with Device(service.url, bob, "new") as new:
            assert [entry["body"] for entry in await new.receive(5)] == [1, 2, 3, 4, 5]


async def test_all_devices_of_a_user_get_every_message(service: Service, api: Api, bob: str) -> None:
    names = ("phone", "laptop", "watch", "tv")
    devices = [Device(service.url, bob, name) for name in names]
    for device in devices:
        await device.connect()
        await device.go_live()
    await api.fill(bob, 50)
    for device in devices:
        assert [entry["body"] for entry in await device.receive(50)] == list(range(1, 51))
        await device.close()


async def test_two_devices_on_different_workers_get_every_message(service: Service, api: Api, bob: str) -> None:
    first, second = service.workers()
    with service.only(first.name):
        here = Device(service.url, bob, "here")
        assert (await here.connect())["worker"] == first.name
    with service.only(second.name):
        there = Device(service.url, bob, "there")
        assert (await there.connect())["worker"] == second.name
    await here.send("m-1", bob, "from here")
    await there.send("m-2", bob, "from there")
    for device in (here, there):
        assert [entry["id"] for entry in await device.receive(2)] == ["m-1", "m-2"]
        await device.close()


@pytest.mark.parametrize("size", (1, 4000, 4096, 4200, 65_000))
async def test_live_messages_of_any_size_cross_from_worker_to_worker(
    service: Service, alice: str, bob: str, size: int
) -> None:
    first, second = service.workers()
    sender, phone = Device(service.url, alice), Device(service.url, bob)
    with service.only(first.name):
        await sender.connect()
    with service.only(second.name):
        await phone.connect()
    await phone.go_live()
    for number in range(3):
        await sender.send(f"m-{number}", bob, str(number) * size)
    assert [entry["body"] for entry in await phone.receive(3)] == [str(number) * size for number in range(3)]
    await sender.close()
    await phone.close()


async def test_operators_see_which_device_is_where(service: Service, api: Api, bob: str) -> None:
    phone = Device(service.url, bob, "phone")
    welcome = await phone.connect()
    (row,) = (await api.inbox(bob))["devices"]
    assert (row["device"], row["worker"]) == ("phone", welcome["worker"])
    await phone.close()

    async def gone() -> bool:
        return (await api.inbox(bob))["devices"][0]["worker"] is None

    await eventually_async(gone, "the claim is released")


# An explicit cursor


async def test_replay_starts_after_an_explicit_cursor_and_that_counts_as_acked(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 5)
    phone = Device(service.url, bob)
    welcome = await phone.connect(cursor=cursors[2])
    assert (welcome["cursor"], welcome["pending"]) == (cursors[2], 2)
    assert [entry["cursor"] for entry in await phone.receive(2)] == cursors[3:]

    async def acked() -> bool:
        return await api.stored(bob, "phone") == cursors[2]

    await eventually_async(acked, "the cursor counts as acked")
    await phone.close()


async def test_an_explicit_cursor_at_the_newest_entry_brings_nothing_old(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    phone = Device(service.url, bob)
    await phone.connect(cursor=cursors[-1])
    assert (await phone.go_live())["cursor"] == cursors[-1]
    await api.send(bob, "new")
    assert [entry["body"] for entry in await phone.receive(1)] == ["new"]
    await phone.close()


async def test_an_explicit_cursor_behind_the_stored_one_brings_the_entries_again(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 5)
    async with Device(service.url, bob) as phone:
        await phone.receive(5)
        await phone.ack()
    again = Device(service.url, bob)
    assert (await again.connect(cursor=cursors[0]))["cursor"] == cursors[0]
    assert [entry["cursor"] for entry in await again.receive(4)] == cursors[1:]
    await again.close()


async def test_the_start_of_everything_is_a_cursor_too(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 3)
    phone = Device(service.url, bob)
    assert (await phone.connect(cursor="0-0"))["cursor"] == "0-0"
    await phone.receive(3)
    await phone.close()


# The same device twice


async def test_the_same_device_again_replaces_the_older_connection(service: Service, api: Api, bob: str) -> None:
    older, newer = Device(service.url, bob), Device(service.url, bob)
    await older.connect()
    await newer.connect()
    assert await older.wire.ended() == 4509
    await api.send(bob, "hi")
    await newer.receive(1)
    await older.close()
    await newer.close()


async def test_the_same_device_on_another_worker_replaces_it_as_well(service: Service, bob: str) -> None:
    first, second = service.workers()
    older, newer = Device(service.url, bob), Device(service.url, bob)
    with service.only(first.name):
        await older.connect()
    with service.only(second.name):
        assert (await newer.connect())["worker"] == second.name
    assert await older.wire.ended() == 4509
    await newer.ping()
    await older.close()
    await newer.close()


@pytest.mark.parametrize(("held", "attempt"), ((5, 6), (5, 5), (5, None), (None, 0), (0, 0), (None, None)))
async def test_an_attempt_that_is_not_lower_wins(
    service: Service, bob: str, held: int | None, attempt: int | None
) -> None:
    older, newer = Device(service.url, bob), Device(service.url, bob)
    await older.connect(attempt=held)
    await newer.connect(attempt=attempt)
    assert await older.wire.ended() == 4509
    await older.close()
    await newer.close()


async def test_a_lower_attempt_is_refused_and_the_connected_one_stays(service: Service, bob: str) -> None:
    first, second = service.workers()
    connected = Device(service.url, bob)
    with service.only(first.name):
        await connected.connect(attempt=7)
    for worker in (first, second):
        with service.only(worker.name):
            with pytest.raises(RefusedError) as refusal:
                await Device(service.url, bob).connect(attempt=6)
            assert refusal.value.code == 4509
    await connected.ping()
    await connected.send("m-1", bob, "still served")
    await connected.receive(1)
    await connected.close()


async def test_after_the_connected_one_has_left_a_lower_attempt_is_welcome(
    service: Service, api: Api, bob: str
) -> None:
    phone = Device(service.url, bob)
    await phone.connect(attempt=7)
    await phone.close()

    async def gone() -> bool:
        return (await api.inbox(bob))["devices"][0]["worker"] is None

    await eventually_async(gone, "the claim is released")
    await phone.connect(attempt=3)
    await phone.close()


async def test_another_device_of_the_user_is_not_replaced(service: Service, bob: str) -> None:
    async with Device(service.url, bob, "phone") as phone, Device(service.url, bob, "laptop"):
        await phone.ping()


async def test_the_same_device_name_of_another_user_is_not_replaced(service: Service, bob: str, carol: str) -> None:
    async with Device(service.url, bob) as bobs, Device(service.url, carol) as carols:
        await bobs.ping()
        await carols.ping()


async def test_after_a_takeover_the_unacked_comes_to_the_newer_connection(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 6)
    older = Device(service.url, bob)
    await older.connect()
    await older.receive(6)
    await older.ack(cursors[3])
    await older.ping()
    newer = Device(service.url, bob)
    welcome = await newer.connect()
    assert welcome["cursor"] in cursors[:4] or welcome["cursor"] == "0-0"
    await newer.receive(6 - (cursors.index(welcome["cursor"]) + 1 if welcome["cursor"] != "0-0" else 0))
    assert newer.entries[-1]["cursor"] == cursors[-1]
    await older.wire.ended()
    await older.close()
    await newer.close()
