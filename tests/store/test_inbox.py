"""Pages, history, heads and touches: what is read of an inbox."""

import pytest

from service.core.cursor import START, Cursor
from service.core.entries import Missing
from service.core.page import Gap, Page
from service.store import inbox as module
from service.store.presence import Claim
from tests.store.conftest import Store, message


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


# History.


async def ids(store: Store, before: Cursor | None = None, limit: int = 10, peer: str | None = None) -> list[str]:
    entries, _ = await store.inboxes.history("bob", before, limit, peer, now_ms=0)
    tails = [entry.tail for entry in entries]
    return [tail.split(b'"id":"')[1].split(b'"')[0].decode() for tail in tails if isinstance(tail, bytes)]


async def test_history_goes_back_from_the_newest(store: Store) -> None:
    await store.fill(4)
    assert await ids(store) == ["f3", "f2", "f1", "f0"]


async def test_history_goes_on_before_a_cursor(store: Store) -> None:
    cursors = await store.fill(4)
    assert await ids(store, before=cursors[2]) == ["f1", "f0"]
    assert await ids(store, before=cursors[0]) == []
    assert await ids(store, before=START) == []


@pytest.mark.parametrize(("limit", "more"), ((3, True), (4, False), (5, False)))
async def test_history_says_whether_there_is_more(store: Store, limit: int, more: bool) -> None:
    await store.fill(4)
    entries, told = await store.inboxes.history("bob", None, limit, None, now_ms=0)
    assert (len(entries), told) == (min(limit, 4), more)


async def test_history_of_an_inbox_never_used_is_empty(store: Store) -> None:
    assert await store.inboxes.history("bob", None, 10, None, now_ms=0) == ([], False)


async def test_history_with_a_peer_is_the_conversation_of_the_two(store: Store) -> None:
    await store.presence.register("bob", "phone")
    batch = [
        message("from-alice", "bob", sender="alice"),
        message("from-carol", "bob", sender="carol"),
        message("to-alice", "alice", sender="bob"),
        message("to-carol", "carol", sender="bob"),
        message("to-both", "alice", "carol", sender="bob"),
        message("alices-to-both", "bob", "carol", sender="alice"),
        message("to-self", "bob", sender="bob"),
    ]
    await store.append(batch, own_copy=True)
    assert await ids(store, peer="alice") == ["alices-to-both", "to-both", "to-alice", "from-alice"]
    assert await ids(store, peer="carol") == ["to-both", "to-carol", "from-carol"]
    assert await ids(store, peer="bob") == ["to-self"]
    assert await ids(store, peer="ali") == []


async def test_more_of_a_conversation_means_more_of_that_conversation(store: Store) -> None:
    await store.append([message("a1"), message("c1", sender="carol"), message("a2")], own_copy=False)
    _, more = await store.inboxes.history("bob", None, 2, "alice", now_ms=0)
    assert not more
    _, more = await store.inboxes.history("bob", None, 1, "alice", now_ms=0)
    assert more


async def test_a_conversation_is_found_however_far_back(store: Store) -> None:
    await store.send("old", sender="carol")
    await store.fill(2 * module.HISTORY_CHUNK + 3)
    assert await ids(store, peer="carol") == ["old"]


async def test_expired_and_foreign_entries_are_left_out_of_history(store: Store) -> None:
    await store.send("brief", expires_in=60)
    [cursor] = await store.fill(1)
    await store.do("XADD", store.keys.inbox("bob"), f"{cursor.ms}-3", "note", "hello")
    entries, more = await store.inboxes.history("bob", None, 10, None, cursor.ms + 61_000)
    assert [entry.cursor for entry in entries] == [cursor]
    assert not more


async def test_a_page_of_history_is_bounded_in_bytes_but_never_empty(store: Store) -> None:
    body = b'"' + b"x" * (module.HISTORY_BYTES // 3) + b'"'
    for n in range(5):
        await store.send(f"m{n}", body=body)
    entries, more = await store.inboxes.history("bob", None, 10, None, now_ms=0)
    assert (len(entries), more) == (2, True)
    await store.send("huge", body=b'"' + b"x" * (2 * module.HISTORY_BYTES) + b'"')
    entries, more = await store.inboxes.history("bob", None, 10, None, now_ms=0)
    assert (len(entries), more) == (1, True)


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
    kept = (store.keys.inbox("bob"), store.keys.cursors("bob"), store.keys.devices("bob"))
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
