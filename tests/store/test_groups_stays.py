"""Stays in groups: how long it is remembered who was a member when."""

import pytest

from service.core.groups import gets
from service.store.groups import Groups
from tests.store.conftest import Store
from tests.store.test_groups import Team


@pytest.fixture
def team(store: Store) -> Team:
    return Team(store, Groups(store.clients, store.keys, store.limits, 5))


async def test_stays_that_are_over_are_dropped_once_nothing_can_be_owed(team: Team) -> None:
    await team.put("bob", "carol")
    await team.change("leave", "bob")
    _, members = await team.groups.members("team")
    assert not gets(members["bob"], 3)
    row = (await team.store.hash("chat:group:{team}:members"))["bob"]
    await team.store.do("HSET", "chat:group:{team}:members", "bob", row.partition("/")[0] + "/1")  # long ago
    await team.change("join", "dave")
    assert "bob" in (await team.groups.members("team"))[1]  # number 2 is open
    await team.groups.done("team", [1, 2, 3])
    await team.change("join", "erin")
    assert "bob" not in (await team.groups.members("team"))[1]


async def test_who_comes_and_goes_without_end_is_not_remembered_without_end(team: Team) -> None:
    await team.put("bob")
    for _ in range(18):
        for what in ("leave", "join"):
            changed = await team.change(what, "bob")
            await team.groups.done("team", range(1, changed.last + 1))
    stays = (await team.groups.members("team"))[1]["bob"]
    assert [stay.joined for stay in stays[:2]] == [4, 6]  # two are forgotten
    assert len([stay for stay in stays if stay.left]) == 16


async def test_many_stays_of_a_group_are_too_many_however_few_users_they_are(team: Team) -> None:
    await team.put("bob", "carol")
    for user in ("bob", "carol"):
        for what in ("leave", "join") * 10:
            changed = await team.change(what, user)
            await team.groups.done("team", range(1, changed.last + 1))
    await team.change("join", "dave")
    _, members = await team.groups.members("team")
    assert sum(len(stays) for stays in members.values()) <= 4 * 5 + 2


async def test_what_is_still_owed_is_never_forgotten(team: Team) -> None:
    await team.put("bob")
    for what in ("leave", "join") * 20:
        await team.change(what, "bob")
    _, members = await team.groups.members("team")
    assert len(members["bob"]) == 21
