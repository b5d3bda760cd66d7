"""What waits to be sent: refused, given up, grown old, too large, too many."""

import asyncio
from typing import Any

import pytest

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.rules import MOST_UNANSWERED
from tests.clients.scripted.script import Close, Cut, Delay, Fault, Refuse, What, When

AGAIN = ("unavailable", "internal", "overloaded", "rate_limited")
FOR_GOOD = ("invalid_field", "forbidden", "id_reused", "too_large")


def state_of(items: list[dict[str, object]], id: str) -> object:
    return next((item["state"] for item in items if item["id"] == id), None)


@pytest.mark.parametrize("times", (1, 3))
@pytest.mark.parametrize("nth", (1, 3))
async def test_sends_refused_as_unavailable_go_again_in_order(stage: Stage, nth: int, times: int) -> None:
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=times, span=2), nth))
    await stage.send(6)
    await stage.settled()


async def test_a_drop_between_the_refusal_and_the_next_try_keeps_the_order(stage: Stage) -> None:
    stage.play(
        Fault(When.BEFORE, What.SEND, Refuse("unavailable", span=3), 2),
        Fault(When.BEFORE, What.SEND, Cut()),
        Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=2)),
        Fault(When.MID, What.ACCEPTED, Cut()),
    )
    await stage.send(6)
    await stage.settled()


@pytest.mark.parametrize("code", AGAIN)
async def test_a_refusal_that_may_pass_is_tried_again(stage: Stage, code: str) -> None:
    stage.play(Fault(When.BEFORE, What.SEND, Refuse(code, times=2)))
    await stage.send(1)
    await stage.settled()


@pytest.mark.parametrize("code", (*FOR_GOOD, "inbox_full"))
async def test_a_send_refused_for_good_waits_for_the_application(stage: Stage, code: str) -> None:
    stage.play(Fault(When.BEFORE, What.SEND, Refuse(code), 2))
    first, second, third = await stage.send(3)
    await stage.settled()
    failed = [event for event in stage.driver.of("failed") if event["id"] == second]
    assert [event["code"] for event in failed] == [code]
    items = await stage.outbox()
    assert state_of(items, second) == "failed"
    assert [state_of(items, id) for id in (first, third)] == [None, None]
    stage.run.retried.add(second)
    await stage.do("retry", id=second)
    await stage.until(lambda: second in [event["id"] for event in stage.driver.of("accepted")], "accepted after all")
    await stage.settled()
    await stage.outbox_is(lambda items: state_of(items, second) is None)


async def test_a_failed_send_that_is_discarded_does_not_go_out(stage: Stage) -> None:
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("forbidden")))
    [id] = await stage.send(1)
    await stage.settled()
    stage.run.retried.add(id)  # its end may be told once more: discarded
    await stage.do("discard", id=id)
    stage.server.cut()
    await stage.send(1)
    await stage.settled()
    await stage.outbox_is(lambda items: state_of(items, id) is None)
    assert id not in [frame["id"] for frame in stage.server.inboxes.of("carol").messages()]


async def test_a_send_that_is_discarded_while_it_is_unavailable_is_skipped(fresh: Open) -> None:
    stage = await fresh(backoff_first=1, backoff_most=1)
    await stage.live()
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=10**6)))
    [first] = await stage.send(1)
    await stage.until(lambda: stage.server.frames(">", "error"), "refused")
    await stage.outbox_is(lambda items: state_of(items, first) == "queued")  # the error has been read
    stage.run.given_up.add(first)
    await stage.do("discard", id=first)
    await stage.until(lambda: stage.server.frames("<", "skip"), "it is skipped")
    stage.installation.given_up(first)
    second = await stage.send(2)
    await stage.settled()
    assert [frame["id"] for frame in stage.server.inboxes.of("carol").messages()] == second
    assert [event["code"] for event in stage.driver.of("failed")] == ["discarded"]


async def test_a_send_discarded_while_there_is_no_connection_never_goes_out(stage: Stage) -> None:
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    first, second, third = await stage.send(3)
    stage.run.given_up.add(second)
    await stage.stored([first, second, third])
    await stage.do("discard", id=second)
    await stage.until(lambda: [one for one in stage.driver.of("failed") if one["id"] == second], "discarded")
    stage.server.down = False
    await stage.settled()
    assert second not in [frame["id"] for frame in stage.server.inboxes.of("carol").messages()]


async def test_many_sends_go_in_order_and_few_at_a_time(stage: Stage) -> None:
    stage.play(
        Fault(When.BEFORE, What.ACCEPTED, Delay(0.2)),  # meanwhile it sends as many as it may
        Fault(When.BEFORE, What.ACCEPTED, Cut(), 50),
        Fault(When.BEFORE, What.SEND, Close(1013), 40),
    )
    stage.server.down = True
    stage.server.cut()
    await stage.stored(await stage.send(3 * MOST_UNANSWERED))
    stage.server.down = False
    await stage.settled()


async def test_a_refusal_that_overtakes_other_answers_doubles_nothing(stage: Stage) -> None:
    """What was sent behind the refused one is still to be answered when the back-off is over."""
    stage.play(
        Fault(When.BEFORE, What.SEND, Refuse("unavailable")),
        Fault(When.BEFORE, What.SEND, Delay(0.2)),
    )
    stage.server.down = True
    stage.server.cut()
    await stage.stored(await stage.send(MOST_UNANSWERED))
    stage.server.down = False
    await stage.settled()


async def test_sends_to_several_recipients_keep_their_order(stage: Stage) -> None:
    stage.play(Fault(When.AFTER, What.SEND, Cut(), 4), Fault(When.BEFORE, What.SEND, Refuse("unavailable"), 3))
    for number in range(9):
        await stage.send(1, to=("carol", "dora", "erin")[number % 3])
    await stage.settled()


async def test_sends_of_any_json_arrive_as_they_are(stage: Stage) -> None:
    odd = '\u2028 é 😀 \x00 \\ " </script>'
    bodies: tuple[Any, ...] = (None, True, 0, -1.5, "", odd, [], {}, {odd: [{"b": None}]}, 2**53 - 1)
    for body in bodies:
        await stage.send(1, body=body)
        stage.deliver(1, body=body)
    stage.server.cut()
    await stage.settled()


async def test_the_same_send_twice_is_one_and_another_of_that_id_is_refused(stage: Stage) -> None:
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    [id] = await stage.send(1)
    command = stage.run.commands[-1]
    await stage.do("send", id=id, to=command.to, body=command.body)
    await stage.do("send", id=id, to=command.to, body="another")
    await stage.until(lambda: [one for one in stage.driver.of("failed") if one["id"] == id], "id_reused")
    assert stage.driver.of("failed")[-1]["code"] == "id_reused"
    stage.run.retried.add(id)  # told of the second, and of the first
    await stage.outbox_is(lambda items: [item["id"] for item in items if item["id"] == id] == [id])
    stage.server.down = False
    await stage.until(lambda: id in [one["id"] for one in stage.driver.of("accepted")], "accepted")
    await stage.settled()


async def test_what_is_too_large_fails_without_a_frame(stage: Stage) -> None:
    limits = dict(stage.server.welcome["limits"])
    stage.server.welcome["limits"] |= {"max_body": 100}
    stage.server.cut()
    [id] = await stage.send(1, body="x" * 200)
    await stage.send(2)
    await stage.settled()
    assert [one["code"] for one in stage.driver.of("failed") if one["id"] == id] == ["too_large"]
    assert id not in [frame["id"] for frame in stage.server.frames("<", "send")]
    stage.server.welcome["limits"] = limits
    stage.server.cut()
    await stage.settled()


async def test_what_is_over_before_its_first_try_fails_as_expired(fresh: Open) -> None:
    stage = await fresh()
    stage.server.down = True
    await stage.do("connect")
    await stage.in_state("reconnecting")
    [first] = await stage.send(1, expires_in=1)
    [second, third] = [*await stage.send(1, expires_in=3600), *await stage.send(1)]
    await stage.stored([first, second, third])
    await asyncio.sleep(1.1)  # seconds are what `expires_in` counts
    stage.server.down = False
    await stage.settled()
    assert [(one["id"], one["code"]) for one in stage.driver.of("failed")] == [(first, "expired")]
    sent = {frame["id"]: frame for frame in stage.server.frames("<", "send")}
    assert set(sent) == {second, third}
    assert 3590 <= sent[second]["expires_in"] <= 3600


async def test_what_was_tried_longer_ago_than_ids_are_known_asks_first(fresh: Open) -> None:
    stage = await fresh()
    stage.server.welcome["limits"] |= {"dedupe_window": 1}
    await stage.live()
    stage.play(Fault(When.AFTER, What.SEND, Cut(), 3))
    [first] = await stage.send(1)
    await stage.until(lambda: not stage.unended(), "accepted")
    stage.server.script.left[0] = Fault(When.AFTER, What.SEND, Cut(), 2)
    second, third = await stage.send(2)
    await stage.until(lambda: not stage.server.script.left, "the answer is lost")
    stage.server.down = True
    stage.server.cut()
    unanswered = await stage.until(stage.unended, "no answer")
    await asyncio.sleep(1.2)  # seconds are what the window counts
    [later] = await stage.send(1)
    for id in unanswered:
        stage.installation.given_up(id)
    stage.server.down = False
    for id in unanswered:
        await stage.until(lambda wanted=id: wanted in [one["id"] for one in stage.driver.of("stale")], "it asks")  # type: ignore[misc]
    await stage.until(lambda: later in [one["id"] for one in stage.driver.of("accepted")], "others go on")
    assert first not in unanswered
    items = await stage.outbox()
    assert {state_of(items, id) for id in unanswered} == {"stale"}
    stage.run.retried |= set(unanswered)
    await stage.do("retry", id=unanswered[0])
    await stage.until(lambda: unanswered[0] in [one["id"] for one in stage.driver.of("accepted")], "sent again")
    for id in unanswered[1:]:
        stage.run.given_up.add(id)
        await stage.do("discard", id=id)
    await stage.settled()
    assert second in unanswered or third in unanswered
    await stage.outbox_is(lambda items: items == [])
