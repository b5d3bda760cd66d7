"""Edits, deletions and reactions go out as sends do, in one order with them; and what may be said of a send."""

import pytest

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.conversation import everything
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Cut, Fault, Refuse, What, When


@pytest.mark.parametrize("nth", (1, 3, 6))
@pytest.mark.parametrize("when", (When.BEFORE, When.AFTER), ids=str)
async def test_changes_are_sent_once_and_in_one_order_with_sends(stage: Stage, when: When, nth: int) -> None:
    stage.play(Fault(when, What.SEND, Cut(), nth), Fault(When.MID, What.ACCEPTED, Cut()))
    ids = await everything(stage)
    await stage.settled()
    found = [frame for way, _, frame in stage.server.log if way == "<" and frame.get("id") in set(ids)]
    again = {frame["id"]: {name: frame[name] for name in frame if name != "expires_in"} for frame in found}
    assert list(again) == ids, "first tries, in the order of asking"
    assert all(frame == again[frame["id"]] for frame in found), "whatever comes again says the same"
    assert len(found) > len(ids), "something came again"


async def test_changes_wait_behind_a_send_that_is_unavailable(stage: Stage) -> None:
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=2), 2))
    await everything(stage)
    await stage.settled()


async def test_changes_are_kept_over_a_kill(fresh: Open) -> None:
    stage = await fresh()
    stage.server.down = True
    await stage.do("connect")
    ids = await everything(stage)
    await stage.stored(ids)
    stage.driver.kill()
    await stage.killed()
    stage.server.down = False
    await stage.start()
    assert [item["id"] for item in await stage.outbox()] == ids
    await stage.live()
    await stage.settled()


async def test_a_change_of_a_message_nobody_has_fails_for_good(stage: Stage) -> None:
    id = await stage.change("edit", {"id": "nowhere", "from": "bob", "to": "carol"})
    await stage.settled()
    assert [event["code"] for event in stage.driver.of("failed") if event["id"] == id] == ["no_such_message"]
    await stage.do("discard", id=id)
    stage.run.retried.add(id)
    await stage.outbox_is(lambda items: id not in [item["id"] for item in items])


async def test_a_reaction_goes_to_the_author_and_says_who_that_is(stage: Stage) -> None:
    stage.deliver(1, id="theirs")
    await stage.settled()
    id = await stage.change("react", {"id": "theirs", "from": "alice", "to": "bob"}, body={"emoji": "👍"})
    await stage.settled()
    [frame] = [frame for frame in stage.server.frames("<", "react") if frame["id"] == id]
    assert (frame["to"], frame["target"], frame["target_from"]) == ("alice", "theirs", "alice")


async def test_receipts_may_be_declined(stage: Stage) -> None:
    [quiet] = await stage.send(1, receipts=False)
    [plain] = await stage.send(1)
    await stage.settled()
    said = {frame["id"]: frame.get("receipts", True) for frame in stage.server.frames("<", "send")}
    assert (said[quiet], said[plain]) == (False, True)


async def test_one_of_several_recipients_that_refuses_stops_no_other(stage: Stage) -> None:
    stage.server.inboxes.refusing["dora"] = "inbox_full"
    stage.play(Fault(When.AFTER, What.SEND, Cut()))
    [id] = await stage.send(1, to=["carol", "dora", "erin"])
    stage.run.refused.add((id, "dora"))
    await stage.settled()
    stage.server.inboxes.refusing.clear()
    [told] = [event for event in stage.driver.of("accepted") if event["id"] == id]
    rows = told.get("acceptance", told)["recipients"]
    assert [(row["to"], row.get("error")) for row in rows] == [("carol", None), ("dora", "inbox_full"), ("erin", None)]


async def test_all_of_several_recipients_that_refuse_fail_it(stage: Stage) -> None:
    stage.server.inboxes.refusing |= {"dora": "inbox_full", "erin": "refused"}
    [id] = await stage.send(1, to=["dora", "erin"])
    await stage.settled()
    stage.server.inboxes.refusing.clear()
    assert [event["code"] for event in stage.driver.of("failed") if event["id"] == id] == ["inbox_full"]
    stage.run.retried.add(id)
    await stage.do("retry", id=id)
    await stage.until(lambda: id in [event["id"] for event in stage.driver.of("accepted")], "accepted after all")
    await stage.settled()


async def test_a_refusal_says_how_long_to_wait(fresh: Open) -> None:
    """In place of the client's own wait, which would outlast this test."""
    stage = await fresh(backoff_first=3600, backoff_most=3600)
    await stage.live()
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("rate_limited", retry_after=0.3)))
    [id] = await stage.send(1)
    await stage.settled()
    [(_, accepted)] = stage.driver.heard("accepted")
    first, again = [at for at, frame in stage.server.times if frame.get("id") == id and frame["type"] == "send"]
    assert first + 0.3 <= again <= accepted


async def test_a_full_outbox_refuses_what_is_new_and_keeps_what_it_has(fresh: Open) -> None:
    stage = await fresh(max_outbox=3)
    stage.server.down = True
    await stage.do("connect")
    first = await stage.send(2)
    first.append(await stage.change("delete", {"id": first[0], "from": "bob", "to": "carol"}))
    await stage.stored(first)
    [over] = await stage.send(1)
    changed = await stage.change("edit", {"id": first[1], "from": "bob", "to": "carol"})
    for id in (over, changed):
        await stage.until(lambda wanted=id: wanted in [event["id"] for event in stage.driver.of("failed")], "refused")  # type: ignore[misc]
    assert {event["code"] for event in stage.driver.of("failed")} == {"outbox_full"}
    assert [item["id"] for item in await stage.outbox()] == first
    stage.server.down = False
    await stage.live()
    await stage.until(lambda: not set(first) & set(stage.unended()), "they went out")
    await stage.send(1)
    await stage.settled()
