"""Conversations: whom a user talks with, what is last, what is unread."""

import pytest

from service.core.cursor import Cursor
from service.store import conversations as module
from service.store.appends import Numbered
from service.store.conversations import Conversations, Talk
from service.store.marks import SKIMMED, was_read, was_read_in
from tests.store.conftest import Store, accepted, deletion, group_fields, message


async def of(store: Store, limit: int = 100, now: int = 0) -> list[Talk]:
    return await Conversations(store.clients, store.keys, store.marks).of("bob", limit, now)


def brief(talks: list[Talk]) -> list[tuple[str, int]]:
    """Peer or group, and what is unread."""
    return [(talk.peer or talk.group, talk.unread) for talk in talks]


async def test_newest_first_with_what_is_unread(store: Store) -> None:
    cursors = await store.fill(3, prefix="m")
    await store.append([message("c1", sender="carol")], own_copy=False)
    await store.marks.move("bob", was_read("alice"), "m0", cursors[0])
    talks = await of(store)
    assert brief(talks) == [("carol", 1), ("alice", 2)]
    assert talks[1].last == cursors[2]
    assert talks[1].read is not None
    assert talks[1].read.what == "m0"
    assert b'"id":"m2"' in talks[1].tail
    assert talks[0].read is None


async def test_ones_own_messages_count_as_last_and_never_as_unread(store: Store) -> None:
    await store.presence.register("bob", "phone")
    await store.send("m1")
    await store.append([message("b1", "alice", "carol", sender="bob")], own_copy=True)
    await store.append([message("note", "bob", sender="bob")], own_copy=True)
    talks = await of(store)
    assert dict(brief(talks)) == {"bob": 0, "alice": 1, "carol": 0}
    assert b'"id":"b1"' in next(talk for talk in talks if talk.peer == "alice").tail


async def test_what_expired_or_was_deleted_does_not_count(store: Store) -> None:
    await store.send("m1")
    short = accepted(await store.send("m2", expires_in=1))
    gone = accepted(await store.send("m3"))
    await store.append([deletion(gone, "m3")], own_copy=False)
    [talk] = await of(store, now=short.ms + 1000)
    assert (talk.unread, talk.last.seq) == (1, 1)


async def test_of_groups_the_numbers_count(store: Store) -> None:
    await store.appends.number([Numbered("bob", "team", n, 1, group_fields(n)) for n in range(1, 5)])
    await store.marks.move("bob", was_read_in("team"), "3")
    [talk] = await of(store)
    assert (talk.group, talk.unread, talk.read and talk.read.what) == ("team", 1, "3")


async def test_as_many_as_are_asked_for(store: Store) -> None:
    for sender in ("alice", "carol", "dave"):
        await store.append([message("m1", sender=sender)], own_copy=False)
    assert brief(await of(store, limit=2)) == [("dave", 1), ("carol", 1)]
    assert await of(store.limited(), limit=0) == []


async def test_no_more_is_looked_at_than_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.append([message("m1", sender="carol")], own_copy=False)
    await store.fill(SKIMMED + 5)
    assert brief(await of(store)) == [("alice", SKIMMED + 5), ("carol", 1)]
    monkeypatch.setattr(module, "LOOKED_AT", SKIMMED)
    assert brief(await of(store)) == [("alice", SKIMMED)]


async def test_a_last_message_that_went_meanwhile_takes_its_talk_along(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = accepted(await store.send("m1"))
    talks = Conversations(store.clients, store.keys, store.marks)
    fetch = talks._fetch

    async def late(user: str, some: list[Talk], now_ms: int) -> None:
        await store.do("XDEL", store.keys.inbox("bob"), str(cursor))
        await fetch(user, some, now_ms)

    monkeypatch.setattr(talks, "_fetch", late)
    assert await talks.of("bob", 10, 0) == []


async def test_nobody_talks_with_whoever_has_no_inbox(store: Store) -> None:
    assert await of(store) == []
    assert Talk("alice", "", Cursor(1, 1), None).tail == b""
