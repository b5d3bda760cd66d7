"""ack.lua: cursors forward, best and floor after them, and what the inbox may then let go."""

from collections.abc import AsyncIterator

import pytest

from scripts.lab.redis_server import RedisServer
from service.core.cursor import START, Cursor
from service.store.inbox import AckStatus
from tests.store.conftest import Store

MOVED, NOT_NEWER, BEYOND_LAST, FAILED = AckStatus


@pytest.fixture
async def exact(real_store: Store, redis_server: RedisServer) -> AsyncIterator[Store]:
    """A real server with stream nodes of one entry, so that `~` trims exactly (fakeredis then trims nothing)."""
    with redis_server.client() as client:
        client.config_set("stream-node-max-entries", 1)
        yield real_store
        client.config_set("stream-node-max-entries", 100)


async def ack(store: Store, cursor: Cursor, device: str = "phone", user: str = "bob") -> AckStatus:
    return (await store.inboxes.ack([(user, device, cursor)]))[0]


async def silent(store: Store, device: str, seconds: float) -> None:
    """As if the device had not been seen for so long, and nobody had looked since."""
    seen = int((await store.hash(store.keys.devices("bob")))[device])
    await store.do("HSET", store.keys.devices("bob"), device, seen - int(seconds * 1000))
    await store.do("HDEL", store.keys.state("bob"), "judged")


# Cursors.


async def test_an_ack_moves_the_stored_cursor_and_best_and_floor(store: Store) -> None:
    cursors = await store.fill(3)
    assert await ack(store, cursors[1]) is MOVED
    assert await store.hash(store.keys.cursors("bob")) == {"phone": str(cursors[1])}
    state = await store.state()
    assert (state["best"], state["floor"], state["devices"]) == (str(cursors[1]), str(cursors[1]), "1")


@pytest.mark.parametrize("at", (0, 1))
async def test_an_ack_that_is_not_newer_moves_nothing(store: Store, at: int) -> None:
    cursors = await store.fill(3)
    await ack(store, cursors[1])
    assert await ack(store, cursors[at]) is NOT_NEWER
    assert await store.hash(store.keys.cursors("bob")) == {"phone": str(cursors[1])}
    assert (await store.state())["floor"] == str(cursors[1])


async def test_cursors_compare_as_numbers_not_as_text(store: Store) -> None:
    await store.do("HSET", store.keys.state("bob"), "last", "1000-20")
    assert await ack(store, Cursor(999, 9)) is MOVED
    assert await ack(store, Cursor(1000, 10)) is MOVED
    assert await ack(store, Cursor(1000, 9)) is NOT_NEWER
    assert await ack(store, Cursor(1000, 20)) is MOVED


async def test_an_ack_beyond_the_newest_is_ignored(store: Store) -> None:
    last = (await store.fill(3))[-1]
    for beyond in (Cursor(last.ms, last.seq + 1), Cursor(last.ms + 1, last.seq), Cursor(last.ms + 1, 1)):
        assert await ack(store, beyond) is BEYOND_LAST
    assert await store.hash(store.keys.cursors("bob")) == {}
    assert "best" not in await store.state()


async def test_an_ack_of_an_inbox_never_used_is_beyond_its_newest(store: Store) -> None:
    assert await ack(store, Cursor(5, 1)) is BEYOND_LAST
    assert await store.do("EXISTS", store.keys.state("bob")) == 0


async def test_an_ack_shows_that_the_device_was_there(store: Store) -> None:
    cursors = await store.fill(1)
    for expected in (MOVED, NOT_NEWER):
        await store.do("HSET", store.keys.devices("bob"), "phone", 5)
        assert await ack(store, cursors[0]) is expected
        assert int((await store.hash(store.keys.devices("bob")))["phone"]) > 5


@pytest.mark.parametrize(("part", "written"), ((0.9, False), (1.1, True), (-1.0, True)))
async def test_when_a_device_was_last_seen_is_written_to_a_minute(store: Store, part: float, written: bool) -> None:
    """And at once where the clock was ahead."""
    long = store.limited(device_expiry=1e7)
    cursors = await long.fill(2)
    for cursor, expected in ((cursors[1], MOVED), (cursors[0], NOT_NEWER)):
        seconds, microseconds = await long.do("TIME")
        before = seconds * 1000 + microseconds // 1000 - int(part * 60_000)
        await long.do("HSET", long.keys.devices("bob"), "phone", before)
        assert await ack(long, cursor) is expected
        assert ((await long.hash(long.keys.devices("bob")))["phone"] != str(before)) is written


async def test_acks_of_several_users_in_one_call_are_answered_in_order(store: Store) -> None:
    bobs, carols = await store.fill(2, "bob"), await store.fill(2, "carol")
    acks = [
        ("bob", "phone", bobs[1]),
        ("carol", "phone", Cursor(carols[1].ms, 9)),
        ("bob", "phone", bobs[0]),
        ("carol", "laptop", carols[0]),
    ]
    assert await store.inboxes.ack(acks) == [MOVED, BEYOND_LAST, NOT_NEWER, MOVED]


async def test_an_ack_that_fails_harms_no_neighbour(store: Store) -> None:
    bobs, carols = await store.fill(1, "bob"), await store.fill(1, "carol")
    await store.do("DEL", store.keys.cursors("bob"))
    await store.do("SET", store.keys.cursors("bob"), "broken")
    acks = [("carol", "a", carols[0]), ("bob", "phone", bobs[0]), ("carol", "b", carols[0])]
    assert await store.inboxes.ack(acks) == [MOVED, FAILED, MOVED]


async def test_no_ack_is_no_trouble(store: Store) -> None:
    assert await store.inboxes.ack([]) == []


# Several devices.


async def test_best_is_the_furthest_and_floor_the_lowest_of_the_devices(store: Store) -> None:
    cursors = await store.fill(9)
    for device, at in (("phone", 4), ("laptop", 7), ("tablet", 2)):
        await ack(store, cursors[at], device)
    state = await store.state()
    assert (state["best"], state["floor"], state["devices"]) == (str(cursors[7]), str(cursors[2]), "3")


async def test_the_lowest_device_moves_the_floor_as_far_as_the_next_lowest(store: Store) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[4], "phone")
    await ack(store, cursors[6], "tablet")
    assert (await store.state())["floor"] == str(cursors[4])


async def test_a_device_that_is_not_the_lowest_leaves_the_floor(store: Store) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[4], "phone")
    await ack(store, cursors[8], "phone")
    state = await store.state()
    assert (state["floor"], state["best"]) == (str(cursors[2]), str(cursors[8]))


async def test_a_device_in_the_middle_leaves_best_and_floor(store: Store) -> None:
    cursors = await store.fill(9)
    for device, at in (("tablet", 1), ("phone", 7), ("laptop", 3), ("laptop", 5)):
        await ack(store, cursors[at], device)
    state = await store.state()
    assert (state["best"], state["floor"]) == (str(cursors[7]), str(cursors[1]))


async def test_two_devices_at_the_same_cursor_are_both_the_lowest(store: Store) -> None:
    cursors = await store.fill(4)
    await ack(store, cursors[1], "phone")
    await ack(store, cursors[1], "laptop")
    await ack(store, cursors[3], "phone")
    assert (await store.state())["floor"] == str(cursors[1])
    await ack(store, cursors[2], "laptop")
    assert (await store.state())["floor"] == str(cursors[2])


async def test_a_registered_device_that_has_acked_nothing_holds_the_floor(store: Store) -> None:
    cursors = await store.fill(4)
    await store.presence.register("bob", "tablet")
    await ack(store, cursors[3], "phone")
    assert (await store.state())["floor"] == str(START)


# Losing one's say.


@pytest.mark.parametrize("above", (False, True), ids=("level", "above"))
async def test_a_device_silent_for_too_long_no_longer_holds_the_floor(store: Store, above: bool) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[4 if above else 2], "phone")
    await silent(store, "tablet", store.limits.device_expiry + 1)
    await ack(store, cursors[6], "phone")
    state = await store.state()
    assert (state["floor"], state["devices"]) == (str(cursors[6]), "1")


@pytest.mark.parametrize("above", (False, True), ids=("level", "above"))
async def test_a_device_too_far_behind_no_longer_holds_the_floor(store: Store, above: bool) -> None:
    cursors = await store.fill(9)
    small = store.limited(max_pending=5)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[3 if above else 2], "phone")
    await ack(small, cursors[7], "phone")
    assert (await store.state())["floor"] == str(cursors[7])


async def test_a_device_exactly_the_limit_behind_still_holds_the_floor(store: Store) -> None:
    cursors = await store.fill(9)
    small = store.limited(max_pending=6)
    await ack(small, cursors[2], "tablet")
    await ack(small, cursors[7], "phone")
    assert (await store.state())["floor"] == str(cursors[2])


async def test_a_device_that_comes_back_has_its_say_again(store: Store) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[4], "phone")
    await silent(store, "tablet", store.limits.device_expiry + 1)
    await ack(store, cursors[6], "phone")
    await ack(store, cursors[3], "tablet")
    state = await store.state()
    assert (state["floor"], state["devices"]) == (str(cursors[3]), "2")


async def test_a_silent_device_that_only_repeats_its_ack_has_its_say_again(store: Store) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[2], "tablet")
    await ack(store, cursors[4], "phone")
    await silent(store, "tablet", store.limits.device_expiry + 1)
    await ack(store, cursors[6], "phone")
    assert await ack(store, cursors[2], "tablet") is NOT_NEWER
    await ack(store, cursors[7], "phone")
    assert (await store.state())["floor"] == str(cursors[2])


async def test_with_no_device_left_that_has_a_say_the_floor_stays(store: Store) -> None:
    cursors = await store.fill(9)
    await ack(store, cursors[3], "phone")
    small = store.limited(max_pending=2)
    await ack(small, cursors[4], "phone")  # still more than two behind
    assert (await store.state())["floor"] == str(cursors[3])


# Trimming.


async def test_what_every_device_has_acked_is_trimmed_to_the_history(exact: Store) -> None:
    small = exact.limited(history=3)
    cursors = await small.fill(10)
    await ack(small, cursors[9])
    assert await small.entries() == [str(cursor) for cursor in cursors[7:]]


async def test_what_some_device_has_not_acked_is_kept(exact: Store) -> None:
    small = exact.limited(history=3)
    cursors = await small.fill(10)
    await ack(small, cursors[1], "tablet")
    await ack(small, cursors[9], "phone")
    assert await small.entries() == [str(cursor) for cursor in cursors[2:]]
    await ack(small, cursors[4], "tablet")
    assert await small.entries() == [str(cursor) for cursor in cursors[5:]]


async def test_a_history_longer_than_what_waits_is_kept_too(exact: Store) -> None:
    small = exact.limited(history=8)
    cursors = await small.fill(10)
    await ack(small, cursors[6])
    assert await small.entries() == [str(cursor) for cursor in cursors[2:]]


async def test_how_far_it_may_be_trimmed_is_noted_and_never_goes_back(exact: Store) -> None:
    small = exact.limited(history=2)
    cursors = await exact.fill(9)
    await ack(small, cursors[4])
    assert (await exact.state())["trimmed"] == "5"
    await ack(small, cursors[8])
    assert (await exact.state())["trimmed"] == "7", "the history stays"
    await exact.fill(3, prefix="g")
    await exact.presence.register("bob", "tablet")
    await ack(small, Cursor(cursors[7].ms, 8), "tablet")
    assert (await exact.state())["trimmed"] == "8"
    assert Cursor.parse((await exact.entries())[0]).seq == 9


async def test_of_a_long_history_a_tenth_is_let_go_at_once(exact: Store) -> None:
    store = exact.limited(history=50)
    await ack(store, (await store.fill(70))[-1])
    assert ((await store.state())["trimmed"], len(await store.entries())) == ("20", 50)
    await ack(store, (await store.fill(4, prefix="g"))[-1])
    assert ((await store.state())["trimmed"], len(await store.entries())) == ("20", 54)
    await ack(store, (await store.fill(1, prefix="h"))[-1])
    assert ((await store.state())["trimmed"], len(await store.entries())) == ("25", 50)


async def test_however_much_may_go_it_goes_at_once(exact: Store) -> None:
    """By itself the server lets go of a hundred nodes in one call."""
    small = exact.limited(history=10)
    await ack(small, (await small.fill(250))[-1])
    assert len(await small.entries()) == 10


async def test_the_newest_entry_is_never_trimmed(exact: Store) -> None:
    least = exact.limited(history=1)
    for n in range(3):
        [cursor] = await least.fill(1, prefix=f"{n}-")
        await ack(least, cursor)
        assert await least.entries() == [str(cursor)]


async def test_a_device_that_lost_its_say_no_longer_keeps_the_inbox_from_being_trimmed(exact: Store) -> None:
    small = exact.limited(history=1)
    cursors = await small.fill(10)
    await ack(small, cursors[1], "tablet")
    await ack(small, cursors[5], "phone")
    await silent(small, "tablet", small.limits.device_expiry + 1)
    await ack(small, cursors[8], "phone")
    assert await small.entries() == [str(cursors[9])]


async def test_in_nodes_of_the_default_size_nothing_unacked_is_ever_trimmed(real_store: Store) -> None:
    small = real_store.limited(history=1)
    cursors = await small.fill(350)
    await ack(small, cursors[220])
    kept = await small.entries()
    assert kept[-129:] == [str(cursor) for cursor in cursors[221:]]
    assert len(kept) < 350


# Acks of devices that nobody watches.


async def test_a_position_that_exists_is_acked(store: Store) -> None:
    cursors = await store.fill(3)
    assert await store.inboxes.ack_position("bob", "phone", cursors[1]) == (MOVED, None)
    assert await store.hash(store.keys.cursors("bob")) == {"phone": str(cursors[1])}


@pytest.mark.parametrize("removed", ((0, 1), (1, 2)))
async def test_the_position_of_an_entry_that_is_missing_is_acked_as_a_gap_names_it(
    store: Store, removed: tuple[int, int]
) -> None:
    cursors = await store.fill(4)
    for number in removed:
        await store.do("XDEL", store.keys.inbox("bob"), str(cursors[number]))
    gap = Cursor(cursors[removed[1] + 1].ms, cursors[removed[1]].seq)
    assert await store.inboxes.ack_position("bob", "phone", gap) == (MOVED, None)
    assert await store.hash(store.keys.cursors("bob")) == {"phone": str(gap)}


@pytest.mark.parametrize("seq", (1, 2, 3, 999_999))
async def test_a_position_of_a_lost_history_or_a_made_up_one_acks_nothing_that_was_not_sent(
    store: Store, seq: int
) -> None:
    """As after a failover: the device had other entries with these numbers."""
    [first] = await store.fill(1)
    await store.do("HSET", store.keys.state("bob"), "last", f"{first.ms + 50}-1")
    await store.send("later")
    assert await store.inboxes.ack_position("bob", "phone", Cursor(first.ms + 10, seq)) == (NOT_NEWER, None)
    assert await store.hash(store.keys.cursors("bob")) == {}


async def test_a_position_beyond_the_newest_is_told(store: Store) -> None:
    cursors = await store.fill(1)
    beyond = Cursor(cursors[0].ms + 1, 1)
    assert await store.inboxes.ack_position("bob", "phone", beyond) == (BEYOND_LAST, None)


async def test_the_newest_position_can_be_acked_when_its_entry_is_gone(store: Store) -> None:
    cursors = await store.fill(2)
    await store.do("DEL", store.keys.inbox("bob"))
    assert await store.inboxes.ack_position("bob", "phone", cursors[1]) == (MOVED, None)
    assert await store.hash(store.keys.cursors("bob")) == {"phone": str(cursors[1])}


async def test_a_position_below_everything_kept_is_not_newer(store: Store) -> None:
    await store.fill(2)
    assert await store.inboxes.ack_position("bob", "phone", Cursor(5, 1)) == (NOT_NEWER, None)
