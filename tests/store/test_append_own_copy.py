"""append.lua: the sender's own copy, which never holds up or refuses a send."""

from service.core.sending import AppendStatus
from service.store.appends import targets
from service.store.presence import Claim
from tests.store.conftest import Store, accepted, message

APPENDED, DUPLICATE, REUSED, FULL, LEFT_OUT, FAILED, BEHIND, BLOCKED, *_ = AppendStatus


async def with_device(store: Store, user: str = "alice") -> Store:
    """The sender has a live device, for which copies are kept."""
    await store.presence.register(user, "laptop")
    return store


async def test_the_copy_is_an_entry_of_the_senders_own_inbox(store: Store) -> None:
    await with_device(store)
    [[to_bob, copy]] = await store.append([message("m1", "bob")], own_copy=True)
    assert (to_bob.status, copy.status) == (APPENDED, APPENDED)
    [(id, fields)] = await store.do("XRANGE", store.keys.inbox("alice"), "-", "+")
    assert id.decode() == str(copy.cursor)
    assert (fields[b"from"], fields[b"to"], fields[b"id"]) == (b"alice", b"bob", b"m1")


async def test_the_copy_of_a_send_to_several_names_them_all(store: Store) -> None:
    await with_device(store)
    await store.append([message("m1", "bob", "carol")], own_copy=True)
    [(_, fields)] = await store.do("XRANGE", store.keys.inbox("alice"), "-", "+")
    assert fields[b"to"] == b"bob,carol"


async def test_a_sender_who_is_a_recipient_gets_one_entry(store: Store) -> None:
    await with_device(store)
    assert targets(message("m1", "bob", "alice"), own_copy=True) == ("bob", "alice")
    [results] = await store.append([message("m1", "bob", "alice")], own_copy=True)
    assert [result.status for result in results] == [APPENDED, APPENDED]
    assert len(await store.entries("alice")) == 1


async def test_without_own_copies_there_is_none(store: Store) -> None:
    await with_device(store)
    [results] = await store.append([message("m1", "bob")], own_copy=False)
    assert len(results) == 1
    assert await store.entries("alice") == []


async def test_a_sender_without_a_device_gets_none(store: Store) -> None:
    [[_, copy]] = await store.append([message("m1", "bob")], own_copy=True)
    assert copy.status is LEFT_OUT
    assert await store.entries("alice") == []
    assert "left_out" not in await store.state("alice")


async def test_a_repeat_makes_no_second_copy(store: Store) -> None:
    await with_device(store)
    [[_, first]] = await store.append([message("m1", "bob")], own_copy=True)
    [[to_bob, again]] = await store.append([message("m1", "bob")], own_copy=True)
    assert (to_bob.status, again.status) == (DUPLICATE, DUPLICATE)
    assert again.cursor == first.cursor
    assert len(await store.entries("alice")) == 1


async def test_a_repeat_makes_good_a_copy_that_is_missing(store: Store) -> None:
    await with_device(store)
    await store.append([message("m1", "bob")], own_copy=False)  # as if it had died in between
    [[to_bob, copy]] = await store.append([message("m1", "bob")], own_copy=True)
    assert (to_bob.status, copy.status) == (DUPLICATE, APPENDED)


async def test_a_message_nobody_took_leaves_no_copy(store: Store) -> None:
    small = (await with_device(store)).limited(max_pending=1)
    await small.fill(1)
    [[to_bob, copy]] = await small.append([message("m1", "bob")], own_copy=True)
    assert (to_bob.status, copy.status) == (FULL, LEFT_OUT)
    assert await small.entries("alice") == []


async def test_a_misused_id_leaves_no_copy_of_the_other_body(store: Store) -> None:
    await store.send("m1", print="p1")
    await with_device(store)
    [[to_bob, copy]] = await store.append([message("m1", "bob", print="p2")], own_copy=True)
    assert (to_bob.status, copy.status) == (REUSED, LEFT_OUT)


async def test_one_recipient_who_took_it_is_enough_for_a_copy(store: Store) -> None:
    small = (await with_device(store)).limited(max_pending=1)
    await small.fill(1, "bob")
    [results] = await small.append([message("m1", "bob", "carol")], own_copy=True)
    assert [result.status for result in results] == [FULL, APPENDED, APPENDED]


async def test_a_refusal_does_not_take_the_copy_from_the_next_message_or_give_it_one(store: Store) -> None:
    small = (await with_device(store)).limited(max_pending=3)
    await small.fill(3, "bob")
    rows = await small.append([message("m1", "carol"), message("m2", "bob"), message("m3", "carol")], own_copy=True)
    assert [[result.status for result in row] for row in rows] == [
        [APPENDED, APPENDED],
        [FULL, LEFT_OUT],
        [APPENDED, APPENDED],
    ]


async def test_past_its_limit_a_copy_is_left_out_and_counted_and_the_send_accepted(store: Store) -> None:
    small = (await with_device(store)).limited(max_pending=2)
    await small.fill(2, "alice")
    for n in range(3):
        [[to_bob, copy]] = await small.limited(max_pending=2).append([message(f"m{n}", f"b{n}")], own_copy=True)
        assert (to_bob.status, copy.status) == (APPENDED, LEFT_OUT)
    assert (await small.state("alice"))["left_out"] == "3"
    assert len(await small.entries("alice")) == 2


async def test_the_same_id_to_another_recipient_later_keeps_the_first_copy(store: Store) -> None:
    await with_device(store)
    [[_, first]] = await store.append([message("m1", "bob", print="p1")], own_copy=True)
    [[to_carol, copy]] = await store.append([message("m1", "carol", print="p2")], own_copy=True)
    assert (to_carol.status, copy.status) == (APPENDED, DUPLICATE)
    assert copy.cursor == first.cursor


async def test_a_copy_that_cannot_be_written_harms_nobody(store: Store) -> None:
    await with_device(store)
    await store.do("SET", store.keys.inbox("alice"), "not a stream")
    [[to_bob, copy]] = await store.append([message("m1", "bob")], own_copy=True)
    assert (to_bob.status, copy.status) == (APPENDED, FAILED)


async def test_a_copy_names_the_senders_own_devices(store: Store) -> None:
    await store.presence.claim(Claim("alice", "laptop", "w-1", "s-1"))
    [[_, copy]] = await store.append([message("m1", "bob")], own_copy=True)
    assert copy.presence == (("laptop", "w-1/s-1/0"),)
    assert accepted(copy).seq == 1
