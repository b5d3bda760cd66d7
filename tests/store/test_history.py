"""History: pages of a whole inbox and of conversations, both ways, with what was deleted in its place."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import START, Cursor
from service.core.frames import History
from service.store import history as module
from service.store.history import Asked
from tests.store.conftest import Store, accepted, deletion, message


async def ids(store: Store, **asked: Any) -> list[str]:
    entries, _ = await store.histories.read("bob", Asked(**asked), now_ms=0)
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
    entries, told = await store.histories.read("bob", Asked(limit=limit), now_ms=0)
    assert (len(entries), told) == (min(limit, 4), more)


async def test_history_of_an_inbox_never_used_is_empty(store: Store) -> None:
    assert await store.histories.read("bob", Asked(limit=10), now_ms=0) == ([], False)


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
    _, more = await store.histories.read("bob", Asked(limit=2, peer="alice"), now_ms=0)
    assert not more
    _, more = await store.histories.read("bob", Asked(limit=1, peer="alice"), now_ms=0)
    assert more


async def test_a_conversation_is_found_however_far_back(store: Store) -> None:
    await store.send("old", sender="carol")
    await store.fill(2 * module.CHUNK + 3)
    assert await ids(store, peer="carol") == ["old"]


async def test_expired_and_foreign_entries_are_left_out_of_history(store: Store) -> None:
    await store.send("brief", expires_in=60)
    [cursor] = await store.fill(1)
    await store.do("XADD", store.keys.inbox("bob"), f"{cursor.ms}-3", "note", "hello")
    entries, more = await store.histories.read("bob", Asked(), cursor.ms + 61_000)
    assert [entry.cursor for entry in entries] == [cursor]
    assert not more


async def test_a_page_of_history_is_bounded_in_bytes_but_never_empty(store: Store) -> None:
    body = b'"' + b"x" * (module.MOST_BYTES // 3) + b'"'
    for n in range(5):
        await store.send(f"m{n}", body=body)
    entries, more = await store.histories.read("bob", Asked(limit=10), now_ms=0)
    assert (len(entries), more) == (2, True)
    await store.send("huge", body=b'"' + b"x" * (2 * module.MOST_BYTES) + b'"')
    entries, more = await store.histories.read("bob", Asked(limit=10), now_ms=0)
    assert (len(entries), more) == (1, True)


# What was deleted.


async def erase(store: Store, id: str, cursor: Cursor) -> Cursor:
    """Alice deletes her message to bob; the cursor of the deletion."""
    [[result]] = await store.append([deletion(cursor, id, f"d-{id}")], own_copy=False)
    return accepted(result)


def shown(entries: list[Any]) -> list[str]:
    """Kinds and ids, and of what was deleted that it was."""
    frames = [orjson.loads(entry.tail) for entry in entries]
    return [("" if frame["type"] == "message" else frame["type"] + " ") + frame["id"] for frame in frames]


async def test_what_was_deleted_is_shown_as_that_both_ways(store: Store) -> None:
    cursors = await store.fill(4)
    await erase(store, "f1", cursors[1])
    await erase(store, "f2", cursors[2])
    everything = ["f0", "deleted f1", "deleted f2", "f3", "delete d-f1", "delete d-f2"]
    entries, more = await store.histories.read("bob", Asked(), now_ms=0)
    assert (shown(entries), more) == (everything[::-1], False)
    entries, more = await store.histories.read("bob", Asked(after=START), now_ms=0)
    assert (shown(entries), more) == (everything, False)
    entries, more = await store.histories.read("bob", Asked(after=cursors[0], limit=2), now_ms=0)
    assert (shown(entries), more) == (everything[1:3], True)
    entries, more = await store.histories.read("bob", Asked(before=cursors[3], limit=2), now_ms=0)
    assert (shown(entries), more) == (everything[2:0:-1], True)


async def test_what_was_deleted_belongs_to_its_conversation(store: Store) -> None:
    [mine] = await store.fill(1)
    await store.send("c", sender="carol")
    await erase(store, "f0", mine)
    entries, _ = await store.histories.read("bob", Asked(peer="alice"), now_ms=0)
    assert shown(entries) == ["delete d-f0", "deleted f0"]
    entries, _ = await store.histories.read("bob", Asked(peer="carol"), now_ms=0)
    assert shown(entries) == ["c"]


async def test_receipts_and_the_like_belong_to_no_conversation(store: Store) -> None:
    await store.send("m1")
    receipt = ("kind", "receipt", "id", "delivered:x", "target", "x", "receipt", "delivered", "by", "alice")
    await store.do("XADD", store.keys.inbox("bob"), "*", *receipt)
    await store.do("XADD", store.keys.inbox("bob"), "*", "kind", "read", "id", "read:m1", "from", "alice", "upto", "m1")
    assert await ids(store) == ["read:m1", "delivered:x", "m1"]
    assert await ids(store, peer="alice") == ["m1"]


async def test_a_groups_history_is_its_own(store: Store) -> None:
    await store.send("m1")
    said = ("kind", "message", "id", "g1", "from", "alice", "group", "team", "seq", "2", "body", "1")
    event = ("kind", "group", "id", "team:3", "group", "team", "seq", "3", "event", "joined", "user", "al", "by", "al")
    for fields in (said, event):
        await store.do("XADD", store.keys.inbox("bob"), "*", *fields)
    assert await ids(store, group="team") == ["team:3", "g1"]
    assert await ids(store, peer="alice") == ["m1"]
    assert await ids(store, group="other") == []


@pytest.mark.parametrize("older", (True, False))
async def test_history_is_whole_however_many_were_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    """With chunks of three: what was deleted fills whole chunks, lies between them, and at both ends."""
    monkeypatch.setattr(module, "CHUNK", 3)
    cursors = await store.fill(20)
    last = cursors[-1]
    gone = [0, 1, 2, 3, 4, 7, 9, 12, 13, 14, 15, 16]
    for n in gone:
        last = await erase(store, f"f{n}", cursors[n])
    expected = [f"deleted f{n}" if n in gone else f"f{n}" for n in range(20)] + [f"delete d-f{n}" for n in gone]
    found: list[str] = []
    place: dict[str, Any] = {} if older else {"after": START}
    while True:
        entries, more = await store.histories.read("bob", Asked(limit=5, **place), now_ms=0)
        found += shown(entries)
        if not more:
            break
        place = {"before" if older else "after": entries[-1].cursor}
    assert found == (expected[::-1] if older else expected)
    assert last > cursors[-1]


async def test_rows_that_somebody_wrote_by_hand_do_no_harm(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    await store.fill(3)
    for n, row in enumerate(("nonsense", "1-1 x", "9999999999999999-2 m alice to bob")):
        await store.do("ZADD", store.keys.erased("bob"), n + 1, row)
    assert [id for id in await ids(store) if id != "m"] == ["f2", "f1", "f0"]
    assert [id for id in await ids(store, after=START) if id != "m"] == ["f0", "f1", "f2"]


@given(before=st.none() | st.just("5-5"), limit=st.integers(1, 200))
def test_what_a_client_asks_for_is_what_is_read(before: str | None, limit: int) -> None:
    frame = History.model_validate({"type": "history", "ref": "", "before": before, "limit": limit, "with": "al"})
    assert Asked.of(frame) == Asked(Cursor(5, 5) if before else None, None, limit, "al", None)
