"""The connection drops at every possible point of a send, of a delivery, and of coming back."""

import pytest

from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Action, Close, Closing, Cut, Do, Fault, Status, What, When

ENDS: list[Action] = [Cut(), Cut(rst=True), Close(1012), Closing(1)]

Point = tuple[When, What, Action]


def points(*moments: tuple[When, What]) -> list[Point]:
    """Each with each end; behind half a frame none can be said."""
    return [(when, what, end) for when, what in moments for end in ENDS if when is not When.MID or isinstance(end, Cut)]


def name(value: object) -> str:
    return str(value).removesuffix("()")


A_SEND = points(
    (When.BEFORE, What.SEND),
    (When.AFTER, What.SEND),
    (When.MID, What.ACCEPTED),
    (When.AFTER, What.ACCEPTED),
)
AN_ENTRY = points((When.BEFORE, What.ENTRY), (When.MID, What.ENTRY), (When.AFTER, What.ENTRY))
AN_ACK = points((When.BEFORE, What.ACK), (When.AFTER, What.ACK))
A_START = points(
    (When.BEFORE, What.HELLO),
    (When.AFTER, What.HELLO),
    (When.BEFORE, What.WELCOME),
    (When.MID, What.WELCOME),
    (When.AFTER, What.WELCOME),
    (When.BEFORE, What.LIVE),
    (When.MID, What.LIVE),
    (When.AFTER, What.LIVE),
)


@pytest.mark.parametrize("nth", (1, 3))
@pytest.mark.parametrize(("when", "what", "end"), A_SEND, ids=name)
async def test_a_send_survives_a_drop(stage: Stage, when: When, what: What, end: Action, nth: int) -> None:
    stage.play(Fault(when, what, end, nth))
    await stage.send(4)
    await stage.settled()


@pytest.mark.parametrize("nth", (1, 3))
@pytest.mark.parametrize(("when", "what", "end"), AN_ENTRY, ids=name)
async def test_a_delivery_survives_a_drop(stage: Stage, when: When, what: What, end: Action, nth: int) -> None:
    stage.play(Fault(when, what, end, nth))
    stage.deliver(4)
    await stage.settled()


@pytest.mark.parametrize("nth", (1, 3))
@pytest.mark.parametrize(("when", "what", "end"), AN_ENTRY, ids=name)
async def test_a_replay_survives_a_drop(stage: Stage, when: When, what: What, end: Action, nth: int) -> None:
    stage.play(Fault(When.AFTER, What.HELLO, Do(lambda: stage.deliver(4))), Fault(when, what, end, nth))
    stage.server.cut()
    await stage.until(lambda: not stage.server.script.left, "the drop has happened")
    await stage.settled()


@pytest.mark.parametrize("nth", (1, 3))
@pytest.mark.parametrize(("when", "what", "end"), AN_ACK, ids=name)
async def test_an_ack_that_drops_is_made_good(stage: Stage, when: When, what: What, end: Action, nth: int) -> None:
    stage.play(Fault(when, what, end, nth))
    inbox = stage.server.inboxes.of("bob")
    while stage.server.script.left:
        await stage.trickle(1)
        await stage.until(lambda: inbox.stored("phone") >= inbox.last, "the ack has come")
    await stage.settled()


@pytest.mark.parametrize("end", ENDS, ids=name)
async def test_a_drop_during_the_handler_does_not_hand_over_twice(stage: Stage, end: Action) -> None:
    before = len(stage.driver.of("handling"))
    await stage.prepare("hold")
    stage.play(Fault(When.AFTER, What.ENTRY, end, 2))
    stage.deliver(3)
    await stage.until(lambda: len(stage.driver.of("handling")) > before, "the handler has begun")
    hellos = stage.installation.hellos
    await stage.until(lambda: stage.installation.hellos > hellos or stage.server.script.left == [], "came back")
    await stage.until(lambda: stage.driver.state == "live", "live while the handler still runs")
    await stage.do("release")
    await stage.settled()


@pytest.mark.parametrize(("when", "what", "end"), A_START, ids=name)
async def test_coming_back_survives_a_drop(stage: Stage, when: When, what: What, end: Action) -> None:
    stage.server.down = True
    stage.server.cut()
    stage.play(Fault(when, what, end), Fault(when, what, end))
    stage.deliver(2)
    await stage.send(2)
    stage.server.down = False
    await stage.until(lambda: not stage.server.script.left, "both drops have happened")
    await stage.settled()


async def test_a_server_that_cannot_be_reached_is_tried_again(stage: Stage) -> None:
    refusals: list[Action] = [Cut(), Status(503), Status(502), Cut(rst=True), Status(403), Cut()]
    stage.play(*[Fault(When.BEFORE, What.CONNECT, refusal) for refusal in refusals])
    stage.server.cut()
    stage.deliver(2)
    await stage.send(2)
    await stage.until(lambda: not stage.server.script.left, "all refusals have happened")
    await stage.settled()


async def test_all_drops_in_one_conversation(stage: Stage) -> None:
    """One after the other, while messages go both ways."""
    places = [*A_SEND, *AN_ENTRY, *A_START, *AN_ACK]
    stage.play(*[Fault(when, what, end) for when, what, end in places])
    while stage.server.script.left:
        left = len(stage.server.script.left)
        stage.deliver(1)
        await stage.send(1)
        if stage.server.script.left[0].what in {What.HELLO, What.WELCOME, What.LIVE}:
            stage.server.cut()
        await stage.until(lambda before=left: len(stage.server.script.left) < before, "one more drop")  # type: ignore[misc]
    await stage.settled()


async def test_the_application_can_drop_the_connection_itself(stage: Stage) -> None:
    for _ in range(3):
        hellos = stage.installation.hellos
        stage.deliver(2)
        await stage.send(2)
        await stage.do("drop")
        await stage.until(lambda before=hellos: stage.installation.hellos > before, "it comes back")  # type: ignore[misc]
    await stage.settled()
