"""The handler, the window, gaps, and a server that has lost history."""

import pytest

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Cut, Do, Fault, What, When


async def test_nothing_is_acked_or_passed_while_a_handler_runs(stage: Stage) -> None:
    await stage.prepare("hold")
    handling = len(stage.driver.of("handling"))
    acks = len(stage.server.frames("<", "ack"))
    stage.deliver(5)
    await stage.until(lambda: len(stage.driver.of("handling")) > handling, "a handler runs")
    await stage.ask("stats")
    assert len(stage.driver.of("handling")) == handling + 1
    assert len(stage.server.frames("<", "ack")) == acks
    await stage.do("release")
    await stage.settled()


@pytest.mark.parametrize("times", (1, 3))
async def test_a_handler_that_fails_is_tried_again_before_anything_else(stage: Stage, times: int) -> None:
    await stage.prepare("fail", times=times)
    errors = len(stage.driver.of("error"))
    stage.deliver(3)
    await stage.settled()
    assert [one["code"] for one in stage.driver.of("error")[errors:]] == ["handler_failed"] * times


async def test_a_handler_that_fails_while_the_connection_drops_loses_nothing(stage: Stage) -> None:
    await stage.prepare("fail", times=4)
    stage.play(Fault(When.AFTER, What.ENTRY, Cut(), 2), Fault(When.AFTER, What.ENTRY, Cut()))
    stage.deliver(3)
    await stage.settled()


@pytest.mark.parametrize("window", (1, 4, 1024))
async def test_a_window_of_any_size_is_kept_and_freed(fresh: Open, window: int) -> None:
    stage = await fresh(window=window, ack_delay=0.02)
    stage.deliver(30)
    await stage.settled()
    assert {frame["window"] for frame in stage.server.frames("<", "hello")} == {window}
    stage.play(Fault(When.AFTER, What.ENTRY, Cut(), 7))
    stage.deliver(30)
    await stage.settled()


async def test_a_quarter_of_the_window_is_acked_at_once_and_less_is_not(fresh: Open) -> None:
    """An hour's delay shows which acks do not wait for it; the rest goes with the next `hello`."""
    stage = await fresh(window=40, ack_delay=3600)
    await stage.live()
    stage.deliver(305)
    await stage.until(lambda: not stage.unhandled(), "all is handled, so the window was freed")
    assert len(stage.server.frames("<", "ack")) <= 30
    stage.server.cut()
    await stage.settled()


@pytest.mark.parametrize("reason", ("trimmed", "expired", "deleted"))
async def test_a_gap_is_told_and_passed(stage: Stage, reason: str) -> None:
    inbox = stage.server.inboxes.of("bob")

    def arrive() -> None:
        stage.deliver(5)
        inbox.lose(inbox.entries[-4:-1], reason)

    told = len(stage.driver.of("gap"))
    stage.play(Fault(When.AFTER, What.HELLO, Do(arrive)), Fault(When.AFTER, What.ENTRY, Cut(), 2))
    stage.server.cut()
    await stage.until(lambda: not stage.server.script.left, "cut behind the gap")
    await stage.settled()
    gaps = stage.driver.of("gap")[told:]
    assert {(gap["reason"], gap["missing"]) for gap in gaps} == {(reason, 3)}


async def test_a_gap_at_the_end_is_acked(stage: Stage) -> None:
    inbox = stage.server.inboxes.of("bob")

    def arrive() -> None:
        stage.deliver(2)
        inbox.lose(inbox.entries[-2:], "expired")

    stage.play(Fault(When.AFTER, What.HELLO, Do(arrive)))
    stage.server.cut()
    await stage.until(lambda: not stage.server.script.left, "it came back")
    await stage.settled()


@pytest.mark.parametrize("lost", (1, 3))
async def test_lost_history_is_told_on_an_open_connection(stage: Stage, lost: int) -> None:
    """The same positions are handed out again to other messages: they must not be taken for repeats."""
    stage.deliver(4)
    await stage.settled()
    inbox = stage.server.inboxes.of("bob")
    told = len(stage.driver.of("gap"))
    before = [entry.cursor for entry in inbox.entries[-lost:]]
    await stage.server.rewind("bob", len(inbox.entries) - lost)
    stage.server.inboxes.ms = before[0].ms - 1
    assert stage.deliver(lost) == before, "the very same cursors"
    stage.deliver(1)
    await stage.settled()
    assert [gap["reason"] for gap in stage.driver.of("gap")[told:]] == ["rewound"]
    stage.server.inboxes.ms += 1_000_000


async def test_after_a_loss_it_stands_where_it_was_told_to(stage: Stage) -> None:
    """Where it kept the lost position, it would pass over the messages that stand there now."""
    stage.deliver(4)
    await stage.settled()
    inbox = stage.server.inboxes.of("bob")
    before = [entry.cursor for entry in inbox.entries[-2:]]
    acks = len(stage.server.frames("<", "ack"))
    await stage.server.rewind("bob", len(inbox.entries) - 2)
    await stage.until(lambda: len(stage.server.frames("<", "ack")) > acks, "the gap is stored and acked")
    stage.server.down = True
    stage.server.cut()
    stage.server.inboxes.ms = before[0].ms - 1
    assert stage.deliver(2) == before, "the very same cursors"
    stage.server.down = False
    await stage.settled()
    stage.server.inboxes.ms += 1_000_000


async def test_lost_history_is_told_to_one_who_comes_back(stage: Stage) -> None:
    stage.deliver(4)
    await stage.settled()
    inbox = stage.server.inboxes.of("bob")
    stage.server.down = True
    stage.server.cut()
    inbox.rewind(len(inbox.entries) - 2)
    stage.server.inboxes.ms += 1_000_000
    stage.deliver(3)
    stage.server.down = False
    await stage.settled()
    stage.server.cut()  # and it stands where it should
    stage.deliver(1)
    await stage.settled()


async def test_messages_sent_again_after_a_loss_are_handed_over_once(stage: Stage) -> None:
    stage.deliver(4)
    await stage.settled()
    inbox = stage.server.inboxes.of("bob")
    lost = [dict(entry.frame) for entry in inbox.entries[-2:]]
    await stage.server.rewind("bob", len(inbox.entries) - 2)
    stage.server.inboxes.ms += 1_000_000
    stage.deliver(1)
    stage.server.deliver("bob", *lost)
    stage.deliver(1)
    await stage.settled()


async def test_lost_history_while_a_handler_runs_and_the_connection_drops(stage: Stage) -> None:
    stage.deliver(2)
    await stage.settled()
    inbox = stage.server.inboxes.of("bob")
    handling = len(stage.driver.of("handling"))
    await stage.prepare("hold")
    stage.deliver(3)
    await stage.until(lambda: len(stage.driver.of("handling")) > handling, "a handler runs")
    await stage.server.rewind("bob", len(inbox.entries) - 4)
    stage.server.inboxes.ms += 1_000_000
    stage.deliver(2)
    stage.play(Fault(When.AFTER, What.ENTRY, Cut()))
    await stage.do("release")
    await stage.settled()


async def test_own_copies_are_messages_as_well(fresh: Open) -> None:
    stage = await fresh()
    stage.server.inboxes.own_copies = True
    await stage.live()
    stage.play(Fault(When.AFTER, What.SEND, Cut(), 2), Fault(When.MID, What.ENTRY, Cut(), 2))
    await stage.send(5)
    stage.deliver(2)
    await stage.settled()
    own = [message["id"] for message in stage.home.log() if message["from"] == "bob"]
    assert own == [command.id for command in stage.run.commands]


async def test_history_is_paged_and_moves_no_cursor(stage: Stage) -> None:
    stage.deliver(5)
    await stage.settled()
    page = await stage.ask("history", limit=2)
    assert (len(page["entries"]), page["more"]) == (2, True)
    newest = stage.server.inboxes.of("bob").messages()[-2:]
    assert [entry["id"] for entry in page["entries"]] == [frame["id"] for frame in reversed(newest)]
    older = await stage.ask("history", limit=2, before=page["entries"][-1]["cursor"])
    assert older["entries"][0]["cursor"] < page["entries"][-1]["cursor"]
    assert (await stage.ask("history", **{"with": "nobody"}))["entries"] == []
    await stage.settled()


async def test_history_without_a_connection_is_refused(stage: Stage) -> None:
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    before = len(stage.driver.of("history_failed"))
    await stage.do("history")
    await stage.until(lambda: len(stage.driver.of("history_failed")) > before, "refused")
    assert stage.driver.of("history_failed")[-1]["code"] == "not_connected"
    stage.server.down = False
    await stage.settled()
