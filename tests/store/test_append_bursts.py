"""append.lua: several entries for one user in one call, which reads that user's state once."""

import itertools
from collections.abc import Awaitable, Callable

from service.core.sending import AppendStatus
from service.store.presence import Claim
from tests.store.conftest import Store, accepted, deletion, message

APPENDED, DUPLICATE, _, FULL, FAILED = (AppendStatus(n) for n in (1, 2, 3, 4, 6))
Aged = Callable[..., Awaitable[None]]
PLAIN = {b"kind": b"message", b"from": b"alice", b"to": b"bob", b"body": b'{"text":"hi"}'}


async def burst(store: Store, *ids: str) -> list[AppendStatus]:
    rows = await store.append([message(id) for id in ids], own_copy=False)
    return [row[0].status for row in rows]


async def test_each_of_a_burst_follows_the_one_before_it(store: Store) -> None:
    rows = await store.append([message(f"m{n}", "bob", "carol") for n in range(4)], own_copy=True)
    for results in zip(*rows, strict=True):
        for one, after in itertools.pairwise(results):
            assert after.prev == one.cursor


async def test_each_of_a_burst_names_who_holds_the_recipients_devices(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    rows = await store.append([message("m1"), message("m2", "carol"), message("m3")], own_copy=False)
    assert [row[0].presence for row in rows] == [(("phone", "w-1/s-1/0"),), (), (("phone", "w-1/s-1/0"),)]


async def test_the_next_call_reads_anew_who_is_there(store: Store) -> None:
    await burst(store, "m1", "m2")
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    assert (await store.send("m3")).presence == (("phone", "w-1/s-1/0"),)


async def test_a_burst_that_begins_a_turn_turns_once_and_knows_its_own_and_older_ids(store: Store, aged: Aged) -> None:
    await store.send("m0")
    before = (await store.state())["seen"]
    await aged(60_001)
    assert await burst(store, "m1", "m2", "m1", "m0") == [APPENDED, APPENDED, DUPLICATE, DUPLICATE]
    state = await store.state()
    assert (state["seen"], state["older"]) == ("ba"["ab".index(before)], "1")
    assert set(await store.hash(store.keys.seen("bob", state["seen"]))) == {"m/alice/m1", "m/alice/m2"}
    assert set(await store.hash(store.keys.seen("bob", before))) == {"m/alice/m0"}


async def test_a_burst_stops_where_the_inbox_is_full(store: Store) -> None:
    small = store.limited(max_pending=3)
    assert await burst(small, *"abcde") == [APPENDED, APPENDED, APPENDED, FULL, FULL]
    assert len(await small.entries()) == 3


async def test_a_burst_into_what_is_no_inbox_numbers_nothing(store: Store) -> None:
    await store.send("m1")
    await store.do("RENAME", store.keys.inbox("bob"), "{bob}aside")
    await store.do("SET", store.keys.inbox("bob"), "not a stream")
    assert await burst(store, "m2", "m3") == [FAILED, FAILED]
    await store.do("RENAME", "{bob}aside", store.keys.inbox("bob"))
    assert accepted(await store.send("m2")).seq == 2


async def test_messages_a_deletion_and_a_copy_for_one_user_number_on(store: Store) -> None:
    """Their sixth keys are different ones."""
    lies = accepted(await store.send("m1"))
    rows = await store.append(
        [message("m2"), deletion(lies, "m1"), message("m3"), message("m4", "carol", sender="bob")], own_copy=False
    )
    assert [accepted(row[0]).seq for row in rows[:3]] == [2, 3, 4]
    assert len(await store.entries()) == 3  # m1 is gone
    assert await store.do("ZCARD", store.keys.erased("bob")) == 1


async def test_plain_messages_and_others_lie_side_by_side_as_they_were_said(store: Store) -> None:
    sent = [message("m1"), message("m2", expires_in=9), message("m3", receipts=False), message("m4", body=b'"%"')]
    rows = await store.append(sent, own_copy=False)
    lie = [fields for _, fields in await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")]
    expires = str(accepted(rows[1][0]).ms + 9000).encode()
    assert lie == [
        PLAIN | {b"id": b"m1"},
        PLAIN | {b"id": b"m2", b"expires": expires},
        PLAIN | {b"id": b"m3", b"receipts": b"off"},
        PLAIN | {b"id": b"m4", b"body": b'"%"'},
    ]
    assert [list(fields) for fields in lie][::3] == [[b"kind", b"id", b"from", b"to", b"body"]] * 2


async def test_what_a_user_is_like_is_read_once_for_a_burst(real_store: Store) -> None:
    await real_store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    await burst(real_store, "m0")
    await real_store.do("CONFIG", "RESETSTAT")
    await burst(real_store, *"abcdefg")
    calls = {name: said["calls"] for name, said in (await real_store.raw.info("commandstats")).items()}
    once, each = ("cmdstat_hmget", "cmdstat_hgetall"), ("cmdstat_hsetnx", "cmdstat_xadd", "cmdstat_hset")
    assert [calls[name] for name in (*once, *each)] == [1, 1, 7, 7, 7]
