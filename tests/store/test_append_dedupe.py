"""append.lua: repeats. An id is known for one to two windows, in two hashes that take turns."""

import itertools
from collections.abc import Awaitable, Callable

import pytest

from scripts.lab.timing import UNIT, eventually_async
from service.core.sending import AppendStatus
from tests.store.conftest import Store, accepted, message

APPENDED, DUPLICATE, REUSED, FULL, LEFT_OUT, FAILED, BEHIND, BLOCKED, *_ = AppendStatus
Aged = Callable[..., Awaitable[None]]
WINDOW = 60_000
"""Milliseconds, as in the limits of these tests."""


async def current(store: Store) -> dict[str, str]:
    """The hash that takes new ids."""
    return await store.hash(store.keys.seen("bob", (await store.state())["seen"]))


async def older(store: Store) -> dict[str, str]:
    """The other one."""
    return await store.hash(store.keys.seen("bob", "ba"["ab".index((await store.state())["seen"])]))


async def test_a_repeat_gets_the_first_cursor_and_makes_no_entry(store: Store) -> None:
    first = await store.send("m1")
    await store.send("m2")
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)
    assert len(await store.entries()) == 2


async def test_a_repeat_writes_something_so_that_waiting_for_durability_proves_something(store: Store) -> None:
    await store.send()
    for _ in range(3):
        await store.send()
    assert (await store.state())["repeats"] == "3"


async def test_the_same_id_with_another_body_is_refused(store: Store) -> None:
    await store.send("m1", print="p1")
    reused = await store.send("m1", print="p2")
    assert (reused.status, reused.cursor) == (REUSED, None)
    assert len(await store.entries()) == 1


async def test_ids_of_different_senders_are_different(store: Store) -> None:
    await store.send("m1", sender="alice")
    assert (await store.send("m1", sender="carol", print="p2")).status is APPENDED


async def test_only_new_recipients_of_a_repeat_get_it(store: Store) -> None:
    [[first]] = await store.append([message("m1", "bob")], own_copy=False)
    [results] = await store.append([message("m1", "bob", "carol")], own_copy=False)
    assert [result.status for result in results] == [DUPLICATE, APPENDED]
    assert results[0].cursor == first.cursor


async def test_another_body_is_refused_by_those_alone_who_have_the_first(store: Store) -> None:
    await store.send("m1", print="p1")
    [results] = await store.append([message("m1", "bob", "carol", print="p2")], own_copy=False)
    assert [result.status for result in results] == [REUSED, APPENDED]


async def test_an_operator_can_read_what_was_seen(store: Store) -> None:
    cursor = accepted(await store.send("m1", print="p1"))
    assert await current(store) == {"m/alice/m1": f"{cursor} p1"}
    state = await store.state()
    assert (state["older"], state["turned"]) == ("0", str(cursor.ms))


# The turn.


async def test_after_a_window_the_other_hash_takes_over_and_the_older_still_counts(store: Store, aged: Aged) -> None:
    first = await store.send("m1")
    await aged(WINDOW)
    await store.send("m2")
    assert (await store.state())["older"] == "1"
    assert list(await older(store)) == ["m/alice/m1"]
    assert list(await current(store)) == ["m/alice/m2"]
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)
    assert (await store.send("m1", print="p2")).status is REUSED


async def test_a_repeat_at_the_turn_itself_is_still_a_repeat(store: Store, aged: Aged) -> None:
    first = await store.send("m1")
    await aged(WINDOW)
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_after_two_turns_an_id_is_forgotten(store: Store, aged: Aged) -> None:
    await store.send("m1")
    await aged(WINDOW)
    await store.send("m2")
    await aged(WINDOW)
    await store.send("m3")
    assert list(await current(store)) == ["m/alice/m3"]
    assert (await store.send("m2")).status is DUPLICATE
    assert (await store.send("m1")).status is APPENDED


async def test_after_two_windows_without_a_message_both_hashes_are_forgotten(store: Store, aged: Aged) -> None:
    await store.send("m1")
    await aged(WINDOW)
    await store.send("m2")
    await aged(2 * WINDOW)
    assert (await store.send("m2")).status is APPENDED
    assert (await store.state())["older"] == "0"
    assert (await store.send("m1")).status is APPENDED
    assert await older(store) == {}


@pytest.mark.parametrize("after_turn", (0, WINDOW // 2, WINDOW - 1000))
@pytest.mark.parametrize("later", (1000, WINDOW // 2, WINDOW - 1000))
async def test_an_id_is_known_for_a_whole_window_wherever_the_turn_falls(
    store: Store, aged: Aged, after_turn: int, later: int
) -> None:
    await store.send("m0")
    await aged(after_turn)
    first = await store.send("m1")
    await aged(later)
    await store.send("m2")  # turns, where a turn is due
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_the_hashes_leave_by_themselves_where_nobody_sends_any_more(store: Store) -> None:
    await store.send()
    seen = store.keys.seen("bob", (await store.state())["seen"])
    assert 2 * WINDOW / 1000 <= await store.do("TTL", seen) <= 2 * WINDOW / 1000 + 1


async def test_a_refused_message_does_not_turn_a_full_inboxs_hashes_into_forgetting(store: Store, aged: Aged) -> None:
    small = store.limited(max_pending=2)
    first = await small.send("m1")
    await small.send("m2")
    await aged(WINDOW)
    assert (await small.send("m3")).status is FULL
    again = await small.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_an_older_repeat_is_answered_though_the_inbox_is_full(store: Store, aged: Aged) -> None:
    small = store.limited(max_pending=2)
    first = await small.send("m1")
    await aged(WINDOW)
    await small.send("m2")
    again = await small.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_a_failed_append_at_the_turn_forgets_nothing_of_the_last_window(store: Store, aged: Aged) -> None:
    first = await store.send("m1")
    await aged(WINDOW)
    await store.do("RENAME", store.keys.inbox("bob"), "{bob}aside")
    await store.do("SET", store.keys.inbox("bob"), "not a stream")
    assert (await store.send("m2")).status is FAILED
    await store.do("RENAME", "{bob}aside", store.keys.inbox("bob"))
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)
    assert (await store.send("m2")).status is APPENDED


@pytest.mark.parametrize("turns", (0, 1))
async def test_a_state_deleted_by_hand_does_not_make_a_repeat_new(store: Store, aged: Aged, turns: int) -> None:
    for turn in range(turns):
        await store.send(f"t{turn}")
        await aged(WINDOW)
    first = await store.send("m1")
    await store.do("DEL", store.keys.state("bob"))
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_with_a_tiny_window_the_turns_happen_by_themselves(real_store: Store) -> None:
    tiny = real_store.limited(dedupe_window=0.05 * UNIT)
    first = await tiny.send("m0")
    sent = iter(range(1, 1_000_000))
    turns = [(await tiny.state())["seen"]]

    async def turned_twice() -> bool:
        await tiny.send(f"m{next(sent)}")
        turns.append((await tiny.state())["seen"])
        return sum(before != after for before, after in itertools.pairwise(turns)) >= 2

    await eventually_async(turned_twice, "two turns")
    again = await tiny.send("m0")
    assert again.status is APPENDED
    assert accepted(again).ms - accepted(first).ms >= 50 * UNIT
