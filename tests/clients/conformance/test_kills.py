"""SIGKILL of the client's process at every point that matters, then a new one on the same state."""

import pytest

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import WRITTEN, Cut, Do, Fault, Refuse, What, When


async def again(stage: Stage) -> None:
    """The process is gone, or going: a new one on the same state."""
    await stage.killed()
    await stage.start()
    await stage.live()


def logs(kind: str) -> tuple[bool, ...]:
    """Only the Python client lends its database to the application, for a log in the transaction of the cursor."""
    return (False, True) if kind == "python" else (False,)


async def test_killed_in_the_handler(fresh: Open, kind: str) -> None:
    """Handed over again, and in the log once."""
    for transactional in logs(kind):
        stage = await fresh(transactional=transactional)
        await stage.live()
        stage.deliver(2)
        await stage.settled()
        await stage.prepare("kill_in_handler")
        stage.deliver(3)
        await again(stage)
        assert [event for event in stage.drivers[0].of("handling") if event["message"]["id"] == "in3"]
        await stage.settled()


async def test_killed_between_the_handler_and_the_ack(fresh: Open, kind: str) -> None:
    """The cursor is on the disk, and the service does not know."""
    for transactional in logs(kind):
        stage = await fresh(transactional=transactional)
        await stage.live()
        stage.deliver(2)
        await stage.settled()
        await stage.prepare("kill_after_handler")
        stage.deliver(3)
        await again(stage)
        logged = [message["id"] for message in stage.home.log()]
        assert "in3" in logged
        await stage.settled()
        assert "in3" not in [event["message"]["id"] for event in stage.driver.of("handling")], "handed over again"


async def test_killed_again_and_again_with_a_small_window(fresh: Open, kind: str) -> None:
    for transactional in logs(kind):
        stage = await fresh(transactional=transactional, window=2)
        await stage.live()
        stage.deliver(6)
        for point in ("kill_after_handler", "kill_in_handler", "kill_after_handler"):
            await stage.settled()
            await stage.do(point)
            stage.deliver(4)
            await again(stage)
        await stage.settled()


@pytest.mark.parametrize("nth", (1, 2))
@pytest.mark.parametrize("when", (When.BEFORE, When.AFTER), ids=str)
async def test_killed_between_a_send_and_its_answer(fresh: Open, when: When, nth: int) -> None:
    """Received or not, appended or not: after the restart it is in the inbox once, and has ended."""
    stage = await fresh()
    await stage.live()
    stage.play(
        Fault(when, What.SEND, Do(stage.driver.kill), nth),
        Fault(When.BEFORE, What.CONNECT if when is When.BEFORE else What.ACCEPTED, Cut()),
    )
    ids = await stage.send(3)
    await stage.until(lambda: len(stage.server.script.left) <= 1, "the client is killed")
    lost = await stage.restarted()
    await stage.settled()
    assert len(lost) < len(ids)


@pytest.mark.parametrize("what", WRITTEN)
async def test_killed_while_frames_are_on_their_way(fresh: Open, what: What) -> None:
    stage = await fresh()
    await stage.live()
    stage.deliver(1)
    await stage.settled()
    stage.play(Fault(When.MID, what, Do(stage.driver.kill)))
    if what in {What.WELCOME, What.LIVE}:
        stage.server.cut()
    stage.deliver(2)
    await stage.send(2)
    await stage.until(lambda: not stage.server.script.left, "the client is killed")
    await stage.restarted()
    await stage.settled()


async def test_killed_between_storing_and_the_first_try(fresh: Open) -> None:
    """The application was told nothing, and the message goes out all the same: it was stored."""
    stage = await fresh()
    stage.server.down = True
    await stage.do("connect")
    await stage.in_state("reconnecting")
    ids = await stage.send(3)
    await stage.stored(ids)
    stage.driver.kill()
    await stage.killed()
    assert stage.server.frames("<", "send") == []
    stage.server.down = False
    await stage.start()
    assert [item["id"] for item in await stage.outbox()] == ids
    await stage.live()
    await stage.settled()


async def test_killed_while_sends_wait_behind_one_that_is_unavailable(fresh: Open) -> None:
    stage = await fresh()
    await stage.live()
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=10**6), 2))
    ids = await stage.send(5)
    await stage.until(lambda: len(stage.server.frames(">", "error")) > 8, "refused more than once")
    await stage.stored(ids[1:])
    stage.driver.kill()
    await again(stage)
    await stage.settled()


async def test_what_has_failed_is_still_there_after_a_restart(fresh: Open) -> None:
    stage = await fresh()
    await stage.live()
    stage.play(Fault(When.BEFORE, What.SEND, Refuse("forbidden")))
    [id] = await stage.send(1)
    await stage.settled()
    await stage.outbox_is(lambda items: [item["state"] for item in items] == ["failed"])
    stage.driver.kill()
    await again(stage)
    assert [(item["id"], item["state"]) for item in await stage.outbox()] == [(id, "failed")]
    stage.run.retried.add(id)
    await stage.do("retry", id=id)
    await stage.until(lambda: id in [one["id"] for one in stage.driver.of("accepted")], "accepted after all")
    await stage.settled()


async def test_repeats_are_known_after_a_restart(fresh: Open) -> None:
    """Identities are stored with the cursor: a server that lost history hands them over again."""
    stage = await fresh()
    await stage.live()
    stage.deliver(4)
    await stage.settled()
    lost = [dict(entry.frame) for entry in stage.server.inboxes.of("bob").entries[-3:]]
    stage.driver.kill()
    await stage.killed()
    stage.server.inboxes.of("bob").rewind(1)
    stage.server.inboxes.ms += 1_000_000
    stage.server.deliver("bob", *lost)
    stage.deliver(1)
    await stage.start()
    await stage.live()
    await stage.settled()
    assert (await stage.ask("stats"))["repeats"] >= 3


async def test_a_device_that_is_not_named_keeps_its_attempt_over_many_restarts(fresh: Open) -> None:
    stage = await fresh()
    for round_ in range(3):
        await stage.live()
        stage.deliver(1)
        await stage.settled()
        if round_ % 2:
            await stage.do("close")
        else:
            stage.driver.kill()
        await stage.killed()
        await stage.start()
    await stage.live()
    await stage.settled()


async def test_closing_leaves_properly_and_keeps_what_is_unsent(fresh: Open) -> None:
    stage = await fresh()
    stage.server.down = True
    await stage.do("connect")
    ids = await stage.send(2)
    await stage.stored(ids)
    await stage.do("close")
    await stage.killed()
    assert stage.driver.process.returncode == 0, stage.driver.tail()
    stage.server.down = False
    await stage.start()
    await stage.live()
    await stage.settled()
