"""Acks and the window: what an ack may say, what it moves, how much is under way without one."""

import asyncio
from collections.abc import Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.rules import MAX_IN_FLIGHT


async def stored(api: Api, device: Device, cursor: str) -> None:
    """Waits until the service keeps this cursor for a device."""

    async def probe() -> bool:
        return await api.stored(device.user, device.name) == cursor

    await eventually_async(probe, f"{cursor} is stored for {device.name}")
    device.confirmed = max(device.confirmed, Cursor.parse(cursor))


# What an ack moves


async def test_an_ack_is_stored_and_what_it_covers_does_not_come_again(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    async with Device(service.url, bob) as phone:
        await phone.receive(5)
        await phone.ack(cursors[2])
        await stored(api, phone, cursors[2])
    assert (await phone.connect())["cursor"] == cursors[2]
    entries = await phone.receive(2)
    await phone.go_live()
    assert [entry["cursor"] for entry in entries] == cursors[3:]
    await phone.close()


async def test_what_is_not_acked_comes_again_on_every_connection(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    phone = Device(service.url, bob)
    for _ in range(3):
        await phone.connect()
        assert [entry["cursor"] for entry in await phone.receive(3)] == cursors
        await phone.close()


async def test_an_ack_covers_everything_before_it(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 20)
    async with Device(service.url, bob) as phone:
        await phone.receive(20)
        await phone.ack(cursors[-1])
        await stored(api, phone, cursors[-1])
        assert (await api.inbox(bob))["pending"] == 0


async def test_an_ack_of_less_moves_nothing_back(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    async with Device(service.url, bob) as phone:
        await phone.receive(5)
        await phone.ack(cursors[3])
        await stored(api, phone, cursors[3])
        for cursor in (cursors[0], "0-0", cursors[3]):
            await phone.ack(cursor)
        await phone.ping()
        await phone.ack(cursors[4])
        await stored(api, phone, cursors[4])


async def test_acks_are_kept_when_the_connection_is_closed_right_after(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    phone = Device(service.url, bob)
    await phone.connect()
    await phone.receive(5)
    await phone.ack()
    await phone.close()
    await stored(api, phone, cursors[-1])


async def test_the_cursor_of_welcome_may_be_acked(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    async with Device(service.url, bob) as phone:
        await phone.receive(3)
        await phone.ack()
        await stored(api, phone, cursors[-1])
    welcome = await phone.connect()
    await phone.ack(welcome["cursor"])
    await phone.ping()
    await phone.close()


async def test_each_device_has_a_cursor_of_its_own(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 4)
    async with Device(service.url, bob, "phone") as phone, Device(service.url, bob, "laptop") as laptop:
        await phone.receive(4)
        await laptop.receive(4)
        await phone.ack(cursors[3])
        await laptop.ack(cursors[0])
        await stored(api, phone, cursors[3])
        await stored(api, laptop, cursors[0])
        view = await api.inbox(bob)
        assert {row["device"]: row["behind"] for row in view["devices"]} == {"phone": 0, "laptop": 3}
        assert (view["pending"], view["floor"]) == (0, cursors[0])


# What an ack may not say


@pytest.mark.parametrize("beyond", ("next", "far"))
async def test_an_ack_beyond_what_was_sent_ends_the_connection(
    service: Service, api: Api, bob: str, beyond: str
) -> None:
    cursors = await api.fill(bob, 3)
    async with Device(service.url, bob) as phone:
        await phone.receive(3)
        last = Cursor.parse(cursors[-1])
        cursor = Cursor(last.ms, last.seq + 1) if beyond == "next" else Cursor(last.ms + 10**9, 1)
        await phone.ack(cursor)
        assert await phone.wire.ended() == 4500
        assert [frame["code"] for frame in phone.wire.of("error")] == ["ack_beyond_sent"]
        assert phone.wire.close_reason == "ack_beyond_sent"
        assert await api.stored(bob, "phone") == "0-0"


async def test_what_is_in_the_inbox_but_was_not_sent_cannot_be_acked(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 10)
    phone = Device(service.url, bob)
    await phone.connect(window=2)
    await phone.receive(2)
    await phone.ack(cursors[5])
    assert await phone.wire.ended() == 4500
    await phone.close()


@pytest.mark.parametrize(
    "frame",
    (
        {"type": "ack"},
        {"type": "ack", "cursor": 1},
        {"type": "ack", "cursor": None},
        {"type": "ack", "cursor": ""},
        {"type": "ack", "cursor": "1"},
        {"type": "ack", "cursor": "1-1-1"},
        {"type": "ack", "cursor": "-1-1"},
        {"type": "ack", "cursor": "0-0", "more": 1},
    ),
)
async def test_an_ack_at_fault_ends_the_connection(service: Service, bob: str, frame: dict[str, object]) -> None:
    async with Device(service.url, bob) as phone:
        await phone.wire.send(frame)
        assert await phone.wire.ended() == 4500
        assert [error["code"] for error in phone.wire.of("error")] == ["invalid_field"]


# The window


@pytest.mark.parametrize("window", (1, 7, 256))
async def test_without_acks_exactly_a_window_of_entries_comes(
    service: Service, api: Api, bob: str, window: int
) -> None:
    await api.fill(bob, 300)
    phone = Device(service.url, bob)
    await phone.connect(window=window)
    await phone.receive(window)
    await api.send(bob, "one more, so that something happens")
    await settle(phone)
    assert len(phone.entries) == window
    await phone.close()


async def settle(phone: Device) -> None:
    """Several answers of the service and two audits later: what it meant to send is here."""
    for _ in range(3):
        await phone.ping()
    pings = phone.wire.pings
    await phone.wire.until(lambda: phone.wire.pings > pings or None, "another ping of the service")


async def test_every_ack_lets_as_many_entries_through_as_it_covers(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 20)
    phone = Device(service.url, bob)
    await phone.connect(window=4)
    await phone.receive(4)
    for acked, expected in ((0, 5), (3, 8), (5, 10), (9, 14)):
        await phone.ack(cursors[acked])
        await phone.receive(expected)
    await settle(phone)
    assert len(phone.entries) == 14
    await phone.close()


async def test_a_window_of_one_reads_a_whole_inbox(service: Service, api: Api, bob: str) -> None:
    await api.fill(bob, 50)
    phone = Device(service.url, bob)
    phone.acking = True
    await phone.connect(window=1)
    await phone.receive(50)
    await phone.go_live()
    assert phone.rules.most_in_flight == 1
    await phone.close()


async def test_live_entries_are_held_to_the_window_too(service: Service, api: Api, bob: str) -> None:
    phone = Device(service.url, bob)
    await phone.connect(window=3)
    await phone.go_live()
    await api.fill(bob, 10)
    await phone.receive(3)
    await settle(phone)
    assert len(phone.entries) == 3
    await phone.ack()
    assert [entry["body"] for entry in (await phone.receive(6))[3:]] == [4, 5, 6]
    await phone.ack()
    await phone.receive(9)
    await phone.ack()
    await phone.receive(10)
    await phone.close()


async def test_no_more_than_a_mebibyte_is_under_way(service: Service, api: Api, bob: str) -> None:
    body = "x" * 60_000
    for number in range(30):
        await api.send(bob, body, f"m{number}")
    phone = Device(service.url, bob)
    await phone.connect(window=1024)
    expected = MAX_IN_FLIGHT // 60_300
    await phone.receive(expected)
    await settle(phone)
    assert expected <= len(phone.entries) <= MAX_IN_FLIGHT // 60_000
    while len(phone.entries) < 30:
        before = len(phone.entries)
        await phone.ack()
        await phone.receive(before + 1)
    await phone.close()


async def test_small_and_large_entries_share_the_mebibyte(service: Service, api: Api, bob: str) -> None:
    for number in range(120):
        await api.send(bob, "x" * (60_000 if number % 3 == 0 else 3), f"m{number}")
    phone = Device(service.url, bob)
    phone.acking = True
    await phone.connect(window=1024)
    await phone.receive(120)
    await phone.close()


async def test_who_does_not_ack_is_not_disconnected_and_others_are_served(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    await api.fill(bob, 300)
    async with Device(service.url, bob) as silent, Device(service.url, carol) as other:
        await silent.receive(256)
        await api.fill(carol, 100)
        await other.receive(100)
        await settle(silent)
        assert silent.wire.is_open
        assert len(silent.entries) == 256


@pytest.fixture(scope="module")
def large(serve: Callable[..., Service]) -> Service:
    """Takes bodies larger than what may be under way."""
    return serve(max_body=3_000_000, max_frame=4_000_000, workers=1)


async def test_an_entry_larger_than_the_whole_window_comes_alone(
    large: Service, alice: str, bob: str, carol: str
) -> None:
    async with Api(large.url, alice) as api, Device(large.url, bob) as phone:
        for number in range(3):
            await api.send(bob, "x" * 2_000_000, f"m{number}")
        for count in (1, 2, 3):
            await phone.receive(count)
            await asyncio.sleep(0)
            assert len(phone.entries) == count
            await phone.ack()
