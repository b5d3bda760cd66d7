"""A group that has lost its tail: inboxes tell it by the time of its numbers, and it goes on above what they have."""

from dataclasses import replace

import pytest

from service.core.entries import Kind
from service.core.groups import CommitStatus, Numbering, gets
from service.core.sending import Appended, AppendStatus, Message
from service.store.appends import Numbered
from service.store.groups import Change, Groups
from tests.store.conftest import Store, group_fields, text
from tests.store.group_rig import LATER

APPENDED, DUPLICATE, REWOUND = AppendStatus.APPENDED, AppendStatus.DUPLICATE, AppendStatus.REWOUND


async def number(store: Store, number: int, ts: int, first: int = 1) -> Appended:
    [result] = await store.appends.number([Numbered("bob", "team", number, first, group_fields(number), ts)])
    assert isinstance(result, Appended)
    return result


async def test_a_number_that_comes_again_later_than_the_newest_is_no_repeat(store: Store) -> None:
    for n in (1, 2, 3):
        assert (await number(store, n, 100)).status is APPENDED
    for n in (1, 2, 3):
        assert (await number(store, n, 100)).status is DUPLICATE
        again = await number(store, n, 101)
        assert (again.status, again.number) == (REWOUND, 3)
    assert (await number(store, 2, 99)).status is DUPLICATE
    assert (await number(store, 4, 101)).status is APPENDED
    assert await store.hash(store.keys.groups("bob")) == {"team": "4 101"}


async def test_the_newest_number_has_one_time_only(store: Store) -> None:
    await number(store, 1, 100)
    assert (await number(store, 1, 99)).status is REWOUND


async def test_who_comes_back_under_a_number_it_has_had_is_told_so(store: Store) -> None:
    for n in (1, 2, 3):
        await number(store, n, 100)
    assert (await number(store, 3, 200, first=3)).status is REWOUND
    assert (await number(store, 3, 100, first=5)).status is DUPLICATE


async def test_a_number_that_a_full_inbox_passed_over_has_its_time_too(store: Store) -> None:
    store = store.limited(max_pending=1)
    assert [(await number(store, n, 100)).status for n in (1, 2)] == [APPENDED, AppendStatus.FULL]
    assert (await number(store, 2, 101)).status is REWOUND
    assert await store.hash(store.keys.groups("bob")) == {"team": "2 100", "team/refused": "2"}


async def test_a_number_without_a_time_is_judged_by_itself(store: Store) -> None:
    await store.do("HSET", store.keys.groups("bob"), "team", "5")
    assert (await number(store, 5, 100)).status is DUPLICATE
    assert (await number(store, 6, 100)).status is APPENDED
    assert (await number(store, 6, 0)).status is DUPLICATE


@pytest.fixture
async def groups(store: Store) -> Groups:
    """Of a team of alice and bob, whose clock was an hour ahead when it was made."""
    groups = Groups(store.clients, store.keys, store.limits, 5)
    groups.least_ms = lambda: AHEAD
    await groups.change(Change("team", "alice", "put", ("bob",)), LATER)
    groups.least_ms = lambda: 0
    return groups


AHEAD = 2**45


def said(id: str, kind: Kind = Kind.MESSAGE, target: str = "") -> Message:
    return Message(id, "alice", (), b'"hi"', "p1", kind=kind, target=target, target_from="alice" if target else "")


async def send(groups: Groups, *messages: Message) -> list[Numbering]:
    return (await groups.commit("team", messages, "", LATER)).results


async def test_the_time_of_a_groups_numbers_never_falls(groups: Groups) -> None:
    await send(groups, said("m1"), said("m2"))
    await groups.change(Change("team", "alice", "join", ("carol",)), LATER)
    assert [entry.ts for entry in await groups.log("team", 1, 9)] == [AHEAD] * 4


async def test_open_entries_go_on_above_what_a_member_has(store: Store, groups: Groups) -> None:
    await groups.done("team", [1])
    await send(groups, said("m1"), said("m2"), said("e1", Kind.EDIT, "m1"))
    await groups.renumber("team", await groups.log("team", 1, 3), 7)
    rows = await store.do("XRANGE", "chat:group:{team}:log", "-", "+")
    fields = [text(row) for _, row in rows]
    assert [id.decode() for id, _ in rows] == ["1-0", "4-0", "8-0", "9-0"]
    assert [(of["id"], of["seq"]) for of in fields] == [("team:1", "1"), ("e1", "4"), ("m1", "8"), ("m2", "9")]
    assert sorted(await groups.open("team")) == [4, 8, 9]
    again = await send(groups, said("m1"), said("e1", Kind.EDIT, "m1"), said("m3"))
    assert [(one.status, one.number) for one in again] == [
        (CommitStatus.DUPLICATE, 8),
        (CommitStatus.DUPLICATE, 4),
        (CommitStatus.COMMITTED, 10),
    ]
    assert [one.open for one in again] == [True, True, False]


async def test_an_entry_of_another_history_is_left_where_it_is(groups: Groups) -> None:
    await send(groups, said("m1"))
    (entry,) = await groups.log("team", 2, 2)
    for _ in range(2):
        await groups.renumber("team", [replace(entry, ts=entry.ts - 1)], 7)
    assert [entry.number for entry in await groups.log("team", 1, 99)] == [1, 2]
    assert [one.number for one in await send(groups, said("m2"))] == [8]


async def test_what_is_ended_keeps_its_number(groups: Groups) -> None:
    await send(groups, said("m1"))
    await groups.done("team", [1, 2])
    await groups.renumber("team", await groups.log("team", 2, 2), 7)
    assert [entry.number for entry in await groups.log("team", 1, 99)] == [1, 2]


async def test_who_left_is_owed_its_leaving_but_nothing_that_was_said_after(groups: Groups) -> None:
    for between, owed in ((False, True), (True, False)):
        await groups.change(Change("team", "alice", "put", ("bob",)), LATER)
        left = (await groups.change(Change("team", "alice", "leave", ("bob",)), LATER)).last
        if between:
            await send(groups, said("m1"))
        await groups.renumber("team", await groups.log("team", left, left), left + 7)
        name, members = await groups.members("team")
        newest = (await groups.log("team", 1, 99))[-1].number
        assert newest == left + 8
        assert gets(members["bob"], newest) is owed
        assert not gets(members["bob"], newest + 1)
        assert name.startswith(f"{newest}-") is owed
        await groups.done("team", [newest])


async def test_a_group_that_is_not_there_gets_no_number(store: Store, groups: Groups) -> None:
    await groups.renumber("other", await groups.log("team", 1, 1), 7)
    assert await store.do("EXISTS", "chat:group:{other}") == 0
