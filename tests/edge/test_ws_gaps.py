"""Gaps: what will not come is told, in its place, with its number and reason. Never silently."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device

HISTORY = 10
PENDING = 400


@pytest.fixture(scope="module")
def short(serve: Callable[..., Service]) -> Service:
    """Keeps little of what was acked, so that inboxes are trimmed."""
    # Receipts hold entries back for a moment, and what a test has counted would be trimmed behind its back.
    return serve(history=HISTORY, max_pending=PENDING, receipts=False)


@pytest.fixture
async def shorts(short: Service, alice: str) -> AsyncIterator[Api]:
    """Requests in Alice's name to the service that keeps little."""
    async with Api(short.url, alice) as api:
        yield api


async def trimmed(service: Service, api: Api, user: str, count: int = 1000) -> list[str]:
    """An inbox whose oldest entries are gone: one device has acked all. The cursors of all entries."""
    cursors: list[str] = []
    async with Device(service.url, user, "quick") as quick:
        for start in range(0, count, 200):
            cursors += await api.fill(user, 200, prefix=f"p{start}-")
            await quick.receive(len(cursors))
            await ack(api, quick, cursors[-1])
    assert (await api.inbox(user))["length"] < count, "nothing was trimmed: the test proves nothing"
    return cursors


async def ack(api: Api, device: Device, cursor: str) -> None:
    """Acks, and waits until that is stored."""
    await device.ack(cursor)

    async def stored() -> bool:
        return await api.stored(device.user, device.name) == cursor

    await eventually_async(stored, f"{cursor} is stored for {device.name}")


# Trimmed


async def test_a_device_with_a_cursor_before_the_oldest_entry_gets_a_gap(short: Service, shorts: Api, bob: str) -> None:
    cursors = await trimmed(short, shorts, bob)
    kept = (await shorts.inbox(bob))["length"]
    phone = Device(short.url, bob, "old")
    phone.acking = True
    await phone.connect(cursor=cursors[4])
    await phone.go_live()
    gap, *entries = phone.entries
    assert (gap["type"], gap["reason"], gap["after"]) == ("gap", "trimmed", cursors[4])
    assert gap["missing"] == len(cursors) - kept - 5
    assert Cursor.parse(gap["cursor"]).seq == len(cursors) - kept
    assert [entry["cursor"] for entry in entries] == cursors[-kept:]
    await phone.close()


async def test_a_gap_can_be_acked(short: Service, shorts: Api, bob: str) -> None:
    cursors = await trimmed(short, shorts, bob)
    phone = Device(short.url, bob, "old")
    await phone.connect(cursor=cursors[4], window=1)
    (gap,) = await phone.receive(1)
    assert gap["type"] == "gap"
    await ack(shorts, phone, gap["cursor"])
    await phone.receive(2)
    await phone.close()
    welcome = await phone.connect()
    assert welcome["cursor"] == gap["cursor"]
    assert (await phone.receive(1))[0]["type"] == "message", "an acked gap is not told again"
    await phone.close()


async def test_a_gap_counts_in_the_window(short: Service, shorts: Api, bob: str) -> None:
    cursors = await trimmed(short, shorts, bob)
    phone = Device(short.url, bob, "old")
    await phone.connect(cursor=cursors[4], window=2)
    await phone.receive(2)
    await phone.ping()
    pings = phone.wire.pings
    await phone.wire.until(lambda: phone.wire.pings > pings or None, "a ping of the service")
    assert [entry["type"] for entry in phone.entries] == ["gap", "message"]
    await phone.close()


async def test_a_new_device_begins_at_the_oldest_entry_kept_without_a_gap(
    short: Service, shorts: Api, bob: str
) -> None:
    cursors = await trimmed(short, shorts, bob)
    kept = (await shorts.inbox(bob))["length"]
    phone = Device(short.url, bob, "new")
    phone.acking = True
    async with phone:
        await phone.go_live()
        assert [entry["cursor"] for entry in phone.entries] == cursors[-kept:]


async def test_the_newest_entry_is_never_trimmed(short: Service, shorts: Api, bob: str) -> None:
    cursors = await trimmed(short, shorts, bob)
    view = await shorts.inbox(bob)
    assert view["length"] >= HISTORY
    assert view["last"] == cursors[-1]


async def test_what_a_live_device_has_not_acked_is_not_trimmed(short: Service, shorts: Api, bob: str) -> None:
    slow = Device(short.url, bob, "slow")
    await slow.connect()
    await slow.close()
    async with Device(short.url, bob, "quick") as quick:
        cursors = await shorts.fill(bob, 250)
        await quick.receive(250)
        await ack(shorts, quick, cursors[-1])
    assert (await shorts.inbox(bob))["length"] == 250
    slow.acking = True
    await slow.connect()
    await slow.go_live()
    assert [entry["cursor"] for entry in slow.entries] == cursors
    await slow.close()


async def test_a_device_too_far_behind_a_sibling_is_told_when_it_returns(short: Service, shorts: Api, bob: str) -> None:
    async with Device(short.url, bob, "slow"):
        pass
    cursors = await trimmed(short, shorts, bob)
    slow = Device(short.url, bob, "slow")
    slow.acking = True
    assert (await slow.connect())["cursor"] == "0-0"
    await slow.go_live()
    gap, *entries = slow.entries
    assert (gap["reason"], gap["after"]) == ("trimmed", "0-0")
    assert entries[-1]["cursor"] == cursors[-1]
    await slow.close()


# Expired


async def expire(api: Api, user: str, sent: dict[str, Any]) -> None:
    """Waits until a message sent with `expires_in` of a second is not shown any more."""

    async def over() -> bool:
        response = await api.http.get(
            "/v1/inbox", params={"device": "watcher", "after": "0-0"}, headers={"X-Inboxd-User": user}
        )
        return sent["id"] not in {entry.get("id") for entry in response.json()["entries"]}

    await eventually_async(over, "the message expires")


async def test_an_expired_message_is_replaced_by_a_gap(service: Service, api: Api, bob: str) -> None:
    first = (await api.send(bob, 1))["recipients"][0]["cursor"]
    brief = await api.send(bob, "brief", "brief", expires_in=1)
    last = (await api.send(bob, 3))["recipients"][0]["cursor"]
    await expire(api, bob, brief)
    async with Device(service.url, bob) as phone:
        await phone.go_live()
        before, gap, after = phone.entries
        assert (before["cursor"], after["cursor"]) == (first, last)
        assert gap == {
            "type": "gap",
            "after": first,
            "cursor": brief["recipients"][0]["cursor"],
            "missing": 1,
            "reason": "expired",
        }


async def test_before_it_expires_a_message_is_delivered(service: Service, api: Api, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        await phone.go_live()
        await api.send(bob, "brief", "brief", expires_in=1)
        assert (await phone.receive(1))[0]["id"] == "brief"


async def test_many_expired_in_a_row_are_told_without_a_hole(service: Service, api: Api, bob: str) -> None:
    sent = [await api.send(bob, number, f"m{number}", expires_in=1) for number in range(10)][-1]
    await api.send(bob, "stays", "stays")
    await expire(api, bob, sent)
    phone = Device(service.url, bob)
    phone.acking = True
    await phone.connect(window=2)
    await phone.go_live()
    *gaps, entry = phone.entries
    assert sum(gap["missing"] for gap in gaps) == 10
    assert {gap["reason"] for gap in gaps} == {"expired"}
    assert entry["id"] == "stays"
    await phone.close()


async def test_the_newest_message_may_expire_and_the_device_goes_live_and_on(
    service: Service, api: Api, bob: str
) -> None:
    sent = await api.send(bob, "brief", "brief", expires_in=1)
    await expire(api, bob, sent)
    async with Device(service.url, bob) as phone:
        live = await phone.go_live()
        assert live["cursor"] == sent["recipients"][0]["cursor"]
        await phone.ack()
        await api.send(bob, "next", "next")
        assert (await phone.receive(2))[-1]["id"] == "next"


async def test_a_repeat_of_an_expired_message_gets_the_first_answer(api: Api, bob: str) -> None:
    sent = await api.send(bob, "brief", "brief", expires_in=1)
    await expire(api, bob, sent)
    assert await api.send(bob, "brief", "brief", expires_in=1) == {**sent, "duplicate": True}


# Rewound: the server lost what devices had seen


def lose_tail(service: Service, user: str, keep: int, cursors: list[str]) -> None:
    """Makes the server forget every entry behind the first `keep`, as a restored backup would.

    Devices' cursors go back too: they cannot be beyond what exists.
    """
    last = cursors[keep - 1]
    with service.store() as store:
        for cursor in cursors[keep:]:
            assert store.xdel(f"chat:inbox:{{{user}}}", cursor) == 1
        state = f"chat:state:{{{user}}}"
        store.hset(state, "last", last)
        for field in ("best", "floor"):
            was = store.hget(state, field)
            if was and Cursor.parse(was) > Cursor.parse(last):
                store.hset(state, field, last)
        for device, cursor in store.hgetall(f"chat:cursors:{{{user}}}").items():
            if Cursor.parse(cursor) > Cursor.parse(last):
                store.hset(f"chat:cursors:{{{user}}}", device, last)


async def test_a_cursor_the_server_does_not_know_is_told_by_a_rewound_gap(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 10)
    lose_tail(service, bob, 6, cursors)
    phone = Device(service.url, bob)
    welcome = await phone.connect(cursor=cursors[-1])
    gap = (await phone.receive(1))[0]
    assert (gap["type"], gap["reason"], gap["missing"]) == ("gap", "rewound", None)
    assert gap["after"] == cursors[-1]
    assert gap["cursor"] == welcome["cursor"]
    await phone.go_live()
    assert (await api.send(bob, "new", "new"))["recipients"][0]["cursor"].endswith("-7")
    entries = await phone.wire.until(
        lambda: phone.entries if phone.entries[-1].get("id") == "new" else None, "the new message"
    )
    start = Cursor.parse(gap["cursor"]).seq
    assert [Cursor.parse(entry["cursor"]).seq for entry in entries[1:]] == list(range(start + 1, 8))
    await phone.close()


async def test_a_number_given_out_again_to_another_message_is_not_taken_for_the_old_one(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 5)
    lose_tail(service, bob, 3, cursors)
    await api.fill(bob, 4, prefix="new")
    phone = Device(service.url, bob)
    await phone.connect(cursor=cursors[4])
    await phone.go_live()
    assert phone.entries[0]["reason"] == "rewound"
    assert [entry["id"] for entry in phone.entries[1:]][-4:] == ["new1", "new2", "new3", "new4"]
    await phone.close()


async def test_a_connected_device_is_told_when_history_is_lost_under_it(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 8)
    async with Device(service.url, bob) as phone:
        await phone.go_live()
        lose_tail(service, bob, 5, cursors)
        await phone.wire.until(lambda: phone.rules.rewound or None, "the audit notices")
        assert phone.entries[8]["after"] == cursors[-1]
        await api.send(bob, "new", "new")
        await phone.wire.until(lambda: phone.entries[-1].get("id") == "new" or None, "the new message")


async def test_acks_of_what_was_sent_before_a_rewind_are_ignored(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 8)
    async with Device(service.url, bob) as phone:
        await phone.go_live()
        lose_tail(service, bob, 5, cursors)
        await phone.wire.until(lambda: phone.rules.rewound or None, "the audit notices")
        await phone.ack(cursors[-1])
        await phone.ping()
        assert phone.wire.is_open, "not an ack_beyond_sent"
        assert Cursor.parse(await api.stored(bob, "phone")) <= Cursor.parse(cursors[4])


async def test_a_cursor_from_the_future_is_rewound_too(service: Service, api: Api, bob: str) -> None:
    cursors = await api.fill(bob, 3)
    last = Cursor.parse(cursors[-1])
    phone = Device(service.url, bob)
    await phone.connect(cursor=str(Cursor(last.ms + 10**9, 99)))
    await phone.go_live()
    assert phone.entries[0]["reason"] == "rewound"
    assert [entry["cursor"] for entry in phone.entries[1:]] == cursors
    await phone.close()


async def test_a_cursor_of_another_time_with_a_known_number_is_rewound_too(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 3)
    second = Cursor.parse(cursors[1])
    phone = Device(service.url, bob)
    await phone.connect(cursor=str(Cursor(second.ms - 1000, second.seq)))
    await phone.go_live()
    assert phone.entries[0]["reason"] == "rewound"
    assert [entry["cursor"] for entry in phone.entries[1:]] == cursors
    await phone.close()


async def test_the_long_poll_tells_a_rewind_as_well(service: Service, api: Api, bobs: Api, bob: str) -> None:
    cursors = await api.fill(bob, 5)
    lose_tail(service, bob, 3, cursors)
    page = await bobs.get("/v1/inbox", device="poll", after=cursors[-1])
    assert page["entries"][0]["type"] == "gap"
    assert page["entries"][0]["reason"] == "rewound"
    assert [entry["cursor"] for entry in page["entries"][1:]][-3:] == cursors[:3]
