"""Close codes: the number alone says whether a client comes back."""

import pytest

from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Close, Closing, Fault, What, When

COME_BACK = (1000, 1001, 1002, 1007, 1009, 1011, 1012, 1013, 3000, 4000, 4001, 4003, 4400, 4499)
STAY_AWAY = (4500, 4501, 4503, 4509, 4510, 4600, 4999)


@pytest.mark.parametrize("code", COME_BACK)
async def test_it_comes_back(stage: Stage, code: int) -> None:
    stage.play(Fault(When.AFTER, What.ENTRY, Close(code, "scripted")), Fault(When.AFTER, What.SEND, Close(code)))
    hellos = stage.installation.hellos
    stage.deliver(2)
    await stage.until(lambda: stage.installation.hellos > hellos, "it comes back")
    await stage.send(2)
    await stage.settled()


@pytest.mark.parametrize("code", STAY_AWAY)
async def test_it_stays_away_until_it_is_told_to_connect(stage: Stage, code: int) -> None:
    stage.play(Fault(When.AFTER, What.ENTRY, Close(code, "scripted")))
    stage.deliver(2)
    await stage.in_state("failed")
    event = [event for event in stage.driver.of("state") if event["state"] == "failed"][-1]
    assert event["code"] == code
    handshakes = stage.server.handshakes
    [id] = await stage.send(1)
    await stage.stored([id])
    await stage.ask("stats")
    assert stage.server.handshakes == handshakes
    assert id in stage.unended(), "pending while there is no connection"
    await stage.do("connect")
    await stage.settled()


@pytest.mark.parametrize("code", (4500, 4503, 4509))
async def test_it_stays_away_when_refused_at_hello(stage: Stage, code: int) -> None:
    stage.play(Fault(When.AFTER, What.HELLO, Close(code)))
    stage.server.cut()
    await stage.in_state("failed")
    await stage.do("connect")
    await stage.settled()


async def test_a_hint_of_the_server_replaces_the_next_wait(stage: Stage) -> None:
    for hint in (1, 30, 60):
        stage.play(Fault(When.AFTER, What.ENTRY, Closing(hint)))
        hellos = stage.installation.hellos
        stage.deliver(1)
        await stage.until(lambda before=hellos: stage.installation.hellos > before, "it comes back")  # type: ignore[misc]
    await stage.settled()
