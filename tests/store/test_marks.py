"""Marks: what owed.lua finds of what was acked, what stays marked, and where read messages lie."""

import pytest

from service.core.cursor import START, Cursor
from service.core.sending import AppendStatus
from service.store.appends import Note, Numbered
from service.store.inbox import AckStatus
from service.store.marks import PORTION, SKIMMED, Found, Mark, Moved, Owed, delivered, was_read, was_read_in
from tests.store.conftest import Store, accepted, group_fields, message


@pytest.fixture
def owing(store: Store) -> Store:
    """With receipts."""
    return store.limited(receipts=True)


async def ack(store: Store, cursor: Cursor, device: str = "phone") -> list[str]:
    """Acks; who owes receipts by that."""
    owing: list[str] = []
    store.inboxes.owing = owing.append
    await store.inboxes.ack([("bob", device, cursor)])
    return owing


async def owed(store: Store, after: Cursor | None = None) -> Owed | None:
    return (await store.marks.owed([("bob", after)]))[0]


async def receipted(store: Store, upto: Cursor) -> str | None:
    await store.inboxes.receipted([("bob", upto)])
    return (await store.state()).get("receipted")


# What is owed.


async def test_an_ack_says_that_receipts_are_owed_until_they_are_made(owing: Store) -> None:
    first, second = await owing.fill(2)
    assert await ack(owing, first) == ["bob"]
    assert await ack(owing, first) == ["bob"]  # again: as after a crash
    assert await receipted(owing, first) == str(first)
    assert await ack(owing, first) == []
    assert await ack(owing, second) == ["bob"]


async def test_nobody_owes_anything_where_receipts_are_off(store: Store) -> None:
    [cursor] = await store.fill(1)
    assert await ack(store, cursor) == []


async def test_of_many_messages_acked_together_the_last_of_each_sender_is_owed(owing: Store) -> None:
    batch = [message(f"m{n}", sender=("alice", "carol")[n % 2]) for n in range(10)]
    cursors = [accepted(results[0]) for results in await owing.append(batch, own_copy=False)]
    await ack(owing, cursors[7])
    assert await owed(owing) == Owed(cursors[7], False, {"alice": "m6", "carol": "m7"})


async def test_portions_are_bounded_and_go_on_where_the_one_before_ended(owing: Store) -> None:
    cursors = await owing.fill(PORTION + 5)
    await ack(owing, cursors[-1])
    assert await owed(owing) == Owed(cursors[PORTION - 1], True, {"alice": f"f{PORTION - 1}"})
    assert await owed(owing, cursors[PORTION - 1]) == Owed(cursors[-1], False, {"alice": f"f{PORTION + 4}"})
    assert await owed(owing, cursors[-1]) is None


async def test_large_messages_leave_the_other_users_for_the_next_call(
    owing: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.marks.ROOM", 100)
    sent = [message("m1", user, body=b'"' + b"x" * 200 + b'"') for user in ("bob", "carol")]
    cursors = [accepted(results[0]) for results in await owing.append(sent, own_copy=False)]
    await owing.inboxes.ack([("bob", "phone", cursors[0]), ("carol", "phone", cursors[1])])
    first, second = await owing.marks.owed([("bob", None), ("carol", None)])
    assert first == Owed(cursors[0], False, {"alice": "m1"})
    assert second == Owed(START, True)
    assert await owing.marks.owed([("carol", START)]) == [Owed(cursors[1], False, {"alice": "m1"})]


async def test_none_is_owed_for_own_entries_receipts_what_expired_or_wants_none(owing: Store) -> None:
    await owing.presence.register("bob", "phone")
    await owing.append([message("own", "carol", sender="bob")], own_copy=True)
    await owing.append([message("oneself", "bob", sender="bob")], own_copy=True)
    fields = ["kind", "receipt", "id", "delivered:own", "target", "own", "receipt", "delivered", "by", "carol"]
    [noted] = await owing.appends.note([Note("bob", "receipt/carol/delivered:own", list(fields))])
    assert not isinstance(noted, Exception)
    assert noted.status is AppendStatus.APPENDED
    over = ["kind", "message", "id", "old", "from", "dave", "to", "bob", "body", "1", "expires", "5"]
    await owing.appends.note([Note("bob", "m/dave/old", list(over))])
    last = accepted(await owing.send("quiet", sender="erin", receipts=False))
    await ack(owing, last)
    assert await owed(owing) == Owed(last, False, {}, settled=True)
    assert (await owing.state())["receipted"] == str(last), "there is nothing to be made first"
    marks = await owing.marks.all("bob")
    assert {name: mark.what for name, mark in marks.items()} == {delivered("erin"): "quiet"}


async def test_nothing_is_noted_down_while_a_receipt_is_owed_or_more_may_be(owing: Store) -> None:
    own = [message(f"own{n}", "bob", sender="bob") for n in range(PORTION)]
    cursors = [accepted(results[0]) for results in await owing.append(own, own_copy=False)]
    last = accepted(await owing.send("m1"))
    await ack(owing, last)
    assert await owed(owing) == Owed(cursors[-1], True, {})
    assert await owed(owing, cursors[-1]) == Owed(last, False, {"alice": "m1"})
    own_again = accepted(await owing.send("own", "bob", sender="bob"))
    await ack(owing, own_again)
    assert await owed(owing, last) == Owed(own_again, False, {}), "those before may still be to come"
    assert "receipted" not in await owing.state()


async def test_what_is_found_is_marked_as_delivered_and_marks_only_move_forward(owing: Store) -> None:
    cursors = await owing.fill(3)
    await ack(owing, cursors[1])
    await owed(owing)
    mark = (await owing.marks.all("bob"))[delivered("alice")]
    assert (mark.what, mark.cursor) == ("f1", cursors[1])
    assert mark.at_ms >= cursors[1].ms
    await owing.do("HSET", owing.keys.marks("bob"), delivered("alice"), f"f2 {cursors[2]} 5")
    await owed(owing)
    assert (await owing.marks.all("bob"))[delivered("alice")] == Mark("f2", cursors[2], 5)


async def test_of_groups_the_number_is_marked_and_nobody_gets_a_receipt(owing: Store) -> None:
    await owing.appends.number([Numbered("bob", "team", n, 1, group_fields(n)) for n in (1, 2, 3)])
    last = Cursor.of((await owing.entries())[1].encode())
    await ack(owing, last)
    assert await owed(owing) == Owed(last, False, {}, settled=True)
    mark = (await owing.marks.all("bob"))["delivered/group/team"]
    assert (mark.what, mark.cursor) == ("2", last)


async def test_a_user_without_receipted_gets_one_for_each_sender_however_much_was_acked_before(owing: Store) -> None:
    cursors = await owing.fill(5)
    plain = owing.limited(receipts=False)  # an older version
    await plain.inboxes.ack([("bob", "phone", cursors[3])])
    assert await ack(owing, cursors[4]) == ["bob"]
    assert await owed(owing) == Owed(cursors[4], False, {"alice": "f4"})


async def test_receipted_never_goes_beyond_best_nor_back(owing: Store) -> None:
    cursors = await owing.fill(3)
    await ack(owing, cursors[1])
    assert await receipted(owing, cursors[2]) is None
    assert await receipted(owing, cursors[1]) == str(cursors[1])
    assert await receipted(owing, cursors[0]) == str(cursors[1])


async def test_after_the_server_lost_its_tail_receipts_go_on(owing: Store) -> None:
    cursors = await owing.fill(2)
    beyond = Cursor(cursors[-1].ms + 10**9, 50)
    await owing.do("HSET", owing.keys.state("bob"), "receipted", str(beyond))
    await owing.do("HSET", owing.keys.marks("bob"), delivered("alice"), f"lost {beyond} 5")
    assert await ack(owing, cursors[1]) == ["bob"]
    assert await owed(owing) == Owed(cursors[1], False, {"alice": "f1"})
    assert (await owing.marks.all("bob"))[delivered("alice")].what == "f1"
    assert await receipted(owing, cursors[1]) == str(cursors[1])


async def test_a_user_whose_keys_are_broken_spoils_no_neighbour(owing: Store) -> None:
    cursors = await owing.fill(1)
    await ack(owing, cursors[0])
    await owing.do("HSET", owing.keys.state("eve"), "best", "5-1", "last", "5-1")
    await owing.do("SET", owing.keys.inbox("eve"), "no stream")
    assert await owing.marks.owed([("eve", None), ("bob", None)]) == [None, Owed(cursors[0], False, {"alice": "f0"})]


async def test_a_claim_and_the_audit_say_so_too(owing: Store) -> None:
    cursors = await owing.fill(1)
    assert (await owing.presence.register("bob", "phone")).owes is False
    await ack(owing, cursors[0])
    assert (await owing.presence.register("bob", "phone")).owes is True
    named: list[str] = []
    owing.inboxes.owing = named.append
    await owing.inboxes.heads(["bob", "nobody"])
    assert named == ["bob"]
    await receipted(owing, cursors[0])
    assert named == ["bob"]
    await owing.inboxes.heads(["bob"])
    assert named == ["bob"]
    assert (await owing.presence.register("bob", "phone")).owes is False


# What is kept for them.


async def test_what_was_acked_is_kept_until_its_receipts_are_made(real_store: Store) -> None:
    await real_store.do("CONFIG", "SET", "stream-node-max-entries", 1)
    store = real_store.limited(receipts=True, history=2)
    cursors = await store.fill(10)
    await ack(store, cursors[9])
    assert len(await store.entries()) == 10
    assert (await store.state())["trimmed"] == "0"
    await store.inboxes.receipted([("bob", cursors[9])])
    assert await store.entries() == [str(cursor) for cursor in cursors[8:]]
    await real_store.do("CONFIG", "SET", "stream-node-max-entries", 100)


async def test_receipts_that_are_too_far_behind_hold_nothing_back(real_store: Store) -> None:
    await real_store.do("CONFIG", "SET", "stream-node-max-entries", 1)
    store = real_store.limited(receipts=True, history=2, max_pending=8)
    cursors = [*await store.fill(5)]
    await ack(store, cursors[-1])
    cursors += await store.fill(5, prefix="g")
    await ack(store, cursors[-1])
    assert await store.entries() == [str(cursor) for cursor in cursors[8:]]
    await real_store.do("CONFIG", "SET", "stream-node-max-entries", 100)


# What was read.


async def test_a_message_is_found_by_its_id(store: Store) -> None:
    cursors = await store.fill(3)
    assert await store.marks.find("bob", "alice", "f1") == Found(cursors[1], "f1")
    assert await store.marks.find("bob", "alice", "f9") is None
    assert await store.marks.find("bob", "carol", "f1") is None


async def test_a_message_whose_id_is_forgotten_is_looked_for(store: Store) -> None:
    cursors = await store.fill(SKIMMED + 10)
    await store.do("DEL", store.keys.seen("bob", "a"), store.keys.seen("bob", "b"))
    assert await store.marks.find("bob", "alice", "f3") == Found(cursors[3], "f3")
    assert await store.marks.find("bob", "alice", "f999") is None


async def test_of_a_sender_who_wants_no_receipt_for_it_the_newest_wanted_before_is_told(store: Store) -> None:
    await store.send("m1")
    wanted = await store.send("m2")
    quiet = accepted(await store.send("m3", receipts=False))
    assert await store.marks.find("bob", "alice", "m3") == Found(quiet, "m2")
    await store.marks.move("bob", was_read("alice"), "m2", accepted(wanted))
    assert await store.marks.find("bob", "alice", "m3") == Found(quiet, "")


async def test_what_lies_before_the_mark_was_read(store: Store) -> None:
    cursors = await store.fill(2)
    await store.marks.move("bob", was_read("alice"), "f1", cursors[1])
    assert await store.marks.find("bob", "alice", "f0") == Found(cursors[0])
    assert await store.marks.find("bob", "alice", "f1") == Found(cursors[1], "f1")


async def test_marks_of_what_was_read_only_move_forward(store: Store) -> None:
    cursors = await store.fill(3)
    move = store.marks.move
    assert await move("bob", was_read("alice"), "f1", cursors[1]) is Moved.MOVED
    assert await move("bob", was_read("alice"), "f1", cursors[1]) is Moved.SAME
    assert await move("bob", was_read("alice"), "f0", cursors[0]) is Moved.OLDER
    mark = (await store.marks.all("bob"))[was_read("alice")]
    assert (mark.what, mark.cursor) == ("f1", cursors[1])
    assert await move("bob", was_read("alice"), "f2", cursors[2]) is Moved.MOVED


async def test_a_mark_of_a_lost_history_gives_way(store: Store) -> None:
    [cursor] = await store.fill(1)
    lost = f"lost {cursor.ms + 10**9}-77 5"
    await store.do("HSET", store.keys.marks("bob"), was_read("alice"), lost)
    assert await store.marks.find("bob", "alice", "f0") == Found(cursor, "f0")
    assert await store.marks.move("bob", was_read("alice"), "f0", cursor) is Moved.MOVED


async def test_of_groups_the_numbers_count(store: Store) -> None:
    move = store.marks.move
    assert await move("bob", was_read_in("team"), "9") is Moved.MOVED
    assert await move("bob", was_read_in("team"), "10") is Moved.MOVED
    assert await move("bob", was_read_in("team"), "10") is Moved.SAME
    assert await move("bob", was_read_in("team"), "9") is Moved.OLDER
    mark = (await store.marks.all("bob"))[was_read_in("team")]
    assert (mark.what, mark.cursor) == ("10", START)


async def test_who_never_was_a_member_has_no_number(store: Store) -> None:
    assert await store.marks.newest_of_group("bob", "team") is None
    await store.appends.number([Numbered("bob", "team", 4, 4, group_fields(4))])
    assert await store.marks.newest_of_group("bob", "team") == 4


def test_what_is_no_mark_is_none() -> None:
    for raw in (None, b"", b"m-1", b"m-1 5-1 x", b"m-1 x 5", b"m-1 5-1 5 5"):
        assert Mark.of(raw) is None
    assert Mark.of(b"m-1 5-1 7") == Mark("m-1", Cursor(5, 1), 7)


async def test_skimming_brings_messages_newest_first_without_their_bodies(store: Store) -> None:
    cursors = await store.fill(5)
    further, found = await store.marks.skim("bob", count=3)
    assert [one.id for one in found] == ["f4", "f3", "f2"]
    assert (found[0].cursor, found[0].sender, found[0].to) == (cursors[4], "alice", ("bob",))
    further, found = await store.marks.skim("bob", further, count=3)
    assert [one.id for one in found] == ["f1", "f0"]
    assert further == b""


async def test_acks_by_the_name_of_receipts_register_no_device(owing: Store) -> None:
    cursors = await owing.fill(1)
    assert (await owing.inboxes.ack([("bob", "", cursors[0])])) == [AckStatus.BEYOND_LAST]
    assert await owing.hash(owing.keys.cursors("bob")) == {}
