"""Fates: every state a message can be in at one recipient, and what is told of it."""

import pytest

from service.core.cursor import Cursor
from service.store.appends import Note
from service.store.fates import Fate, Fates, State, judged
from service.store.marks import Mark, delivered, was_read
from tests.store.conftest import Store, accepted, deletion, message

GOT = Mark("m9", Cursor(9, 9), 50)


@pytest.mark.parametrize(
    ("expires", "there", "acked", "got", "read", "state"),
    (
        (0, True, False, None, None, State.PENDING),
        (0, True, True, None, None, State.DELIVERED),
        (0, True, False, GOT, None, State.DELIVERED),
        (0, False, True, None, None, State.DELIVERED),
        (0, False, False, None, None, State.TRIMMED),
        (0, True, True, GOT, GOT, State.READ),
        (0, False, False, None, GOT, State.READ),
        (100, True, False, None, None, State.PENDING),
        (100, True, True, None, None, State.DELIVERED),
        (60, True, False, None, None, State.EXPIRED),
        (60, True, True, None, None, State.EXPIRED),
        (60, True, True, GOT, None, State.DELIVERED),
        (40, True, True, GOT, None, State.EXPIRED),
        (40, True, True, GOT, GOT, State.READ),
    ),
)
def test_each_state(expires: int, there: bool, acked: bool, got: Mark | None, read: Mark | None, state: State) -> None:
    fields = {b"expires": str(expires).encode()} if expires else {}
    assert judged(fields if there else None, acked, got, read, now_ms=70) is state


async def of(store: Store, id: str = "m1", now: int = 0) -> Fate | None:
    return await Fates(store.clients, store.keys, store.marks).of("bob", "alice", id, now)


async def test_from_pending_over_delivered_to_read(store: Store) -> None:
    first, second = await store.fill(2, prefix="m")
    pending = Fate("bob", second, State.PENDING, None, None, ())
    assert await of(store) == pending
    await store.inboxes.ack([("bob", "phone", second), ("bob", "pad", first)])
    await store.marks.owed([("bob", None)])
    mark = (await store.marks.all("bob"))[delivered("alice")]
    assert await of(store) == Fate("bob", second, State.DELIVERED, mark.at_ms, None, ("phone",))
    found = await of(store, "m0")
    assert found == Fate("bob", first, State.DELIVERED, mark.at_ms, None, ("pad", "phone"))
    await store.marks.move("bob", was_read("alice"), "m1", second)
    found = await of(store)
    assert found is not None
    assert found.state is State.READ
    assert found.read_at is not None


async def test_without_receipts_the_time_is_not_known(store: Store) -> None:
    [cursor] = await store.fill(1, prefix="m")
    await store.inboxes.ack([("bob", "phone", cursor)])
    assert await of(store, "m0") == Fate("bob", cursor, State.DELIVERED, None, None, ("phone",))


async def test_of_what_was_deleted_unread_nothing_is_left(store: Store) -> None:
    cursor = accepted(await store.send("m1"))
    await store.append([deletion(cursor, "m1")], own_copy=False)
    assert await of(store) == Fate("bob", cursor, State.TRIMMED, None, None, ())


async def test_what_expired_is_so(store: Store) -> None:
    cursor = accepted(await store.send("m1", expires_in=1))
    assert await of(store, now=cursor.ms + 999) == Fate("bob", cursor, State.PENDING, None, None, ())
    assert await of(store, now=cursor.ms + 1000) == Fate("bob", cursor, State.EXPIRED, None, None, ())


async def test_an_id_nobody_knows_has_no_fate(store: Store) -> None:
    assert await of(store) is None


async def test_the_senders_own_copy_names_the_recipients(store: Store) -> None:
    fates = Fates(store.clients, store.keys, store.marks)
    await store.presence.register("alice", "phone")
    await store.append([message("m1", "bob", "carol")], own_copy=True)
    assert await fates.recipients("alice", "m1") == ("bob", "carol")
    assert await fates.recipients("alice", "m2") == ()
    assert await fates.recipients("bob", "m1") == ()


async def test_a_copy_that_is_no_longer_kept_names_nobody(store: Store) -> None:
    fates = Fates(store.clients, store.keys, store.marks)
    await store.presence.register("alice", "phone")
    await store.append([message("m1")], own_copy=True)
    await store.appends.note([Note("alice", "read/user/bob/m9", ["kind", "read", "id", "read:m9", "upto", "m9"])])
    await store.do("XDEL", store.keys.inbox("alice"), (await store.entries("alice"))[0])
    assert await fates.recipients("alice", "m1") == ()
