"""Rows of `push`: there before the message, leased by one, gone only when nothing is left to be done."""

from typing import Any

import pytest

from service.core.cursor import START, Cursor
from service.core.push import Counted, Newest, Pending, Told, partition_of
from service.core.sending import AppendStatus
from service.store import scripts
from service.store.appends import Numbered
from service.store.push import PushRows, Tries
from tests.store.conftest import Store, accepted, group_fields, message
from tests.store.push_rig import PushStore

IN_A_MINUTE = 60_000


@pytest.fixture
def push(store: Store) -> PushStore:
    return PushStore(store)


async def look(push: PushStore, user: str = "bob", now_ms: int = 0) -> Pending:
    return (await push.rows.look(user, now_ms))[0]


async def count(push: PushStore, user: str = "bob", now_ms: int = 0) -> Counted:
    first = (await look(push, user, now_ms)).first
    return Counted(0, None) if first is None else await push.rows.count(user, first, now_ms)


# Reminding.


async def test_every_recipient_has_a_row_for_when_the_first_message_is_due(push: PushStore) -> None:
    push = PushStore(push.store, now=1_000, after=10)
    await push.store.append([message("m1", "bob", "carol")], own_copy=True)
    push.now = 5_000
    await push.store.send("m2")
    assert await push.score("bob") == await push.score("carol") == 11_000
    assert await push.score("alice") is None, "one's own copy wakes nobody"


async def test_a_row_from_a_clock_that_was_ahead_is_due_when_the_next_message_is(push: PushStore) -> None:
    push.now = IN_A_MINUTE
    await push.store.send("m1")
    push.now = 1_000
    await push.store.send("m2")
    assert await push.score() == 1_000


async def test_a_failed_try_waits_as_long_as_it_was_told_to(push: PushStore) -> None:
    await push.store.send("m1")
    lease = await push.lease()
    await push.rows.done(lease, lease.now_ms + IN_A_MINUTE, Tries(1, "503", lease.now_ms))
    await push.store.send("m2")
    assert await push.score() == lease.now_ms + IN_A_MINUTE


async def test_a_row_is_written_on_the_duplicate_branch_too(push: PushStore) -> None:
    await push.store.send("m1")
    await push.store.do("UNLINK", push.store.keys.push(partition_of("bob")))
    assert (await push.store.send("m1")).status is AppendStatus.DUPLICATE
    assert await push.score() == 0


async def test_what_one_writes_to_oneself_wakes_nobody(push: PushStore) -> None:
    await push.store.send("m1", to="alice")
    assert await push.score("alice") is None


async def test_a_groups_message_wakes_its_members_and_an_event_of_the_group_none(push: PushStore) -> None:
    event: list[str | bytes] = ["kind", "group", "id", "team:1", "group", "team", "seq", "1", "event", "created",
                                "user", "alice", "by", "alice"]  # fmt: skip
    await push.store.appends.number([Numbered("bob", "team", 1, 1, event)])
    assert await push.score() is None
    said = [part.encode() if isinstance(part, str) else part for part in group_fields(2)]
    fields: list[str | bytes] = [b"expires", b"99", *said]  # as a log gives them back
    await push.store.appends.number([Numbered(user, "team", 2, 2, fields) for user in ("bob", "alice")])
    assert await push.score() == 0
    assert await push.score("alice") is None, "the sender is a member, too"


async def test_the_reminder_is_sent_ahead_of_the_append(push: PushStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    run = scripts.call_all

    async def call_all(link: Any, calls: Any, *args: Any, **how: Any) -> list[Any]:
        seen.extend(script.name for script, _, _ in calls)
        return await run(link, calls, *args, **how)

    monkeypatch.setattr(scripts, "call_all", call_all)
    await push.store.send("m1")
    assert seen == ["push_remind", "append"]


async def test_what_cannot_be_noted_is_not_accepted(push: PushStore) -> None:
    await push.store.do("SET", push.store.keys.push(partition_of("bob")), "in the way")
    attempts = await push.store.appends.append([message("m1", "bob"), message("m2", "carol")], own_copy=False)
    assert isinstance(attempts[0], Exception)
    assert not isinstance(attempts[1], Exception), "of another partition"


# Leasing.


async def test_a_row_is_leased_once_until_the_lease_runs_out(push: PushStore) -> None:
    await push.store.send("m1")
    lease = await push.lease()
    assert await push.due() == {}
    assert await push.score() == lease.until_ms + 0.5
    await push.store.do("ZADD", push.store.keys.push(partition_of("bob")), 0.5, "bob")  # so long ago
    assert set(await push.due()) == {"bob"}


async def test_no_more_is_leased_than_there_is_room_for(push: PushStore) -> None:
    users = [f"u{n}" for n in range(200)]
    await push.rows.remind(users)
    for room in (1, 5, 40):
        assert 0 < len(await push.rows.lease(room, 60)) <= room
    taken = {lease.user for _ in range(4) for lease in await push.rows.lease(1000, 60)}
    assert len(taken) >= 200 - 46


# Giving back.


async def test_a_row_goes_after_a_second_look(push: PushStore) -> None:
    await push.store.send("m1")
    assert await push.rows.done(await push.lease())
    score = await push.score()
    assert score is not None
    assert score % 1 == 0.25
    second = await push.lease()
    assert await push.score() == second.until_ms + 0.75
    assert await push.rows.done(second)
    assert await push.score() is None


@pytest.mark.parametrize("looks", (0, 1))
async def test_a_row_that_was_reminded_of_while_somebody_looked_stays(push: PushStore, looks: int) -> None:
    await push.store.send("m1")
    for _ in range(looks):
        await push.rows.done(await push.lease())
    lease = await push.lease()
    await push.store.send("m2")
    await push.rows.done(lease)
    assert await push.score() is not None
    await push.rows.done(await push.lease())
    assert await push.score() is None, "the look after that found nothing"


async def test_a_row_that_was_reminded_of_between_two_looks_starts_again(push: PushStore) -> None:
    await push.store.send("m1")
    push.rows = PushRows(push.store.clients.rest, push.store.keys, push.rows._reminders, settling=3600)
    await push.rows.done(await push.lease())
    await push.store.send("m2")
    assert await push.score() == 0, "it is looked at when the message is due, not after the second look"


async def test_a_lease_that_ran_out_changes_nothing(push: PushStore) -> None:
    await push.store.send("m1")
    late = await push.lease()
    await push.store.do("ZADD", push.store.keys.push(partition_of("bob")), 0.5, "bob")
    mine = await push.lease()
    if late.until_ms == mine.until_ms:
        pytest.skip("both in the same millisecond")
    assert not await push.rows.done(late, tries=Tries(1, "503", 1))
    assert await push.score() == mine.until_ms + 0.5
    assert (await push.rows.look("bob", 0))[1].failures == 0


async def test_a_failed_try_is_noted_and_forgotten_when_all_is_done(push: PushStore) -> None:
    await push.store.send("m1")
    lease = await push.lease()
    await push.rows.done(lease, lease.now_ms - 1, Tries(3, "503", lease.now_ms))
    assert await push.score() == lease.now_ms - 1
    tries = push.store.keys.push_tries(partition_of("bob"))
    assert await push.store.hash(tries) == {"bob": f"3 503 {lease.now_ms}"}
    assert (await push.rows.look("bob", 0))[1] == Tries(3, "503", lease.now_ms)
    await push.rows.done(await push.lease())
    assert await push.store.hash(tries) == {}


@pytest.mark.parametrize("row", (b"", b"many", b"1 2", b"x 503 1"))
def test_a_note_that_cannot_be_read_is_none(row: bytes) -> None:
    assert Tries.of(row).failures == 0


# Looking.


async def test_what_waits_is_counted_from_what_was_acked(push: PushStore) -> None:
    first, second, third = [accepted(await push.store.send(f"m{n}")) for n in (1, 2, 3)]
    assert await look(push) == Pending(START, None, first)
    assert await count(push) == Counted(3, Newest("alice", "", third))
    await push.store.presence.register("bob", "phone")
    await push.store.inboxes.ack([("bob", "phone", first)])
    assert await look(push) == Pending(first, None, second)
    assert await count(push) == Counted(2, Newest("alice", "", third))
    await push.store.inboxes.ack([("bob", "phone", third)])
    assert await look(push) == Pending(third, None)


async def test_own_messages_expired_ones_and_other_entries_do_not_wait(push: PushStore) -> None:
    await push.store.send("m1", sender="bob", to="bob")
    expiring = accepted(await push.store.send("m2", expires_in=5))
    await push.store.do("XADD", push.store.keys.inbox("bob"), f"{expiring.ms}-9", "kind", "receipt", "by", "carol")
    assert (await count(push, now_ms=expiring.ms)).count == 1
    assert (await look(push, now_ms=expiring.ms + IN_A_MINUTE)).first is None
    assert await push.rows.count("bob", expiring, expiring.ms + IN_A_MINUTE) == Counted(0, None), "expired meanwhile"


async def test_a_groups_message_names_the_group(push: PushStore) -> None:
    await push.store.appends.number([Numbered("bob", "team", 1, 1, group_fields(1))])
    newest = (await count(push)).newest
    assert newest is not None
    assert (newest.sender, newest.group) == ("alice", "team")


async def test_everything_is_counted_however_many_slices_it_takes(push: PushStore) -> None:
    cursors = await push.store.fill(250)
    assert (await look(push)).first == cursors[0]
    assert await count(push) == Counted(250, Newest("alice", "", cursors[-1]))


async def test_of_very_many_the_oldest_are_counted_and_the_newest_is_named(
    push: PushStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.push.MOST", 200)
    cursors = await push.store.fill(450)
    asked = calls_of(push, monkeypatch)
    assert await count(push) == Counted(200, Newest("alice", "", cursors[-1]))
    assert len(asked) == 4, "one for the first, two to count, one for the newest"


async def test_a_look_ends_at_the_first_message_that_waits(push: PushStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1, 16):
        await push.store.do("XADD", push.store.keys.inbox("bob"), f"1-{n}", "kind", "receipt", "by", "carol")
    await push.store.fill(250)
    asked = calls_of(push, monkeypatch)
    assert (await look(push)).first is not None
    assert asked == [10, 100]


def calls_of(push: PushStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each look into an inbox may read from now on."""
    asked: list[int] = []
    run = scripts.call_all

    async def call_all(link: Any, calls: Any, *args: Any, **how: Any) -> list[Any]:
        asked.extend(values[3] for script, _, values in calls if script is scripts.PUSH_LOOK)
        return await run(link, calls, *args, **how)

    monkeypatch.setattr(scripts, "call_all", call_all)
    return asked


async def test_where_a_user_was_told_is_remembered(push: PushStore) -> None:
    await push.store.send("m1")
    told = Told(START, Cursor(12, 3))
    assert await push.rows.told("bob", told)
    assert (await look(push)).told == told
    assert not await push.rows.told("nobody", told)
    assert await push.store.state("nobody") == {}


async def test_whoever_has_acked_since_was_not_told_of_what_waits_now(push: PushStore) -> None:
    first, second = [accepted(await push.store.send(f"m{n}")) for n in (1, 2)]
    await push.store.presence.register("bob", "phone")
    await push.store.inboxes.ack([("bob", "phone", first)])
    assert await push.rows.told("bob", Told(first, second))
    assert not await push.rows.told("bob", Told(START, second)), "a worker that was late"
    assert (await look(push)).told == Told(first, second)
