"""Reads and watches are said again until they are known, signals never; nothing of it is an item of the outbox."""

from typing import Any

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.conversation import team
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Cut, Fault, Refuse, What, When


def reads(stage: Stage) -> list[dict[str, Any]]:
    return stage.server.frames("<", "read")


async def test_a_read_is_said_again_until_the_service_has_it(stage: Stage) -> None:
    """Lost on its way in, then stored with the entry lost on its way out, then heard: no more."""
    stage.deliver(1, id="r1")
    await stage.settled()
    stage.play(Fault(When.BEFORE, What.READ, Cut()), Fault(When.AFTER, What.READ, Cut(rst=True)))
    said = len(reads(stage))
    await stage.do("read", message={"id": "r1", "from": "alice", "to": "bob"})
    await stage.until(lambda: not stage.server.script.left, "lost twice")
    await stage.settled()
    assert [frame for frame in stage.home.log() if frame["type"] == "read"][-1]["upto"] == "r1"
    count = len(reads(stage)) - said
    assert count >= 2
    assert all(frame == {"type": "read", "from": "alice", "upto": "r1"} for frame in reads(stage)[said:])
    for _ in range(2):
        stage.server.cut()
        stage.deliver(1)
        await stage.settled()
    assert len(reads(stage)) - said == count, "it has been heard"


async def test_what_the_service_has_is_not_said_again_after_a_kill(fresh: Open) -> None:
    """Killed with the `read` entry handled and on disk, which comes no second time."""
    stage = await fresh()
    await stage.live()
    stage.deliver(1)
    await stage.settled()
    await stage.prepare("kill_after_handler")
    await stage.do("read", message=stage.home.log()[0])
    await stage.killed()
    assert stage.home.log()[-1]["type"] == "read"
    for _ in range(2):
        await stage.start()
        await stage.live()
        stage.deliver(1)
        await stage.settled()
        stage.driver.kill()
        await stage.killed()
    assert len(reads(stage)) == 1


async def test_a_read_that_is_refused_for_now_is_said_again_and_one_for_good_is_not(stage: Stage) -> None:
    stage.deliver(1, id="t1")
    await stage.settled()
    said = len(reads(stage))
    stage.play(*[Fault(When.BEFORE, What.READ, Refuse("unavailable"))] * 2)
    await stage.do("read", message=next(frame for frame in stage.home.log() if frame["id"] == "t1"))
    await stage.until(lambda: stage.handled() >= {("read", "alice", "read:t1")}, "stored at last")
    assert len(reads(stage)) - said == 3
    stage.server.gather("left", "alice", "bob")
    await stage.settled()
    stage.server.inboxes.groups["left"].members.remove("bob")
    await stage.do("read", message={"group": "left", "seq": 1, "id": "left:1", "by": "alice"})
    await stage.until(lambda: len(reads(stage)) - said == 4, "said")
    stage.deliver(1)
    await stage.settled()
    for _ in range(2):
        stage.server.cut()
        stage.deliver(1)
        await stage.settled()
    assert len(reads(stage)) - said == 4, "nobody asks any more"


async def test_of_many_reads_the_furthest_is_said_again_after_a_kill(fresh: Open) -> None:
    stage = await fresh()
    stage.server.gather("team", "alice", "bob")
    await stage.live()
    stage.deliver(3)
    await stage.settled()
    messages = [dict(frame) for frame in stage.home.log()]
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    for frame in messages:
        await stage.do("read", message=frame)
    await stage.stored(await stage.send(1))  # behind the reads, so they are on disk
    stage.driver.kill()
    await stage.killed()
    stage.server.down = False
    await stage.start()
    await stage.live()
    await stage.until(lambda: len(reads(stage)) >= 2, "said")
    last = messages[-1]["id"]
    await stage.settled()
    assert sorted(map(str, reads(stage))) == sorted(
        map(str, [{"type": "read", "from": "alice", "upto": last}, {"type": "read", "group": "team", "upto": 1}])
    )


async def test_a_read_of_another_device_that_went_further_ends_it(stage: Stage) -> None:
    stage.deliver(1, id="s1")
    stage.deliver(1, id="s2")
    await stage.settled()
    said = len(reads(stage))
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    await stage.do("read", message=next(frame for frame in stage.home.log() if frame["id"] == "s1"))
    stage.server.read("bob", {"type": "read", "from": "alice", "upto": "s2"})
    stage.server.down = False
    await stage.settled()
    stage.server.cut()
    stage.deliver(1)
    await stage.settled()
    assert len(reads(stage)) - said <= 1, "not on the second connection"


async def test_signals_come_and_go_and_are_kept_nowhere(stage: Stage) -> None:
    team(stage)
    await stage.settled()
    before = len(stage.server.frames("<", "signal"))
    await stage.do("signal", to="carol", body={"typing": True})
    await stage.do("signal", group="team", body={"typing": False})
    await stage.until(lambda: len(stage.server.frames("<", "signal")) == before + 2, "both went out")
    stage.server.down = True
    stage.server.cut()
    await stage.in_state("reconnecting", "connecting")
    await stage.do("signal", to="carol", body={"lost": True})
    await stage.ask("stats")
    assert await stage.outbox() == []
    stage.server.down = False
    stage.deliver(1)
    await stage.settled()
    assert len(stage.server.frames("<", "signal")) == before + 2
    assert stage.server.inboxes.of("carol").entries == [] or stage.server.inboxes.of("carol").sent()


async def test_whom_it_watches_is_said_again_on_every_connection(stage: Stage) -> None:
    watched = len(stage.server.frames("<", "watch"))
    presence = len(stage.driver.of("presence"))
    await stage.do("watch", users=["carol", "dora"])
    await stage.do("watch", users=["erin"])
    await stage.do("unwatch", users=["dora"])
    await stage.until(lambda: len(stage.driver.of("presence")) >= presence + 3, "told of each at once")
    for _ in range(2):
        hellos, watched = stage.installation.hellos, len(stage.server.frames("<", "watch"))
        stage.server.cut()
        await stage.until(lambda hellos=hellos: stage.installation.hellos > hellos, "it comes back")  # type: ignore[misc]
        await stage.live()
        await stage.until(lambda n=watched: len(stage.server.frames("<", "watch")) > n, "said again")  # type: ignore[misc]
        users = [user for frame in stage.server.frames("<", "watch")[watched:] for user in frame["users"]]
        assert sorted(users) == ["carol", "erin"]
    await stage.do("unwatch", users=["carol", "erin"])
    stage.server.cut()
    stage.deliver(1)
    await stage.settled()
    assert len(stage.server.frames("<", "watch")) == watched + 1
