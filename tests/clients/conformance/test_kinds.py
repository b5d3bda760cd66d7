"""Everything that is not a message: each kind of entry is handled once and in order, as messages are."""

import pytest

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.conversation import deliver_all, everything
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Action, Cut, Do, Fault, Repeat, What, When

KINDS = ("message", "receipt", "read", "edit", "delete", "react", "group", "deleted")


async def test_every_kind_of_entry_is_handled_once_and_in_order(stage: Stage) -> None:
    deliver_all(stage)
    await stage.settled()
    assert {frame["type"] for frame in stage.home.log()} >= set(KINDS) - {"deleted"}
    stage.server.down = True
    stage.server.cut()
    deliver_all(stage)
    stage.server.down = False
    await stage.settled()
    assert {frame["type"] for frame in stage.home.log()} >= set(KINDS)


ENDS: tuple[Action, ...] = (Cut(), Cut(rst=True), Repeat(times=2, back=3))


@pytest.mark.parametrize("nth", (2, 5, 8))
@pytest.mark.parametrize("end", ENDS, ids=str)
async def test_every_kind_survives_drops_and_repeats(stage: Stage, end: Action, nth: int) -> None:
    stage.play(Fault(When.AFTER, What.ENTRY, end, nth), Fault(When.BEFORE, What.ACK, Cut()))
    deliver_all(stage)
    await stage.until(lambda: not stage.server.script.left, "both have happened")
    deliver_all(stage)
    await stage.settled()


async def test_every_kind_survives_kills(fresh: Open, kind: str) -> None:
    """Killed in the handler: handed over again. Killed with the cursor on disk: not again."""
    stage = await fresh(transactional=kind == "python", window=4)
    await stage.live()
    for point in ("kill_in_handler", "kill_after_handler") * 2:
        await stage.do(point)
        deliver_all(stage)
        await stage.killed()
        await stage.start()
        await stage.live()
    await stage.settled()


async def test_a_handler_of_another_kind_that_fails_holds_up_what_is_behind(stage: Stage) -> None:
    await stage.prepare("fail", times=2)
    handling = len(stage.driver.of("handling"))
    receipt = {"type": "receipt", "id": "read:y", "target": "y", "kind": "read", "by": "carol"}
    stage.server.deliver("bob", receipt)
    stage.deliver(1)
    await stage.settled()
    told = [event["message"]["type"] for event in stage.driver.of("handling")[handling:]]
    assert told == ["receipt"] * 3 + ["message"]


async def test_an_erased_message_is_handed_over_as_deleted(stage: Stage) -> None:
    stage.server.down = True
    stage.server.cut()
    stage.deliver(1, id="erased")
    stage.server.send("alice", type="delete", id="eraser", to="bob", target="erased")
    stage.server.down = False
    await stage.settled()
    assert [(frame["type"], frame["id"]) for frame in stage.home.log()[-2:]] == [
        ("deleted", "erased"),
        ("delete", "eraser"),
    ]


async def test_history_goes_both_ways_and_by_conversation(stage: Stage) -> None:
    deliver_all(stage)
    stage.deliver(3)
    await stage.settled()
    cursors = [str(entry.cursor) for entry in stage.inbox.entries]
    older = await stage.ask("history", before=cursors[-2], limit=2)
    assert ([entry["cursor"] for entry in older["entries"]], older["more"]) == (cursors[-4:-2][::-1], True)
    newer = await stage.ask("history", after=cursors[-3], limit=3)
    assert ([entry["cursor"] for entry in newer["entries"]], newer["more"]) == (cursors[-2:], False)
    grouped = await stage.ask("history", group="team", limit=1)
    assert grouped["entries"][0]["group"] == "team"
    await stage.settled()


async def test_what_arrives_in_the_middle_of_everything_is_judged_too(stage: Stage) -> None:
    """All at once: entries of all kinds in, items of all kinds out, over drops."""
    stage.play(
        Fault(When.AFTER, What.ENTRY, Cut(), 3),
        Fault(When.AFTER, What.HELLO, Do(lambda: deliver_all(stage))),
        Fault(When.AFTER, What.SEND, Cut(rst=True), 2),
        Fault(When.BEFORE, What.READ, Cut()),
    )
    stage.deliver(1, id="w1")
    deliver_all(stage)
    await everything(stage)
    await stage.until(lambda: len(stage.server.script.left) == 1, "the first three")
    stage.deliver(1, id="w2")  # behind all that another device has read
    await stage.until(lambda: ("message", "alice", "w2") in stage.handled(), "it is handled")
    await stage.do("read", message={"id": "w2", "from": "alice", "to": "bob"})
    await stage.until(lambda: ("read", "alice", "read:w2") in stage.handled(), "said again until it is stored")
    await stage.settled()
