"""Pages of inboxes in which messages were deleted by their senders."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing
from service.core.page import Gap, Page
from service.store.inbox import AckStatus
from service.store.link import Command
from service.store.presence import Claim
from tests.store.conftest import Store, accepted, deletion, group_fields


async def erase(store: Store, cursor: Cursor) -> Cursor:
    """Alice deletes what `fill` has put there; the cursor of the deletion."""
    [[result]] = await store.append([deletion(cursor, f"f{cursor.seq - 1}", f"d{cursor.seq - 1}")], own_copy=False)
    return accepted(result)


async def page(store: Store, after: Cursor, count: int = 20) -> Page:
    return await store.inboxes.page("bob", "phone", after, count, 0)


def shown(page: Page) -> list[str | Gap]:
    return [_shown(item) if isinstance(item, Entry) else item for item in page.items()]


def _shown(entry: Entry) -> str:
    frame = orjson.loads(entry.tail)
    return f"{frame['type']} {frame['id']}".removeprefix("message ")


async def test_a_deleted_message_has_a_frame_in_its_place(store: Store) -> None:
    cursors = await store.fill(3)
    await erase(store, cursors[1])
    found = await page(store, START)
    assert shown(found) == ["f0", "deleted f1", "f2", "delete d1"]
    [gone] = [entry for entry in found.entries if entry.cursor == cursors[1]]
    assert orjson.loads(gone.tail) == {"type": "deleted", "id": "f1", "from": "alice", "to": "bob"}


async def test_a_deleted_message_of_a_group_says_its_number(store: Store) -> None:
    fields = group_fields(7)
    await store.do("XADD", store.keys.inbox("bob"), "5-1", *fields)
    await store.do("XADD", store.keys.inbox("bob"), "5-2", *fields)
    await store.do("XDEL", store.keys.inbox("bob"), "5-1")
    await store.do("ZADD", store.keys.erased("bob"), 1, "5-1 g7 alice group team/7")
    found = await page(store, START)
    assert orjson.loads(found.entries[0].tail) == {
        "type": "deleted", "id": "g7", "from": "alice", "group": "team", "seq": 7,
    }  # fmt: skip


async def test_a_device_whose_cursor_stands_on_a_deleted_message_goes_on(store: Store) -> None:
    cursors = await store.fill(4)
    for cursor in cursors[1:3]:
        await erase(store, cursor)
    found = await page(store, cursors[1])
    assert found.trusted
    assert shown(found) == ["deleted f2", "f3", "delete d1", "delete d2"]


async def test_a_history_that_was_lost_is_found_out_where_its_number_was_deleted(store: Store) -> None:
    """Another message had this number; the stream alone would not tell."""
    cursors = await store.fill(3)
    await erase(store, cursors[1])
    for ms in (-1, 1):
        lost = Cursor(cursors[1].ms + ms, 2)
        for count in (0, 20):
            assert not (await page(store, lost, count)).trusted


async def test_pages_with_deleted_messages_hold_no_more_than_was_asked_for(store: Store) -> None:
    cursors = await store.fill(9)
    for cursor in cursors[2:6]:
        await erase(store, cursor)
    everything = ["f0", "f1", *(f"deleted f{n}" for n in range(2, 6)), "f6", "f7", "f8"]
    everything += [f"delete d{n}" for n in range(2, 6)]
    for count in range(1, 14):
        found, after = [], START
        while True:
            part = await page(store, after, count)
            assert part.trusted
            assert len(part.entries) <= count + 1
            found += shown(part)
            if part.complete:
                break
            after = part.entries[-1].cursor
        assert found == everything, f"pages of {count}"


async def test_what_was_deleted_by_hand_is_still_a_gap(store: Store) -> None:
    cursors = await store.fill(4)
    await erase(store, cursors[2])
    await store.do("XDEL", store.keys.inbox("bob"), str(cursors[1]))
    found = shown(await page(store, cursors[0]))
    assert found == [
        Gap(cursors[0], Cursor(cursors[2].ms, 2), 1, Missing.DELETED),
        "deleted f2",
        "f3",
        "delete d2",
    ]


async def test_nobody_looks_for_deleted_messages_where_nothing_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors = await store.fill(4)
    asked: list[str] = []
    pipeline = store.clients.rest.pipeline

    async def spied(commands: Sequence[Command]) -> list[Any]:
        asked.extend(command[0] for command in commands)
        return list(await pipeline(commands))

    monkeypatch.setattr(store.clients.rest, "pipeline", spied)
    await page(store, START)
    await page(store, cursors[1])
    assert "ZRANGEBYSCORE" not in asked
    await erase(store, cursors[2])
    await page(store, cursors[1])
    assert asked.count("ZRANGEBYSCORE") == 1


async def test_a_new_device_begins_behind_a_deleted_message_and_stays_there(store: Store) -> None:
    """Its cursor is that of the deleted message: any other of that number would look like a lost history."""
    cursors = await store.fill(3)
    for n, cursor in enumerate(cursors[:2]):  # appended long before, as far as anybody can tell
        early = Cursor(cursor.ms - 60_000, cursor.seq)
        await store.do("XDEL", store.keys.inbox("bob"), str(cursor))
        await store.do("ZADD", store.keys.erased("bob"), cursor.seq, f"{early} f{n} alice to bob")
    claimed = await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    assert claimed is not None
    assert claimed.stored == Cursor(cursors[1].ms - 60_000, 2)
    found = await page(store, claimed.stored)
    assert found.trusted
    assert shown(found) == ["f2"]


async def test_a_deleted_message_can_be_acked_but_not_another_of_its_number(store: Store) -> None:
    cursors = await store.fill(3)
    await erase(store, cursors[1])
    lost = Cursor(cursors[1].ms - 1, 2)
    assert await store.inboxes.ack_position("bob", "phone", lost) == (AckStatus.NOT_NEWER, None)
    assert await store.inboxes.ack_position("bob", "phone", cursors[1]) == (AckStatus.MOVED, None)


async def test_what_was_deleted_is_kept_for_as_long_as_the_inbox(store: Store) -> None:
    [cursor] = await store.fill(1)
    await erase(store, cursor)
    assert await store.do("TTL", store.keys.erased("bob")) >= store.limits.retention
    await store.do("EXPIRE", store.keys.erased("bob"), 5)
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    assert await store.do("TTL", store.keys.erased("bob")) >= store.limits.retention
