"""The spread: who is behind is healed, one bad inbox stops nobody, what is not known is said, hints are shared."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.core.entries import Fields
from service.core.errors import Unavailable
from service.core.groups import LogEntry, Members, stays_of
from service.core.sending import Appended, AppendStatus
from service.delivery import spread as spread_module
from service.delivery.spread import Spread
from service.delivery.worker import Worker
from service.store import groups as groups_module
from service.store.appends import Numbered
from service.store.groups import Change
from tests.delivery.conftest import Start
from tests.delivery.group_rig import change, has, opens, said, send
from tests.delivery.rig import NEVER, connect, troubled, until_stored

USERS = ("alice", "bob", "carol", "heidi")


async def committed(worker: Worker, count: int) -> tuple[Members, list[LogEntry]]:
    """A group of everybody, and so many messages that went nowhere yet."""
    await worker.groups.change(Change("team", "alice", "put", USERS), worker.claim_deadline())
    messages = [said(f"m{n}") for n in range(count)]
    await worker.groups.commit("team", messages, "", worker.claim_deadline())
    _, members = await worker.groups.members("team")
    return members, [
        entry for low in range(1, count + 2, 100) for entry in await worker.groups.log("team", low, low + 99)
    ]


def spread(worker: Worker, told: list[Any] | None = None) -> Spread:
    def tell(_: Fields, rows: Sequence[tuple[str, Appended]]) -> None:
        if told is not None:
            told.append(rows)

    return Spread(worker.groups, worker.appends, tell)


@pytest.mark.parametrize("page", (2, 128))
async def test_the_newest_alone_brings_everything_that_was_missing(
    worker: Worker, store: Any, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    members, entries = await committed(worker, 7)
    monkeypatch.setattr(groups_module, "LOG_PAGE", page)
    given = await spread(worker).give("team", members, entries[-1:])
    assert (given.unknown, dict(given.refused)) == (set(), {})
    for user in USERS:
        assert await has(store, user) == ["1 created", *(f"{n + 2} m{n}" for n in range(7))]


async def test_members_that_are_behind_by_different_numbers_are_all_healed(worker: Worker, store: Any) -> None:
    members, entries = await committed(worker, 5)
    for lead, user in enumerate(USERS):
        some = [Numbered(user, "team", entry.number, 1, entry.fields) for entry in entries[:lead]]
        await worker.appends.number(some)
    await spread(worker).give("team", members, entries[-1:])
    for user in USERS:
        assert await has(store, user) == ["1 created", *(f"{n + 2} m{n}" for n in range(5))]


async def test_what_was_deleted_from_the_log_is_passed_over(worker: Worker, store: Any) -> None:
    members, entries = await committed(worker, 5)
    for number in (3, 4):
        await store.xdel("chat:group:{team}:log", f"{number}-0")
    given = await spread(worker).logged("team", members, [4, 6])
    assert given.unknown == set()
    assert await has(store, "bob") == ["1 created", "2 m0", "5 m3", "6 m4"]
    assert entries[-1].number == 6


async def test_a_stay_that_was_over_is_served_before_the_next_one(worker: Worker, store: Any) -> None:
    members, entries = await committed(worker, 6)
    members = {**members, "bob": stays_of("0-3/1 5-")}
    await spread(worker).give("team", members, entries[-1:])
    assert await has(store, "bob") == ["1 created", "2 m0", "3 m1", "6 m4", "7 m5"]


async def test_an_inbox_that_cannot_be_written_to_is_counted_and_healed_once_it_can(worker: Worker, store: Any) -> None:
    members, entries = await committed(worker, 3)
    await store.set("chat:inbox:{bob}", "not a stream")
    given = await spread(worker).give("team", members, entries)
    assert given.unknown == set()
    assert {number: sorted(users) for number, users in given.refused.items()} == {n: ["bob"] for n in (1, 2, 3, 4)}
    assert len(await has(store, "carol")) == 4
    await store.delete("chat:inbox:{bob}")
    await send(worker, said("m9"))
    assert await has(store, "bob") == ["1 created", "2 m0", "3 m1", "4 m2", "5 m9"]


@pytest.mark.parametrize("method", ("number", "log"))
async def test_what_is_not_known_is_said(worker: Worker, store: Any, method: str) -> None:
    members, entries = await committed(worker, 3)
    target = worker.appends if method == "number" else worker.groups
    troubled(target, method).before = 1
    given = await spread(worker).give("team", members, entries[-1:])
    assert given.unknown == {4}
    given = await spread(worker).logged("team", members, await opens(store))
    assert given.unknown == set()
    assert len(await has(store, "heidi")) == 4


async def test_everything_is_told_once_for_all_whom_it_has_just_reached(worker: Worker) -> None:
    members, entries = await committed(worker, 1)
    told: list[list[tuple[str, Appended]]] = []
    for _ in range(2):
        await spread(worker, told).give("team", members, entries)
    assert sorted(user for rows in told for user, _ in rows) == sorted(2 * USERS)
    assert {result.status for rows in told for _, result in rows} == {AppendStatus.APPENDED}


async def test_another_worker_hears_of_an_entry_in_one_field_for_all_its_members(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)  # which would read it
    clients = [await connect(other, user) for user in USERS]
    await change(worker, "put", *USERS)
    for client in clients:
        await client.next("group")
    announce = worker.streams.announce
    fields: list[str] = []

    async def counting(entries: Any) -> Any:
        fields.extend(name for _, pairs in entries for name, _ in pairs if not name.startswith("!"))
        return await announce(entries)

    monkeypatch.setattr(worker.streams, "announce", counting)
    await send(worker, said("m1"))
    for client in clients:
        await client.until(lambda one=client: one.ids == ["m1"] or None, "m1")  # type: ignore[misc]
        assert "replay" not in client.of("message")[0]
    assert len(fields) == 1
    assert sorted(part.partition("/")[0] for name in fields for part in name.split(" ")) == sorted(USERS)


async def test_no_call_holds_more_than_a_part_however_much_is_missing(
    worker: Worker, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, entries = await committed(worker, 20)
    monkeypatch.setattr(spread_module, "PART_BYTES", 3 * entries[-1].size)
    sizes: list[int] = []
    number = worker.appends.number

    async def counting(ops: Sequence[Numbered]) -> Any:
        sizes.append(len(ops))
        return await number(ops)

    monkeypatch.setattr(worker.appends, "number", counting)
    given = await spread(worker).give("team", members, entries[-1:])
    assert given.unknown == set()
    assert max(sizes) <= 4  # shorter ids weigh less
    for user in USERS:
        assert len(await has(store, user)) == 21


async def test_a_spread_that_knows_nothing_of_some_member_raises_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, entries = await committed(worker, 1)

    async def away(*_: Any) -> Any:
        raise Unavailable("as the test wants it")

    monkeypatch.setattr(worker.appends, "number", away)
    given = await spread(worker).give("team", members, entries)
    assert given.unknown == {1, 2}
    await until_stored(lambda: opens_still(worker), "both stay open")


async def opens_still(worker: Worker) -> bool:
    return sorted(await worker.groups.open("team")) == [1, 2]


async def test_who_does_not_answer_is_asked_once_and_the_others_get_everything() -> None:
    """Each call that has such a member in it costs a time-out."""
    members = {f"u{n:03}": stays_of("0-") for n in range(200)}
    away = {f"u{n:03}" for n in range(0, 200, 10)}
    calls: list[set[str]] = []
    got: dict[str, list[int]] = {}

    class Half:
        async def number(self, ops: Sequence[Numbered]) -> list[Appended | Unavailable]:
            calls.append({op.user for op in ops if op.user in away})
            for op in ops:
                got.setdefault(op.user, []).append(op.number)
            return [Unavailable("away") if op.user in away else Appended(AppendStatus.DUPLICATE) for op in ops]

    entries = [LogEntry(n, ["kind", "message", "id", f"m{n}"]) for n in range(1, 65)]
    given = await Spread(None, Half(), lambda *_: None).give("team", members, entries)  # type: ignore[arg-type]
    assert given.unknown == set(range(1, 65))
    assert given.away == away
    assert sum(1 for users in calls if users) == 2  # the first number of all members takes two calls
    assert {user: numbers for user, numbers in got.items() if len(numbers) < 64} == {user: [1] for user in away}
