"""Pages, heads and touches: what is read of an inbox."""

import pytest

from service.core.cursor import START, Cursor
from service.core.entries import Missing
from service.core.page import Gap, Page
from service.store.presence import Claim
from tests.store.conftest import Store


async def page(store: Store, after: Cursor, count: int = 10, now_ms: int = 0) -> Page:
    return await store.inboxes.page("bob", "phone", after, count, now_ms)


# Pages.


async def test_a_page_of_an_inbox_never_used_is_empty_and_complete(store: Store) -> None:
    assert await page(store, START) == Page(START, [], START, found=False, complete=True)


async def test_a_page_from_the_start_holds_the_oldest_entries(store: Store) -> None:
    cursors = await store.fill(5)
    first = await page(store, START)
    assert [entry.cursor for entry in first.entries] == cursors
    assert (first.last, first.found, first.complete, first.trusted) == (cursors[-1], False, True, True)


async def test_a_page_after_an_entry_finds_that_entry_and_leaves_it_out(store: Store) -> None:
    cursors = await store.fill(5)
    later = await page(store, cursors[1])
    assert [entry.cursor for entry in later.entries] == cursors[2:]
    assert (later.found, later.complete) == (True, True)


async def test_a_page_after_the_newest_is_empty_and_found(store: Store) -> None:
    cursors = await store.fill(2)
    assert await page(store, cursors[1]) == Page(cursors[1], [], cursors[1], found=True, complete=True)


@pytest.mark.parametrize("count", (1, 3, 4))
async def test_a_page_holds_no_more_than_was_asked_for(store: Store, count: int) -> None:
    cursors = await store.fill(5)
    some = await page(store, cursors[0], count)
    assert [entry.cursor for entry in some.entries] == cursors[1 : 1 + count]
    assert some.complete == (count > 4)


async def test_a_page_of_nothing_still_says_whether_its_cursor_is_there(store: Store) -> None:
    cursors = await store.fill(3)
    assert (await page(store, cursors[1], count=0)).found
    await store.do("XDEL", store.keys.inbox("bob"), str(cursors[1]))
    assert not (await page(store, cursors[1], count=0)).found


async def test_an_entry_expires_on_its_page(store: Store) -> None:
    result = await store.send(expires_in=60)
    assert result.cursor is not None
    due = result.cursor.ms + 60_000
    assert isinstance((await page(store, START, now_ms=due - 1)).entries[0].tail, bytes)
    assert (await page(store, START, now_ms=due)).entries[0].tail is Missing.EXPIRED


async def test_what_an_operator_has_added_by_hand_reads_as_deleted(store: Store) -> None:
    [cursor] = await store.fill(1)
    await store.do("XADD", store.keys.inbox("bob"), f"{cursor.ms}-2", "note", "hello")
    assert (await page(store, cursor)).entries[0].tail is Missing.DELETED


async def test_a_cursor_that_was_trimmed_has_nothing_below_it(store: Store) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "phone", cursors[0])])
    await store.do("XTRIM", store.keys.inbox("bob"), "MAXLEN", 2)
    trimmed = await page(store, cursors[1])
    assert (trimmed.found, trimmed.before, trimmed.stored, trimmed.trusted) == (False, None, cursors[0], True)
    assert next(trimmed.items()) == Gap(cursors[1], Cursor(cursors[3].ms, 3), 1, Missing.TRIMMED)


async def test_a_cursor_that_was_deleted_has_the_entry_before_it_below(store: Store) -> None:
    cursors = await store.fill(5)
    await store.do("XDEL", store.keys.inbox("bob"), str(cursors[2]))
    hole = await page(store, cursors[2])
    assert (hole.found, hole.before, hole.stored, hole.trusted) == (False, cursors[1], None, True)


async def test_a_number_that_another_entry_has_now_is_not_trusted(store: Store) -> None:
    cursors = await store.fill(3)
    lost = Cursor(cursors[2].ms + 1, 3)
    rewound = await page(store, lost)
    assert (rewound.found, rewound.before, rewound.trusted) == (False, cursors[2], False)


async def test_a_cursor_that_reaches_the_servers_limits_is_no_trouble(store: Store) -> None:
    await store.fill(1)
    assert not (await page(store, Cursor(10**16 - 1, 10**16 - 1))).trusted


async def test_without_a_state_the_newest_entry_read_is_the_newest(store: Store) -> None:
    cursors = await store.fill(3)
    await store.do("DEL", store.keys.state("bob"))
    assert (await page(store, START)).last == cursors[2]


# Heads and touches.


async def test_the_newest_cursor_of_an_inbox_never_used_is_the_start(store: Store) -> None:
    assert await store.inboxes.last("bob") == START
    [cursor] = await store.fill(1)
    assert await store.inboxes.last("bob") == cursor


async def test_heads_are_newest_cursors_and_presence_in_the_order_asked(store: Store) -> None:
    [cursor] = await store.fill(1)
    await store.presence.claim(Claim("carol", "phone", "w-1", "s-1", 3))
    await store.presence.claim(Claim("carol", "laptop", "w-2", "s-2"))
    assert await store.inboxes.heads(["carol", "bob", "nobody"]) == [
        (START, {"phone": "w-1/s-1/3", "laptop": "w-2/s-2/0"}),
        (cursor, {}),
        (START, {}),
    ]
    assert await store.inboxes.heads([]) == []


async def test_a_touch_shows_the_device_and_keeps_what_is_kept_for_it(store: Store) -> None:
    await store.fill(1)
    await store.presence.register("bob", "phone")
    await store.do("ZADD", store.keys.erased("bob"), 1, "row")
    kept = tuple(getattr(store.keys, key)("bob") for key in ("inbox", "cursors", "devices", "erased"))
    for key in kept:
        await store.do("EXPIRE", key, 5)
    await store.inboxes.touch([("bob", "phone")], now_ms=1234)
    assert await store.hash(store.keys.devices("bob")) == {"phone": "1234"}
    for key in kept:
        assert await store.do("TTL", key) >= store.limits.retention


async def test_touching_nobody_is_no_trouble(store: Store) -> None:
    await store.inboxes.touch([], now_ms=1)


async def test_a_ping_has_an_answer(store: Store) -> None:
    await store.appends.ping()
