"""append.lua: what is in an inbox after a send, and what the sender's worker is told."""

import pytest

from service.core.cursor import START, Cursor
from service.core.sending import AppendStatus
from service.store.presence import Claim
from tests.store.conftest import Store, accepted, message

APPENDED, DUPLICATE, REUSED, FULL, LEFT_OUT, FAILED, BEHIND, BLOCKED, *_ = AppendStatus


async def test_the_first_message_gets_number_one_and_follows_the_start(store: Store) -> None:
    first = await store.send("m1")
    assert first.status is APPENDED
    assert accepted(first).seq == 1
    assert first.prev == START
    assert first.presence == ()


async def test_numbers_have_no_holes_and_each_names_the_one_before_it(store: Store) -> None:
    results = [await store.send(f"m{n}") for n in range(3)]
    assert [accepted(result).seq for result in results] == [1, 2, 3]
    assert [result.prev for result in results] == [START, results[0].cursor, results[1].cursor]


async def test_the_cursor_is_the_entrys_id_and_the_newest_of_the_state(store: Store) -> None:
    cursor = accepted(await store.send())
    assert await store.entries() == [str(cursor)]
    assert (await store.state())["last"] == str(cursor)


async def test_the_time_of_a_cursor_is_the_servers_clock(store: Store) -> None:
    seconds, micros = await store.do("TIME")
    before = int(seconds) * 1000 + int(micros) // 1000
    assert before <= accepted(await store.send()).ms < before + 60_000


async def test_a_clock_that_went_back_does_not_take_the_cursors_with_it(store: Store) -> None:
    future = Cursor(99_999_999_999_999, 7)
    await store.do("HSET", store.keys.state("bob"), "last", str(future))
    result = await store.send()
    assert result.cursor == Cursor(future.ms, 8)
    assert result.prev == future


async def test_an_entry_holds_plain_fields_an_operator_can_read(store: Store) -> None:
    await store.send(body=b'{"text":"hi"}')
    [(_, fields)] = await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert fields == {
        b"kind": b"message",
        b"id": b"m1",
        b"from": b"alice",
        b"to": b"bob",
        b"body": b'{"text":"hi"}',
    }


async def test_a_body_arrives_byte_by_byte(store: Store) -> None:
    body = '"\\u0000 \N{GRINNING FACE} \\" \x7f %s {0}"'.encode()
    await store.send(body=body)
    [(_, fields)] = await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert fields[b"body"] == body


async def test_expires_is_so_many_seconds_after_the_entrys_own_time(store: Store) -> None:
    cursor = accepted(await store.send(expires_in=90))
    [(_, fields)] = await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert int(fields[b"expires"]) == cursor.ms + 90_000


# Several recipients, several messages.


async def test_several_recipients_get_one_entry_each_in_the_order_named(store: Store) -> None:
    await store.fill(2, "carol")
    [results] = await store.append([message("m1", "bob", "carol", "dave")], own_copy=False)
    assert [accepted(result).seq for result in results] == [1, 3, 1]
    for user in ("bob", "carol", "dave"):
        [(_, fields)] = await store.do("XREVRANGE", store.keys.inbox(user), "+", "-", "COUNT", 1)
        assert fields[b"to"] == user.encode()


async def test_several_messages_of_one_call_keep_their_order(store: Store) -> None:
    batch = [message(f"m{n}", "bob") for n in range(10)]
    results = await store.append(batch, own_copy=False)
    assert [accepted(row[0]).seq for row in results] == list(range(1, 11))
    rows = await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert [fields[b"id"].decode() for _, fields in rows] == [f"m{n}" for n in range(10)]


async def test_messages_of_one_call_to_one_inbox_see_each_other(store: Store) -> None:
    [[first], [again], [other]] = await store.append(
        [message("m1"), message("m1"), message("m1", print="p2")], own_copy=False
    )
    assert (first.status, again.status, other.status) == (APPENDED, DUPLICATE, REUSED)
    assert again.cursor == first.cursor


async def test_a_call_of_the_largest_batch_is_taken(store: Store) -> None:
    batch = [message(f"m{n}", *(f"u{r}" for r in range(100)), body=b"1" * 2000) for n in range(8)]
    results = await store.append(batch, own_copy=True)
    assert {result.status for row in results for result in row[:-1]} == {APPENDED}


async def test_no_message_is_no_trouble(store: Store) -> None:
    assert await store.append([], own_copy=True) == []


# A full inbox.


async def test_an_inbox_with_too_many_unacked_entries_is_full(store: Store) -> None:
    small = store.limited(max_pending=3)
    await small.fill(3)
    refused = await small.send("m9")
    assert (refused.status, refused.cursor) == (FULL, None)
    assert len(await small.entries()) == 3
    for turn in "ab":
        assert await small.do("HEXISTS", small.keys.seen("bob", turn), "m/alice/m9") == 0


async def test_acks_make_room_again(store: Store) -> None:
    small = store.limited(max_pending=3)
    cursors = await small.fill(3)
    await small.inboxes.ack([("bob", "phone", cursors[0])])
    assert (await small.send("m9")).status is APPENDED
    assert (await small.send("m10")).status is FULL


async def test_a_repeat_is_answered_though_the_inbox_is_full(store: Store) -> None:
    small = store.limited(max_pending=2)
    first = await small.send("m1")
    await small.send("m2")
    again = await small.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)
    assert (await small.send("m1", print="p2")).status is REUSED


async def test_a_full_inbox_among_several_recipients_refuses_for_itself_alone(store: Store) -> None:
    small = store.limited(max_pending=2)
    await small.fill(2, "carol")
    [results] = await small.append([message("m1", "bob", "carol", "dave")], own_copy=False)
    assert [result.status for result in results] == [APPENDED, FULL, APPENDED]


async def test_a_message_refused_for_a_full_inbox_is_new_when_it_comes_again(store: Store) -> None:
    small = store.limited(max_pending=2)
    cursors = await small.fill(2)
    assert (await small.send("m1")).status is FULL
    await small.inboxes.ack([("bob", "phone", cursors[1])])
    assert (await small.send("m1")).status is APPENDED


async def test_an_inbox_that_was_dropped_by_retention_is_not_full(store: Store) -> None:
    small = store.limited(max_pending=2)
    await small.fill(2)
    await small.do("UNLINK", small.keys.inbox("bob"))
    assert accepted(await small.send("m1")).seq == 3


# Presence.


async def test_the_answer_names_who_holds_the_recipients_devices(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1", 4))
    await store.presence.claim(Claim("bob", "laptop", "w-2", "s-2"))
    result = await store.send()
    assert sorted(result.presence) == [("laptop", "w-2/s-2/0"), ("phone", "w-1/s-1/4")]


async def test_nobody_is_named_once_all_claims_are_released(store: Store) -> None:
    claim = Claim("bob", "phone", "w-1", "s-1")
    await store.presence.claim(claim)
    await store.presence.release(claim)
    assert (await store.send()).presence == ()


async def test_a_repeat_names_nobody(store: Store) -> None:
    await store.send()
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    assert (await store.send()).presence == ()


# What may have happened to the keys.


async def test_a_state_deleted_by_hand_does_not_take_the_cursors_back(store: Store) -> None:
    await store.fill(3)
    before = await store.entries()
    await store.do("DEL", store.keys.state("bob"))
    result = await store.send("m9")
    assert accepted(result).seq == 4
    assert str(result.prev) == before[-1]


async def test_an_inbox_of_the_wrong_type_is_refused_and_harms_no_neighbour(store: Store) -> None:
    await store.do("SET", store.keys.inbox("bob"), "not a stream")
    rows = await store.append([message("m1", "carol"), message("m2", "bob"), message("m3", "carol")], own_copy=False)
    assert [row[0].status for row in rows] == [APPENDED, FAILED, APPENDED]
    assert [accepted(rows[0][0]).seq, accepted(rows[2][0]).seq] == [1, 2]
    assert await store.do("GET", store.keys.inbox("bob")) == b"not a stream"


async def test_a_refused_message_leaves_no_trace_that_would_make_it_a_repeat(store: Store) -> None:
    await store.do("SET", store.keys.inbox("bob"), "not a stream")
    assert (await store.send("m1")).status is FAILED
    for turn in "ab":
        assert await store.do("HLEN", store.keys.seen("bob", turn)) == 0
    await store.do("DEL", store.keys.inbox("bob"))
    assert (await store.send("m1")).status is APPENDED


async def test_a_message_that_the_stream_itself_refuses_is_new_when_it_comes_again(store: Store) -> None:
    await store.send("m0")
    await store.do("RENAME", store.keys.inbox("bob"), "{bob}aside")
    await store.do("SET", store.keys.inbox("bob"), "not a stream")
    assert (await store.send("m1")).status is FAILED
    await store.do("RENAME", "{bob}aside", store.keys.inbox("bob"))
    result = await store.send("m1")
    assert result.status is APPENDED
    assert accepted(result).seq == 2


@pytest.mark.parametrize("key", ("state", "seen a", "seen b", "presence"))
async def test_any_key_of_the_wrong_type_harms_no_neighbour(store: Store, key: str) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    await store.send("m0")
    kind, _, turn = key.partition(" ")
    broken = store.keys.seen("bob", turn) if turn else getattr(store.keys, kind)("bob")
    await store.do("DEL", broken)
    await store.do("SET", broken, "broken")
    rows = await store.append([message("m1", "carol"), message("m2", "bob"), message("m3", "carol")], own_copy=False)
    assert [rows[0][0].status, rows[2][0].status] == [APPENDED, APPENDED]


async def test_what_is_refused_as_failed_is_not_in_the_inbox(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    await store.do("DEL", store.keys.presence("bob"))
    await store.do("SET", store.keys.presence("bob"), "broken")
    result = await store.send("m1")
    assert (result.status is APPENDED) == (len(await store.entries()) == 1)


async def test_an_inbox_is_kept_for_the_retention_after_its_last_append(store: Store) -> None:
    """Only the turn of the dedupe hashes renews it, so that it must last for the retention after the next one."""
    await store.send()
    life = await store.do("TTL", store.keys.inbox("bob"))
    assert life >= store.limits.retention + store.limits.dedupe_window
    assert await store.do("TTL", store.keys.state("bob")) == -1


async def test_a_retention_below_a_second_does_not_delete_what_was_just_accepted(store: Store) -> None:
    brief = store.limited(retention=0.5)
    await brief.send()
    assert len(await brief.entries()) == 1


async def test_no_entry_is_older_than_what_the_servers_clock_is_known_to_have_reached(store: Store) -> None:
    """Else a server that took over with a clock behind, and without the newest entries, gives cursors out twice."""
    first = accepted(await store.send("m1"))
    reached = first.ms + 3_600_000
    store.appends.least_ms = lambda: reached
    assert accepted(await store.send("m2")) == Cursor(reached, 2)
    store.appends.least_ms = lambda: 0
    assert accepted(await store.send("m3")) == Cursor(reached, 3), "the inbox itself never goes back"
    assert accepted(await store.send("m4", "carol")).ms < reached
