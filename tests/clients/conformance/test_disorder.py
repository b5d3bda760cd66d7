"""Repeats, late answers, odd framing, and things nobody has heard of."""

import pytest

from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Action, Cut, Delay, Fault, Framing, Repeat, Say, What, When


@pytest.mark.parametrize("repeat", (Repeat(), Repeat(times=3, back=1), Repeat(times=2, back=3)), ids=str)
@pytest.mark.parametrize("nth", (1, 3))
async def test_repeated_entries_are_handed_over_once(stage: Stage, repeat: Repeat, nth: int) -> None:
    before = (await stage.ask("stats"))["repeats"]
    stage.play(Fault(When.AFTER, What.ENTRY, repeat, nth))
    stage.deliver(4)
    await stage.settled()
    assert (await stage.ask("stats"))["repeats"] > before
    await stage.settled()


async def test_entries_that_come_again_after_a_reconnect_are_counted_or_left_out(stage: Stage) -> None:
    stage.play(*[Fault(When.BEFORE, What.ACK, Cut(rst=bool(n % 2))) for n in range(4)])
    while stage.server.script.left:
        stage.deliver(3)
        left = len(stage.server.script.left)
        await stage.until(lambda before=left: len(stage.server.script.left) < before, "one more cut")  # type: ignore[misc]
    await stage.settled()


@pytest.mark.parametrize("repeat", (1, 3))
async def test_repeated_answers_change_nothing(stage: Stage, repeat: int) -> None:
    stage.play(Fault(When.AFTER, What.ACCEPTED, Repeat(times=repeat)), Fault(When.AFTER, What.ACCEPTED, Cut()))
    await stage.send(4)
    await stage.settled()


@pytest.mark.parametrize("what", (What.HELLO, What.WELCOME, What.ENTRY, What.LIVE, What.ACK, What.SEND, What.ACCEPTED))
async def test_what_comes_late_comes(stage: Stage, what: What) -> None:
    stage.play(*[Fault(When.BEFORE, what, Delay(0.02))] * 2)
    if what in {What.HELLO, What.WELCOME, What.LIVE}:
        stage.server.cut()
        await stage.until(lambda: len(stage.server.script.left) == 1, "came back late")
        await stage.in_state("live")
        stage.server.cut()
    stage.deliver(3)
    await stage.send(3)
    await stage.until(lambda: len(stage.server.script.left) <= 1, "late once")
    await stage.trickle(2)
    await stage.settled()


FRAMINGS: list[Action] = [Framing(bundle=3), Framing(fragment=5), Framing(bundle=2, fragment=11)]


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
async def test_lines_are_bundled_and_frames_split(stage: Stage, framing: Action) -> None:
    stage.play(Fault(When.AFTER, What.LIVE, framing))
    stage.server.cut()
    await stage.until(lambda: not stage.server.script.left, "odd from here on")
    stage.deliver(7, body={"text": "é € 😀 \u2028 " * 3})
    await stage.send(6)
    await stage.settled()


async def test_unknown_types_and_fields_are_passed_over(stage: Stage) -> None:
    stage.server.extra = {"later": {"version": [2]}}
    odd = ({"type": "sparkle", "x": 1}, {"type": "pong"}, {"type": "authed"}, {"no": "type"})
    stage.play(Fault(When.AFTER, What.ENTRY, Say(odd)), Fault(When.AFTER, What.ACCEPTED, Say(odd)))
    stage.deliver(2)
    await stage.send(2)
    await stage.settled()
    stage.server.extra = {}


async def test_entries_of_unknown_types_are_acked_in_their_place(stage: Stage) -> None:
    for frame in ({"type": "sparkle", "id": "s1"}, {"type": "sparkle", "id": "s2", "by": "x"}):
        stage.deliver(1)
        stage.server.deliver("bob", frame)
    await stage.settled()


async def test_other_kinds_of_entries_and_events_reach_the_application(stage: Stage) -> None:
    entry = {"type": "receipt", "id": "r1", "target": "m1", "kind": "delivered", "by": "carol"}
    events = (
        {"type": "presence", "user": "carol", "status": "online", "last_seen": 1},
        {"type": "signal", "from": "carol", "body": {"typing": True}},
        {"type": "broadcast", "body": "soon down", "ts": 1},
    )
    stage.play(Fault(When.AFTER, What.ENTRY, Say(events), 2))
    stage.deliver(1)
    stage.server.deliver("bob", entry, {**entry, "id": "r2", "kind": "read"})
    stage.deliver(1)
    for kind in ("presence", "signal", "broadcast"):
        await stage.until(lambda wanted=kind: stage.driver.of(wanted), f"a {kind}")  # type: ignore[misc]
    await stage.settled()


async def test_an_error_that_answers_nothing_is_survived(stage: Stage) -> None:
    odd = (
        {"type": "error", "code": "internal", "message": "?", "retryable": True},
        {"type": "error", "code": "unavailable", "message": "?", "retryable": True, "id": "nobody"},
        {"type": "accepted", "id": "nobody", "ts": 1, "duplicate": False, "durability": "fsynced", "recipients": []},
    )
    stage.play(Fault(When.AFTER, What.ACCEPTED, Say(odd)))
    await stage.send(3)
    await stage.settled()
