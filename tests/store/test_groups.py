"""Groups in the store: numbers without holes, repeats, who is owed what, and what becomes of it when somebody dies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from service.core.entries import Kind
from service.core.errors import Unavailable
from service.core.groups import CommitStatus, Erasure, Numbering, current, gets
from service.core.sending import AppendStatus, Message
from service.store import groups as store_groups
from service.store import scripts
from service.store.appends import Numbered
from service.store.groups import Change, Changed, ChangeStatus, Groups
from tests.store.conftest import Store, text

LATER = 2**50
BUSY = 3


@dataclass
class Team:
    """One group, as Alice has it."""

    store: Store
    groups: Groups
    name: str = "team"

    async def put(self, *users: str, by: str = "alice", name: str | None = None, any_group: bool = False) -> Changed:
        return await self.change("put", *users, by=by, name=name, any_group=any_group)

    async def change(self, what: str, *users: str, by: str = "alice", **more: Any) -> Changed:
        return await self.groups.change(Change(self.name, by, what, users, **more), LATER)

    async def send(self, *messages: Message) -> list[Numbering]:
        return (await self.groups.commit(self.name, messages, "", LATER)).results

    async def events(self) -> list[str]:
        rows = await self.store.do("XRANGE", f"chat:group:{{{self.name}}}:log", "-", "+")
        of = [text(fields) for _, fields in rows]
        return [f"{f['seq']} {f.get('event', f['kind'])} {f.get('user', '')}" for f in of]

    async def age(self, ms: int) -> None:
        """Moves the turn of the dedupe hashes back."""
        turned = int((await self.store.hash(f"chat:group:{{{self.name}}}"))["turned"])
        await self.store.do("HSET", f"chat:group:{{{self.name}}}", "turned", turned - ms)


@pytest.fixture
def team(store: Store) -> Team:
    return Team(store, Groups(store.clients, store.keys, store.limits, 5))


def said(id: str = "m1", sender: str = "alice", *, print: str = "p1", **more: Any) -> Message:
    return Message(id, sender, (), b'"hi"', print, **more)


def change_to(target: str, kind: Kind, id: str = "d1", sender: str = "alice", target_from: str = "alice") -> Message:
    body = b"" if kind is Kind.DELETE else b'"new"'
    return Message(id, sender, (), body, "p2", kind=kind, target=target, target_from=target_from)


async def test_who_creates_a_group_owns_it_and_is_a_member(team: Team) -> None:
    changed = await team.put("bob", "carol", name="The team")
    assert changed == Changed(ChangeStatus.DONE, created=True, first=1, last=1, open=1)
    view = await team.groups.view("team")
    assert view is not None
    assert (view.name, view.owner, view.members, view.last) == ("The team", "alice", ("alice", "bob", "carol"), 1)
    assert view.created_at > 0
    assert await team.events() == ["1 created alice"]


async def test_messages_and_changes_of_members_are_numbered_together(team: Team) -> None:
    await team.put("bob")
    first, second = await team.send(said("m1"), said("m2", "bob"))
    await team.change("join", "carol")
    (third,) = await team.send(said("m3", "carol"))
    assert [(one.status, one.number, one.members) for one in (first, second, third)] == [
        (CommitStatus.COMMITTED, 2, 2),
        (CommitStatus.COMMITTED, 3, 2),
        (CommitStatus.COMMITTED, 5, 3),
    ]
    assert await team.events() == ["1 created alice", "2 message ", "3 message ", "4 joined carol", "5 message "]


async def test_a_member_gets_what_lies_between_joining_and_leaving_with_both_ends(team: Team) -> None:
    await team.put("bob")
    await team.send(said("m1"))
    await team.change("join", "carol")
    await team.send(said("m2"))
    await team.change("leave", "carol", by="carol")
    await team.send(said("m3"))
    await team.change("join", "carol")
    _, members = await team.groups.members("team")
    assert [number for number in range(1, 9) if gets(members["carol"], number)] == [3, 4, 5, 7, 8]
    assert [number for number in range(1, 8) if gets(members["bob"], number)] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_repeat_is_answered_before_anything_else(team: Team) -> None:
    await team.put("bob")
    (first,) = await team.send(said("m1", "bob"))
    await team.change("leave", "bob", by="bob")
    (again,) = await team.send(said("m1", "bob"))
    assert (again.status, again.number, again.ts, again.members) == (CommitStatus.DUPLICATE, 2, first.ts, 2)
    assert again.open
    await team.groups.done("team", [2])
    assert not (await team.send(said("m1", "bob")))[0].open
    assert [one.status for one in await team.send(said("m1", "bob", print="p2"), said("m2", "bob"))] == [
        CommitStatus.REUSED,
        CommitStatus.NO_SUCH_GROUP,
    ]
    await team.change("delete")
    assert (await team.send(said("m1", "bob")))[0].status is CommitStatus.DUPLICATE


@pytest.mark.parametrize(("ms", "status"), ((61_000, CommitStatus.DUPLICATE), (121_000, CommitStatus.COMMITTED)))
async def test_repeats_are_known_for_one_to_two_windows(team: Team, ms: int, status: CommitStatus) -> None:
    await team.put()
    await team.send(said("m1"))
    await team.age(ms)
    assert (await team.send(said("m2"), said("m1")))[1].status is status


async def test_a_hash_of_ids_never_stays_for_good(team: Team) -> None:
    await team.put()
    await team.send(said("m1"))
    await team.age(61_000)
    await team.send(said("m1"))  # turns them, and writes nothing
    await team.send(said("m2"))
    for turn in "ab":
        assert 0 < await team.store.do("TTL", f"chat:group:{{team}}:seen:{turn}") <= 121


@pytest.mark.parametrize("who", ("mallory", "carol"))
async def test_only_members_send(team: Team, who: str) -> None:
    await team.put("bob", "carol")
    await team.change("leave", "carol")
    assert (await team.send(said("m1", who)))[0].status is CommitStatus.NO_SUCH_GROUP


async def test_a_group_that_never_was_leaves_no_trace(team: Team) -> None:
    assert (await team.send(said("m1")))[0].status is CommitStatus.NO_SUCH_GROUP
    assert (await team.change("join", "bob")).status is ChangeStatus.NO_SUCH_GROUP
    assert await team.groups.view("team") is None
    assert await team.store.do("KEYS", "*") == []


async def test_what_comes_too_late_is_not_done(team: Team) -> None:
    await team.put("bob")
    before = await team.store.hash("chat:group:{team}")
    with pytest.raises(Unavailable):
        await team.groups.commit("team", [said()], "", 1)
    with pytest.raises(Unavailable):
        await team.groups.change(Change("team", "alice", "delete"), 1)
    assert await team.store.hash("chat:group:{team}") == before


async def test_the_members_come_back_only_where_they_are_not_known(team: Team) -> None:
    await team.put("bob")
    first = await team.groups.commit("team", [said("m1")], "", LATER)
    assert first.members is not None
    assert current(first.members) == ("alice", "bob")
    assert (await team.groups.commit("team", [said("m2")], first.changed, LATER)).members is None
    await team.change("join", "carol")
    third = await team.groups.commit("team", [said("m3")], first.changed, LATER)
    assert third.members is not None
    assert current(third.members) == ("alice", "bob", "carol")


# Changing.


async def test_a_put_says_only_what_it_changes(team: Team) -> None:
    await team.put("bob", "carol", name="one")
    changed = await team.put("carol", "dave", name="two")
    assert (changed.created, changed.first, changed.last) == (False, 2, 4)
    assert await team.events() == ["1 created alice", "2 renamed alice", "3 left bob", "4 joined dave"]
    same = await team.put("dave", "carol", "alice")
    assert (same.first, same.last) == (5, 4)
    view = await team.groups.view("team")
    assert view is not None
    assert (view.name, view.members) == ("two", ("alice", "carol", "dave"))


@pytest.mark.parametrize(
    ("who", "what", "status"),
    (
        ("bob", "put", ChangeStatus.FORBIDDEN),
        ("bob", "join", ChangeStatus.FORBIDDEN),
        ("bob", "leave", ChangeStatus.FORBIDDEN),
        ("bob", "delete", ChangeStatus.FORBIDDEN),
        ("mallory", "put", ChangeStatus.NO_SUCH_GROUP),
        ("mallory", "join", ChangeStatus.NO_SUCH_GROUP),
        ("mallory", "leave", ChangeStatus.NO_SUCH_GROUP),
        ("mallory", "delete", ChangeStatus.NO_SUCH_GROUP),
    ),
)
async def test_the_owner_alone_changes_it_or_who_may_change_all(
    team: Team, who: str, what: str, status: ChangeStatus
) -> None:
    await team.put("bob", "carol")
    users = () if what == "delete" else ("carol",)
    assert (await team.change(what, *users, by=who)).status is status
    assert (await team.change(what, *users, by=who, any_group=True)).status is ChangeStatus.DONE


async def test_when_the_owner_leaves_the_longest_standing_member_is_owner(team: Team) -> None:
    await team.put("carol")
    await team.change("join", "bob")
    await team.change("leave", "alice")
    view = await team.groups.view("team")
    assert view is not None
    assert (view.owner, view.members) == ("carol", ("carol", "bob"))
    await team.change("leave", "carol", by="carol")
    await team.change("leave", "bob", by="bob")
    assert await team.groups.view("team") is None


async def test_a_deleted_group_goes_on_with_its_numbers_where_it_is_made_again(team: Team) -> None:
    await team.put("bob")
    await team.change("delete")
    assert (await team.send(said()))[0].status is CommitStatus.NO_SUCH_GROUP
    await team.groups.done("team", [1, 2])
    left = {key.decode() for key in await team.store.do("KEYS", "*")}
    assert left == {"chat:group:{team}"}
    changed = await team.put("carol", by="bob")
    assert (changed.created, changed.first, changed.last) == (True, 3, 3)
    _, members = await team.groups.members("team")
    assert current(members) == ("bob", "carol")


async def test_there_are_no_more_members_than_there_may_be(team: Team) -> None:
    assert (await team.put("b", "c", "d", "e", "f")).status is ChangeStatus.FULL
    await team.put("b", "c", "d", "e")
    assert (await team.change("join", "f")).status is ChangeStatus.FULL
    assert (await team.change("join", "e")).status is ChangeStatus.DONE
    assert (await team.put("b", "c", "d", "f")).status is ChangeStatus.DONE  # one goes, one comes


async def test_while_too_much_is_under_way_nothing_more_is_taken(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_groups, "MOST_OPEN", BUSY)
    await team.put("bob")
    results = await team.send(*(said(f"m{n}") for n in range(4)))
    assert [one.status for one in results] == [CommitStatus.COMMITTED] * 2 + [CommitStatus.BUSY] * 2
    assert (await team.change("join", "carol")).status is ChangeStatus.BUSY
    await team.groups.done("team", [1])
    assert (await team.send(said("m3")))[0].status is CommitStatus.COMMITTED


# The log, and what is open.


async def test_the_log_keeps_what_an_open_fan_out_needs(team: Team) -> None:
    short = Groups(team.store.clients, team.store.keys, team.store.limited(history=10).limits, 5)
    await team.put("bob")
    for batch in range(6):
        await team.send(*(said(f"m{batch}-{n}") for n in range(50)))
    numbers = list(range(1, 302))
    await short.done("team", numbers[100:])
    assert len(await team.events()) == 301
    assert list(await team.groups.open("team")) == numbers[:100]
    await short.done("team", numbers[:100])
    if team.store.real:
        assert 10 <= len(await team.events()) < 210
    assert await team.groups.open("team") == {}


async def test_a_page_of_the_log_is_bounded_by_bytes_too(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_groups, "LOG_BYTES", 1500)
    await team.put("bob")
    await team.send(*(said(f"m{n}") for n in range(60)))
    page = await team.groups.log("team", 1, 61)
    assert [entry.number for entry in page] == list(range(1, len(page) + 1))
    assert 16 <= len(page) < 61
    assert abs(sum(entry.size for entry in page) - 1500) < 500
    monkeypatch.undo()
    assert len(await team.groups.log("team", 1, 61)) == 61
    assert await team.groups.log("team", 62, 99) == []


async def test_what_is_logged_is_what_every_member_gets(team: Team) -> None:
    await team.put("bob", name="Ä team")
    await team.send(said("m1", expires_in=60, receipts=False))
    created, sent = await team.groups.log("team", 1, 9)
    assert created.fields[-2:] == [b"name", "Ä team".encode()]
    (number,) = await team.send(said("m1", expires_in=60))
    assert sent.number == 2
    names = sent.fields[::2]
    assert names == [b"expires", b"kind", b"id", b"from", b"group", b"seq", b"receipts", b"body"]
    values = dict(zip(names, sent.fields[1::2], strict=True))
    assert values[b"seq"] == b"2"
    assert int(values[b"expires"]) == number.ts + 60_000


async def test_a_deletion_takes_its_target_out_of_the_log(team: Team) -> None:
    await team.put("bob")
    (sent,) = await team.send(said("m1"))
    (gone,) = await team.send(change_to("m1", Kind.DELETE))
    assert gone.erases == Erasure(2, sent.ts)
    assert [entry.number for entry in await team.groups.log("team", 1, 9)] == [1, 3]
    (entry,) = await team.groups.log("team", 3, 3)
    assert entry.erases == Erasure(2, sent.ts)
    assert b"erases" not in entry.fields
    (again,) = await team.send(change_to("m1", Kind.DELETE))
    assert (again.status, again.erases) == (CommitStatus.DUPLICATE, Erasure(2, sent.ts))


async def test_what_is_said_about_an_unknown_message_is_refused(team: Team) -> None:
    await team.put("bob")
    await team.send(said("m1"))
    results = await team.send(
        change_to("m9", Kind.EDIT, "e1"),
        change_to("m1", Kind.REACT, "r1", "bob", "carol"),
        change_to("m1", Kind.REACT, "r2", "bob"),
        change_to("m1", Kind.EDIT, "e2"),
    )
    assert [one.status for one in results] == [CommitStatus.NO_SUCH_MESSAGE] * 2 + [CommitStatus.COMMITTED] * 2


@pytest.mark.parametrize("ms", (0, 61_000))
async def test_what_was_deleted_is_deleted_once_and_nothing_is_said_of_it(team: Team, ms: int) -> None:
    """Also where the ids have turned since."""
    await team.put("bob")
    await team.send(said("m0"), said("m1"))
    await team.age(ms)
    (first,) = await team.send(change_to("m1", Kind.DELETE))
    results = await team.send(
        change_to("m1", Kind.DELETE, "d2"),
        change_to("m1", Kind.EDIT, "e1"),
        change_to("m1", Kind.REACT, "r1", "bob"),
        change_to("m0", Kind.DELETE, "d3"),
        change_to("m0", Kind.EDIT, "e2"),
        change_to("m1", Kind.DELETE),
    )
    wanted = [CommitStatus.NO_SUCH_MESSAGE] * 3
    assert [one.status for one in results[:3]] == wanted
    assert [one.status for one in results[3:]] == [
        CommitStatus.COMMITTED,
        CommitStatus.NO_SUCH_MESSAGE,
        CommitStatus.DUPLICATE,
    ]
    assert (results[5].number, results[5].erases) == (first.number, first.erases)


async def test_what_is_said_of_a_message_that_expires_goes_with_it(team: Team) -> None:
    await team.put("bob")
    sent, edited, reacted = await team.send(
        said("m1", expires_in=60), change_to("m1", Kind.EDIT, "e1"), change_to("m1", Kind.REACT, "r1", "bob")
    )
    assert edited.expires == reacted.expires == sent.expires > sent.ts
    (edit,) = await team.groups.log("team", 3, 3)
    assert edit.fields[:2] == [b"expires", str(sent.expires).encode()]
    (gone,) = await team.send(change_to("m1", Kind.DELETE))
    assert gone.expires == 0


async def give(team: Team, *numbers: int, user: str = "bob") -> list[AppendStatus]:
    entries = {entry.number: entry for entry in await team.groups.log("team", 1, 99)}
    ops = [Numbered(user, "team", number, 1, entries[number].fields) for number in numbers]
    return [row.status for row in await team.store.appends.number(ops) if not isinstance(row, Unavailable)]


async def test_a_deleted_message_is_erased_where_it_lies(team: Team) -> None:
    await team.put("bob")
    (sent,) = await team.send(said("m1"))
    await give(team, 1, 2)
    for n in range(60):
        await team.store.send(f"x{n}")
    erases = Erasure(2, sent.ts)
    for _ in range(2):
        await team.groups.erase("team", ["bob", "carol"], erases, "m1", "alice")
        assert [id.partition("-")[2] for id in await team.store.entries()][:2] == ["1", "3"]
    (row,) = await team.store.do("ZRANGE", "chat:erased:{bob}", 0, -1, "WITHSCORES") and await team.store.do(
        "ZRANGE", "chat:erased:{bob}", 0, -1
    )
    cursor, *rest = row.decode().split(" ")
    assert (cursor.partition("-")[2], rest) == ("2", ["m1", "alice", "group", "team/2"])
    assert 0 < await team.store.do("TTL", "chat:erased:{bob}") <= team.store.limits.kept * 2


@pytest.mark.parametrize(("number", "id", "sender"), ((1, "m1", "alice"), (2, "m2", "alice"), (2, "m1", "bob")))
async def test_nothing_else_is_erased(team: Team, number: int, id: str, sender: str) -> None:
    await team.put("bob")
    (sent,) = await team.send(said("m1"))
    await give(team, 1, 2)
    await team.groups.erase("team", ["bob"], Erasure(number, sent.ts - 1000), id, sender)
    assert len(await team.store.entries()) == 2


async def test_an_inbox_that_may_get_the_deleted_message_yet_is_named(team: Team) -> None:
    await team.put("bob")
    (sent,) = await team.send(said("m1"))
    for number, users in ((1, {"bob": 2, "carol": 1}), (2, {"carol": 1})):
        await give(team, number)
        assert await team.groups.erase("team", ["bob", "carol"], Erasure(2, sent.ts), "m1", "alice") == users
    assert len(await team.store.entries()) == 1


@pytest.mark.parametrize(("looks", "size"), ((40, 1 << 20), (10_000, 100)))
async def test_one_call_looks_at_so_much_and_the_next_goes_on_from_there(
    team: Team, monkeypatch: pytest.MonkeyPatch, looks: int, size: int
) -> None:
    """What is deleted lies behind much that came while the clock stood."""
    monkeypatch.setattr(store_groups, "ERASE_LOOKS", looks)
    monkeypatch.setattr(store_groups, "ERASE_BYTES", size)
    users = ["alice", "bob", "carol"]
    await team.put("bob", "carol")
    (sent,) = await team.send(said("m1"))
    for user in users:
        for n in range(70):
            await team.store.send(f"x{n}-{user}", to=user)
        await give(team, 1, 2, user=user)
    calls: list[int] = []
    call_all = scripts.call_all

    async def counting(link: Any, made: Any, *more: Any, **how: Any) -> list[Any]:
        calls.append(len(made))
        return await call_all(link, made, *more, **how)

    monkeypatch.setattr(scripts, "call_all", counting)
    assert await team.groups.erase("team", users, Erasure(2, sent.ts), "m1", "alice") == {}
    assert len(calls) >= 3
    for user in users:
        assert await team.store.do("ZCARD", f"chat:erased:{{{user}}}") == 1


async def test_what_a_clock_that_was_behind_has_stamped_is_erased(team: Team) -> None:
    """The inboxes' server, or the one that took its place, was a few seconds behind the one that gave the number."""
    await team.put("bob")
    (sent,) = await team.send(said("m1"))
    await give(team, 1, 2)
    await team.groups.erase("team", ["bob"], Erasure(2, sent.ts + 5_000), "m1", "alice")
    assert len(await team.store.entries()) == 1


async def test_an_inbox_that_cannot_be_read_keeps_nothing_from_being_erased_elsewhere(team: Team) -> None:
    await team.put("bob", "carol")
    (sent,) = await team.send(said("m1"))
    for user in ("bob", "carol"):
        await give(team, 1, 2, user=user)
    await team.store.do("SET", "chat:inbox:{bob}", "not a stream")
    assert await team.groups.erase("team", ["bob", "carol"], Erasure(2, sent.ts), "m1", "alice") == {}
    assert await team.store.do("ZCARD", "chat:erased:{carol}") == 1


# The index.


async def test_a_group_stays_in_the_index_while_somebody_may_commit_in_it(team: Team) -> None:
    parts: Callable[[], Awaitable[list[tuple[str, int]]]] = lambda: announced(team)  # noqa: E731
    await team.groups.announce("team", 100)
    await team.groups.announce("team", 50)
    assert await parts() == [("team", 100)]
    await team.groups.forget("team", 99)
    assert await parts() == [("team", 100)]
    await team.groups.forget("team", 100)
    assert await parts() == []


async def announced(team: Team) -> list[tuple[str, int]]:
    return [row for part in store_groups.PARTS for row in await team.groups.announced(part)]


async def test_the_oldest_open_fan_out_of_each_group_is_known(team: Team) -> None:
    await team.put("bob")
    opens = await team.groups.opens(["team", "none"])
    assert opens[0] is not None
    assert opens[1] is None


# Asking.


async def test_ones_own_groups_are_those_one_is_a_member_of(team: Team) -> None:
    await team.put("bob", name="one")
    await give(team, 1)
    second = Team(team.store, team.groups, "other")
    await second.put("bob", by="carol")
    entries = await team.groups.log("other", 1, 1)
    await team.store.appends.number([Numbered("bob", "other", 1, 1, entries[0].fields)])
    rows = await team.groups.of_user("bob")
    assert [(row.group, row.name, row.owner, row.members) for row in rows] == [
        ("other", None, "carol", 2),
        ("team", "one", "alice", 2),
    ]
    await second.change("leave", "bob", by="bob")
    assert [row.group for row in await team.groups.of_user("bob")] == ["team"]
    assert await team.groups.is_member("team", "bob")
    assert not await team.groups.is_member("other", "bob")
    assert await team.groups.members_of("other") == ("carol",)
    assert await team.groups.members_of("none") == ()


async def test_who_blocks_whom_is_asked_for_all_at_once(team: Team) -> None:
    await team.store.do("SADD", "chat:blocks:{bob}", "alice")
    assert await team.groups.blocked("alice", ["carol", "bob"]) == ["bob"]
