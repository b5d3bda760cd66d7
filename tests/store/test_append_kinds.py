"""append.lua: what is no plain message: deletions, groups' entries, receipts; and senders who are blocked."""

from dataclasses import replace

from service.core.entries import Fields, Kind
from service.core.sending import Appended, AppendStatus, Message
from service.store.appends import Note, Numbered
from service.store.presence import Claim
from tests.store.conftest import Store, accepted, deletion, group_fields, message

APPENDED, DUPLICATE, REUSED, FULL, LEFT_OUT, FAILED, BEHIND, BLOCKED, *_ = AppendStatus
UNKNOWN = AppendStatus.UNKNOWN


async def number(store: Store, number: int, first: int = 1, user: str = "bob") -> Appended:
    [result] = await store.appends.number([Numbered(user, "team", number, first, group_fields(number))])
    assert isinstance(result, Appended)
    return result


async def note(store: Store, target: str = "m1") -> Appended:
    fields: Fields = [
        "kind",
        "receipt",
        "id",
        f"delivered:{target}",
        "target",
        target,
        "receipt",
        "delivered",
        "by",
        "bob",
    ]
    [result] = await store.appends.note([Note("alice", f"receipt/bob/delivered:{target}", fields)])
    assert isinstance(result, Appended)
    return result


# Deletions.


async def test_a_deletion_erases_the_message_and_stands_behind_it(store: Store) -> None:
    gone, kept = accepted(await store.send("m1")), accepted(await store.send("m2"))
    [[result]] = await store.append([deletion(gone, "m1")], own_copy=False)
    assert result.status is APPENDED
    assert await store.entries() == [str(kept), str(accepted(result))]
    rows = await store.do("ZRANGE", store.keys.erased("bob"), 0, -1, "WITHSCORES")
    assert rows == [f"{gone} m1 alice to bob".encode(), b"1"]


async def test_a_deletion_that_comes_again_is_a_repeat(store: Store) -> None:
    gone = accepted(await store.send("m1"))
    [[first]], [[again]] = [await store.append([deletion(gone, "m1")], own_copy=False) for _ in range(2)]
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_of_several_deletions_that_found_the_message_one_is_appended(store: Store) -> None:
    gone = accepted(await store.send("m1"))
    every = [deletion(gone, "m1", f"d{n}") for n in range(3)]
    found = [results[0].status for results in await store.append(every, own_copy=False)]
    assert found == [APPENDED, UNKNOWN, UNKNOWN]
    assert len(await store.entries()) == 1
    again = [results[0].status for results in await store.append(every, own_copy=False)]
    assert again == [DUPLICATE, UNKNOWN, UNKNOWN]


async def test_a_deletion_erases_only_what_it_names(store: Store) -> None:
    other = accepted(await store.send("m1", sender="carol"))
    for target, sender in (("m1", "alice"), ("m2", "carol")):
        await store.append([deletion(other, target, f"d-{target}", sender=sender)], own_copy=False)
    assert str(other) in await store.entries()
    assert await store.do("EXISTS", store.keys.erased("bob")) == 0


async def test_a_deletion_erases_the_senders_own_copy_even_where_its_own_is_left_out(store: Store) -> None:
    store = store.limited(max_pending=3)
    await store.presence.register("alice", "phone")
    [[_, own]] = await store.append([message("m1")], own_copy=True)
    await store.append([message(f"f{n}", "alice", sender="bob") for n in range(2)], own_copy=False)
    row = f"{own.cursor} m1 alice to bob"
    gone = replace(deletion(accepted(own), "m1"), erases=(("alice", row),))
    [[_, copy]] = await store.append([gone], own_copy=True)
    assert copy.status is LEFT_OUT
    assert str(own.cursor) not in await store.entries("alice")


async def test_an_id_of_a_message_does_not_stand_in_the_way_of_an_edit(store: Store) -> None:
    await store.send("m1")
    edit = Message("m1", "alice", ("bob",), b"2", "p2", kind=Kind.EDIT, target="m1", target_from="alice")
    [[result]] = await store.append([edit], own_copy=False)
    assert result.status is APPENDED
    [_, (_, fields)] = await store.do("XRANGE", store.keys.inbox("bob"), "-", "+")
    assert (fields[b"kind"], fields[b"target"], fields[b"target_from"]) == (b"edit", b"m1", b"alice")


# Groups.


async def test_an_inbox_that_begins_with_a_group_expires_as_a_whole(store: Store) -> None:
    """Numbers are not looked up in the dedupe hash; the message behind it is, and must not keep it for good."""
    await number(store, 1)
    await store.send("m1")
    for key in (store.keys.inbox("bob"), store.keys.seen("bob", "b")):
        assert await store.do("TTL", key) > 0
    assert set(await store.hash(store.keys.seen("bob", "b"))) == {"g/team/1", "m/alice/m1"}


async def test_only_a_members_next_number_is_appended(store: Store) -> None:
    assert (await number(store, 1)).status is APPENDED
    ahead = await number(store, 3)
    assert (ahead.status, ahead.number) == (BEHIND, 2)
    assert [(await number(store, n)).status for n in (2, 3, 1, 2, 3)] == [APPENDED, APPENDED, *[DUPLICATE] * 3]
    assert len(await store.entries()) == 3


async def test_who_joined_later_begins_with_its_own_first_number(store: Store) -> None:
    assert (await number(store, 6, first=7)).status is DUPLICATE
    assert (await number(store, 8, first=7)).number == 7
    assert (await number(store, 7, first=7)).status is APPENDED


async def test_who_left_and_came_back_has_nothing_of_the_time_between(store: Store) -> None:
    await number(store, 1)
    assert (await number(store, 5, first=5)).status is APPENDED
    assert (await number(store, 3, first=1)).status is DUPLICATE
    assert len(await store.entries()) == 2


async def test_a_repeated_number_is_a_write_so_that_a_wait_proves_something(store: Store) -> None:
    await number(store, 1)
    await number(store, 1)
    assert (await store.state())["repeats"] == "1"


async def test_a_full_inbox_passes_a_number_over_and_notes_it(store: Store) -> None:
    store = store.limited(max_pending=1)
    assert [(await number(store, n)).status for n in (1, 2, 2)] == [APPENDED, FULL, DUPLICATE]
    assert await store.hash(store.keys.groups("bob")) == {"team": "2 0", "team/refused": "2"}
    assert (await store.state())["group_refused"] == "1"


async def test_a_groups_entry_names_who_is_to_be_told(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    assert (await number(store, 1)).presence == (("phone", "w-1/s-1/0"),)


# Receipts.


async def test_a_receipt_is_kept_once_for_whoever_has_a_device(store: Store) -> None:
    assert (await note(store)).status is LEFT_OUT
    await store.presence.register("alice", "phone")
    first, again = await note(store), await note(store)
    assert (first.status, again.status, again.cursor) == (APPENDED, DUPLICATE, first.cursor)


async def test_a_receipt_is_left_out_of_a_full_inbox_and_counted(store: Store) -> None:
    store = store.limited(max_pending=1)
    await store.presence.register("alice", "phone")
    assert [(await note(store, f"m{n}")).status for n in (1, 2)] == [APPENDED, LEFT_OUT]
    assert (await store.state("alice"))["left_out"] == "1"


# Blocks.


async def block(store: Store, user: str = "alice") -> None:
    await store.do("SADD", store.keys.blocks("bob"), user)
    await store.do("HSET", store.keys.state("bob"), "blocks", "1")


async def test_who_is_blocked_is_refused_and_nobody_else(store: Store) -> None:
    await block(store)
    assert (await store.send("m1")).status is BLOCKED
    assert (await store.send("m1", sender="carol")).status is APPENDED
    assert len(await store.entries()) == 1
    assert await store.do("HEXISTS", store.keys.seen("bob", "a"), "m/alice/m1") == 0


async def test_what_was_accepted_before_the_block_is_answered_as_before(store: Store) -> None:
    first = await store.send("m1")
    await block(store)
    again = await store.send("m1")
    assert (again.status, again.cursor) == (DUPLICATE, first.cursor)


async def test_who_is_blocked_can_still_take_back_what_was_sent(store: Store) -> None:
    gone = accepted(await store.send("m1"))
    await block(store)
    [[result]] = await store.append([deletion(gone, "m1")], own_copy=False)
    assert result.status is APPENDED
