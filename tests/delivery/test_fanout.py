"""The fan-out: what is sent into a group is with every member when its sender is told, whoever dies on the way."""

import asyncio
from typing import Any

import pytest

from service.core.errors import ClientError, Fault, Unavailable
from service.core.groups import GroupResult
from service.core.lane import Lane
from service.core.sending import UNAVAILABLE
from service.delivery import fanout as fanout_module
from service.delivery.worker import Worker
from service.store.groups import Change
from service.telemetry import GROUP_BEHIND, GROUP_COMMITS, GROUP_SENDS
from tests.delivery.conftest import Start
from tests.delivery.group_rig import change, deletion, has, opens, said, send, submit
from tests.delivery.rig import NEVER, code, connect, ticks, total, troubled, until_stored, within
from tests.delivery.test_finisher import finisher

EVERYBODY = ("alice", "bob", "carol", "heidi")  # of several servers, in a Cluster


async def test_what_is_sent_is_with_every_member_when_its_sender_is_told(worker: Worker, store: Any) -> None:
    changed = await change(worker, "put", "bob", "carol", "heidi")
    assert changed.created
    (result,) = await send(worker, said("m1"))
    assert (result.number, result.members, result.refused, result.duplicate) == (2, 4, 0, False)
    for user in EVERYBODY:
        assert await has(store, user) == ["1 created", "2 m1"]
    assert await until_stored(lambda: nothing_open(store), "the records are crossed out")


async def nothing_open(store: Any) -> bool:
    return await opens(store) == []


async def test_sends_that_wait_are_committed_together_and_stay_in_order(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob", "carol")
    commits, sends = total(GROUP_COMMITS), total(GROUP_SENDS)
    results = await send(worker, *(said(f"m{n}") for n in range(60)))
    assert [result.number for result in results] == list(range(2, 62))
    for user in ("alice", "bob", "carol"):
        assert await has(store, user) == ["1 created", *(f"{n + 2} m{n}" for n in range(60))]
    assert total(GROUP_SENDS) - sends == 60
    assert total(GROUP_COMMITS) - commits < 10


async def test_two_workers_at_once_give_every_member_the_same_order(worker: Worker, other: Worker, store: Any) -> None:
    await change(worker, "put", "bob", "carol", "heidi")
    pairs = [(submit(worker.fanout, said(f"a{n}")), submit(other.fanout, said(f"b{n}", "bob"))) for n in range(40)]
    await within(asyncio.gather(*(answer for pair in pairs for answer in pair)), "answers")
    seen = await has(store, "alice")
    assert [row.partition(" ")[0] for row in seen] == [str(n) for n in range(1, 82)]
    assert sorted(row.partition(" ")[2] for row in seen[1:]) == sorted(f"{w}{n}" for w in "ab" for n in range(40))
    for user in EVERYBODY:
        assert await has(store, user) == seen
    for sender in "ab":
        ids = [row.partition(" ")[2] for row in seen]
        assert [id for id in ids if id.startswith(sender)][-40:] == [f"{sender}{n}" for n in range(40)]


async def test_a_worker_that_is_held_up_is_overtaken_and_its_members_are_healed(start: Start, store: Any) -> None:
    """The other worker's message comes before this one's fan-out: every member is behind, and gets both from it."""
    slow, quick = await start(dead_after=NEVER), await start(dead_after=NEVER)
    await change(slow, "put", "bob", "carol", "heidi")
    trouble = troubled(slow.appends, "number")
    trouble.gate.clear()
    first = submit(slow.fanout, said("m1"))
    await until_stored(lambda: _length(store, 2), "committed")
    behind = total(GROUP_BEHIND)
    (second,) = await send(quick, said("m2", "bob"))
    assert second.number == 3
    assert total(GROUP_BEHIND) > behind
    assert not first.done()
    for user in EVERYBODY:
        assert await has(store, user) == ["1 created", "2 m1", "3 m2"]
    trouble.gate.set()
    assert isinstance(await within(first, "the first"), GroupResult)
    for user in EVERYBODY:
        assert await has(store, user) == ["1 created", "2 m1", "3 m2"]


async def _length(store: Any, length: int) -> bool:
    return int(await store.xlen("chat:group:{team}:log")) == length


@pytest.mark.parametrize("when", ("before", "after"))
async def test_what_is_left_open_is_finished_by_whoever_gets_the_repeat(worker: Worker, store: Any, when: str) -> None:
    await change(worker, "put", "bob", "carol", "heidi")
    trouble = troubled(worker.appends, "number")
    setattr(trouble, when, 1)
    assert code(await within(submit(worker.fanout, said("m1")), "an answer")) == "unavailable"  # type: ignore[arg-type]
    assert await opens(store) == [2]
    (again,) = await send(worker, said("m1"))
    assert (again.number, again.duplicate) == (2, True)
    for user in EVERYBODY:
        assert await has(store, user) == ["1 created", "2 m1"]


async def test_what_is_left_open_is_finished_by_another_worker(start: Start, store: Any) -> None:
    worker, other = await start(audit_interval=NEVER), await start(dead_after=0.5, heartbeat=0.1)
    await change(worker, "put", "bob", "carol", "heidi")
    trouble = troubled(worker.appends, "number")
    trouble.before = 1
    await within(submit(worker.fanout, said("m1")), "an answer")
    await until_stored(lambda: nothing_open(store), "another has ended it")
    for user in EVERYBODY:
        assert await has(store, user) == ["1 created", "2 m1"]
    assert other.fanout is not worker.fanout


async def test_a_commit_that_may_have_happened_is_unavailable_and_its_repeat_finds_it(
    worker: Worker, store: Any
) -> None:
    await change(worker, "put", "bob")
    trouble = troubled(worker.groups, "commit")
    trouble.after = 1
    assert code(await submit(worker.fanout, said("m1"))) == "unavailable"  # type: ignore[arg-type]
    (again,) = await send(worker, said("m1"))
    assert (again.number, again.duplicate) == (2, True)
    assert await has(store, "bob") == ["1 created", "2 m1"]


async def test_behind_a_failure_of_its_lane_nothing_is_accepted(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob")
    trouble = troubled(worker.groups, "commit")
    trouble.gate.clear()
    trouble.before = 1
    lane, free = Lane(), Lane()
    first = submit(worker.fanout, said("m1"), lane=lane)
    await ticks()
    later = [submit(worker.fanout, said(f"m{n}"), lane=lane) for n in (2, 3)]
    others = submit(worker.fanout, said("o1", "bob"), lane=free)
    trouble.gate.set()
    assert code(await first) == "unavailable"  # type: ignore[arg-type]
    assert [code(await one) for one in later] == ["out_of_order"] * 2  # type: ignore[arg-type]
    assert isinstance(await others, GroupResult)
    assert lane.failed == ["m1"]
    assert await has(store, "bob") == ["1 created", "2 o1"]


async def test_a_full_inbox_is_passed_over_counted_and_stops_nobody_else(start: Start, store: Any) -> None:
    worker = await start(max_pending=3)
    await change(worker, "put", "bob", "carol", "heidi")
    for user in ("alice", "carol", "heidi"):
        await connect(worker, user)  # they ack nothing, but are allowed more below
    phone = await connect(worker, "carol", "tablet")
    results = await send(worker, said("m1"), said("m2"))
    assert [result.refused for result in results] == [0, 0]
    for user in ("alice", "carol", "heidi"):
        await store.hset(f"chat:state:{{{user}}}", "best", "9999999999999-99")
    (third,) = await send(worker, said("m3"))
    assert (third.refused, third.members) == (1, 4)
    await phone.until(lambda: "m3" in phone.ids or None, "m3")
    assert await has(store, "bob") == ["1 created", "2 m1", "3 m2"]
    assert (await store.hgetall("chat:groups:{bob}")) == {"team": f"4 {third.ts}", "team/refused": "4"}
    await store.hset("chat:state:{bob}", "best", "9999999999999-99")
    await send(worker, said("m4"))
    assert await has(store, "bob") == ["1 created", "2 m1", "3 m2", "5 m4"]


async def test_joining_and_leaving_bound_what_a_member_gets(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob")
    await send(worker, said("m1"))
    await change(worker, "join", "carol")
    await send(worker, said("m2"))
    await change(worker, "leave", "carol", by="carol")
    await send(worker, said("m3"))
    await change(worker, "join", "carol")
    await send(worker, said("m4"))
    assert await has(store, "carol") == ["3 joined", "4 m2", "5 left", "7 joined", "8 m4"]
    assert await has(store, "bob") == [
        "1 created", "2 m1", "3 joined", "4 m2", "5 left", "6 m3", "7 joined", "8 m4",
    ]  # fmt: skip


async def test_a_member_that_left_and_came_back_is_owed_what_lay_before_it_left(start: Start, store: Any) -> None:
    slow, quick = await start(dead_after=NEVER), await start(dead_after=NEVER)
    await change(slow, "put", "bob", "carol")
    trouble = troubled(slow.appends, "number")
    trouble.gate.clear()
    held = submit(slow.fanout, said("m1"))
    await until_stored(lambda: _length(store, 2), "committed")
    trouble_too = troubled(quick.appends, "number")
    trouble_too.before = 3
    for what in ("leave", "join"):
        with pytest.raises(Unavailable):
            await change(quick, what, "carol")
    with pytest.raises(Unavailable):
        await change(quick, "join", "dave")
    (result,) = await send(quick, said("m2", "bob"))
    assert result.number == 6
    assert await has(store, "carol") == ["1 created", "2 m1", "3 left", "4 joined", "5 joined", "6 m2"]
    assert await has(store, "bob") == ["1 created", "2 m1", "3 left", "4 joined", "5 joined", "6 m2"]
    assert await has(store, "dave") == ["5 joined", "6 m2"]
    trouble.gate.set()
    await within(held, "the first")
    assert len(await has(store, "carol")) == 6


async def test_a_deleted_message_is_erased_everywhere_and_missed_by_nobody(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob", "carol", "heidi")
    await send(worker, said("m1"), said("m2"))
    await change(worker, "leave", "heidi", by="heidi")
    await send(worker, deletion("d1", "m1"), said("m3"))
    for user in ("alice", "bob", "carol"):
        assert await has(store, user) == ["1 created", "3 m2", "4 left", "5 d1", "6 m3"]
        (row,) = await store.zrange(f"chat:erased:{{{user}}}", 0, -1)
        assert row.split(" ")[1:] == ["m1", "alice", "group", "team/2"]
    assert await has(store, "heidi") == ["1 created", "3 m2", "4 left"]
    assert await store.zcard("chat:erased:{heidi}") == 1


@pytest.mark.parametrize("last", ("the sender's", "whoever ends it"))
async def test_what_was_deleted_comes_to_nobody_who_left_before_it_was_there(
    worker: Worker, other: Worker, store: Any, last: str
) -> None:
    """A worker has the message in hand; bob leaves, heard of by nobody yet; alice deletes it; that worker goes on."""
    await change(worker, "put", "bob", "carol")
    message = said("m1", body="secret")
    committed = await worker.groups.commit("team", [message], "", worker.claim_deadline())
    entries = await worker.groups.log("team", 2, 2)
    assert committed.members is not None
    await other.groups.change(Change("team", "bob", "leave", ("bob",)), other.claim_deadline())
    await send(other, deletion("d1", "m1"))
    if last == "the sender's":
        assert (await worker.fanout._spread.give("team", committed.members, entries)).unknown == set()
        await worker.groups.done("team", [2])
    await within(worker.fanout.finish("team"), "all is ended")
    assert await opens(store) == []
    assert await has(store, "bob") == ["1 created", "3 left"]
    for user in ("alice", "carol"):
        assert await has(store, user) == ["1 created", "3 left", "4 d1"]


async def test_a_deletion_is_open_while_who_left_before_it_may_get_its_target(
    worker: Worker, other: Worker, store: Any
) -> None:
    await change(worker, "put", "bob", "carol")
    (number,) = (await worker.groups.commit("team", [said("m1")], "", worker.claim_deadline())).results
    await other.groups.change(Change("team", "bob", "leave", ("bob",)), other.claim_deadline())
    lost = troubled(other.groups, "log")
    lost.before = 1
    answer = await within(submit(other.fanout, deletion("d1", "m1")), "an answer")
    assert answer == UNAVAILABLE
    assert number.number == 2
    assert await opens(store) == [2, 3, 4]
    (again,) = await send(other, deletion("d1", "m1"))
    assert (again.number, again.duplicate) == (4, True)
    await within(worker.fanout.finish("team"), "all is ended")
    assert await has(store, "bob") == ["1 created", "3 left"]


async def test_a_member_that_never_had_a_deleted_message_passes_it_over(start: Start, store: Any) -> None:
    """The slow worker has it at hand still: it must not come after the deletion."""
    slow, quick = await start(dead_after=NEVER), await start(dead_after=NEVER)
    await change(slow, "put", "bob", "carol")
    trouble = troubled(slow.appends, "number")
    trouble.gate.clear()
    held = submit(slow.fanout, said("m1"))
    await until_stored(lambda: _length(store, 2), "committed")
    await send(quick, deletion("d1", "m1"))
    trouble.gate.set()
    await within(held, "the first")
    for user in ("alice", "bob", "carol"):
        assert await has(store, user) == ["1 created", "3 d1"]
    await send(quick, said("m2"))
    assert await has(store, "bob") == ["1 created", "3 d1", "4 m2"]


async def test_a_change_that_is_repeated_is_finished(worker: Worker, store: Any) -> None:
    trouble = troubled(worker.appends, "number")
    trouble.before = 1
    with pytest.raises(Unavailable):
        await change(worker, "put", "bob")
    assert await has(store, "bob") == []
    changed = await change(worker, "put", "bob")
    assert not changed.created
    assert await has(store, "bob") == ["1 created"]


@pytest.mark.parametrize(
    ("what", "by", "refusal"),
    (("delete", "bob", "forbidden"), ("delete", "mallory", "no_such_group"), ("put", "alice", "group_full")),
)
async def test_a_change_that_is_refused_says_why(start: Start, what: str, by: str, refusal: str) -> None:
    worker = await start(max_group=2)
    await change(worker, "put", "bob")
    with pytest.raises(ClientError) as refused:
        await change(worker, what, "b", "c", by=by)
    assert refused.value.fault.code == refusal


async def test_a_group_whose_keys_hold_something_else_fails_alone(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob")
    await change(worker, "put", "bob", group="other")
    await store.hset("chat:group:{team}:members", "carol", "is here")
    await store.hset("chat:group:{team}", "changed", "by hand")
    assert code(await submit(worker.fanout, said("m1"))) == "internal"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a stay"):
        await change(worker, "join", "dave")
    await finisher(worker, later=60).look()
    await send(worker, said("m1"), group="other")
    assert await has(store, "bob", "other") == ["1 created", "2 m1"]
    await store.hdel("chat:group:{team}:members", "carol")
    await send(worker, said("m1"), said("m2"))
    assert await has(store, "bob") == ["1 created", "2 m1", "3 joined", "4 m2"]


async def test_more_than_may_wait_is_unavailable_at_once(
    worker: Worker, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout_module, "MOST_QUEUED", 3)
    await change(worker, "put", "bob")
    trouble = troubled(worker.groups, "commit")
    trouble.gate.clear()
    held = submit(worker.fanout, said("m0"))
    await ticks()
    waiting = [submit(worker.fanout, said(f"m{n}")) for n in (1, 2, 3)]
    refused = submit(worker.fanout, said("m4"))
    assert isinstance(refused.result(), Fault)
    with pytest.raises(Unavailable):
        await worker.fanout.change(Change("team", "alice", "join", ("carol",)))
    trouble.gate.set()
    await within(asyncio.gather(held, *waiting), "the others")
    assert len(await has(store, "bob")) == 5


async def test_a_member_that_is_online_gets_it_at_once_in_order(start: Start) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)  # which would read it
    here, there = await connect(worker, "bob"), await connect(other, "carol")
    await change(worker, "put", "bob", "carol")
    await send(worker, *(said(f"m{n}") for n in range(5)))
    for client in (here, there):
        await client.until(lambda one=client: one.ids == [f"m{n}" for n in range(5)] or None, "five messages")  # type: ignore[misc]
        assert [frame["seq"] for frame in client.of("message")] == [2, 3, 4, 5, 6]
        assert not any(frame.get("replay") for frame in client.of("message", "group"))


async def test_large_changes_of_many_groups_leave_runners_for_what_is_sent(worker: Worker, store: Any) -> None:
    groups = [f"g{n}" for n in range(fanout_module.RUNNERS)]
    for group in (*groups, "team"):
        await change(worker, "put", "bob", group=group)
    trouble = troubled(worker.groups, "change")
    trouble.gate.clear()
    changes = [asyncio.create_task(change(worker, "join", "carol", group=group)) for group in groups]
    await until_stored(lambda: _called(trouble, fanout_module.WORKERS), "half of the runners have a change")
    await send(worker, said("m1"))
    assert trouble.calls == fanout_module.WORKERS
    trouble.gate.set()
    await within(asyncio.gather(*changes), "the changes")
    for group in groups:
        assert await has(store, "bob", group) == ["1 created", "2 joined"]


async def _called(trouble: Any, times: int) -> bool:
    return bool(trouble.calls >= times)


async def test_a_large_change_is_given_in_parts_and_its_group_waits_for_them(
    worker: Worker, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout_module, "BATCH", 4)
    await change(worker, "put", "bob")
    pages = troubled(worker.groups, "log")
    changing = asyncio.create_task(change(worker, "put", *(f"u{n}" for n in range(9)), "bob"))
    await until_stored(lambda: _called(pages, 1), "it is under way")
    (sent,) = await send(worker, said("m1"))
    assert (await within(changing, "the change")).last == 10
    assert pages.calls == 3
    assert sent.number == 11
    assert await has(store, "bob") == ["1 created", *(f"{n} joined" for n in range(2, 11)), "11 m1"]
    assert await opens(store) == []
