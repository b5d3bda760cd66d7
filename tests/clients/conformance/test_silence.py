"""A peer that says nothing any more, and a platform that says there is no network."""

import pytest

from scripts.lab.timing import UNIT
from tests.clients.conformance.conftest import Open
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Fault, Silence, What, When

LIVELY = {"ping_interval": 0.15 * UNIT, "patience": 0.4 * UNIT, "try_timeout": 0.6 * UNIT}
"""Seconds: a silent connection is given up soon, and not while this machine is merely busy."""

POINTS = (
    (When.BEFORE, What.WELCOME),
    (When.AFTER, What.LIVE),
    (When.BEFORE, What.ENTRY),
    (When.MID, What.ENTRY),
    (When.AFTER, What.ENTRY),
    (When.BEFORE, What.ACK),
    (When.BEFORE, What.SEND),
    (When.AFTER, What.SEND),
    (When.MID, What.ACCEPTED),
)
"""Where a connection goes silent."""


async def test_a_silent_connection_is_given_up_wherever_it_falls_silent(fresh: Open) -> None:
    stage = await fresh(**LIVELY)
    await stage.live()
    for when, what in POINTS:
        stage.play(Fault(when, what, Silence()))
        if what in {What.WELCOME, What.LIVE}:
            stage.server.cut()
        stage.deliver(2)
        await stage.send(2)
        await stage.settled()


async def test_a_handshake_that_is_never_answered_is_given_up(fresh: Open) -> None:
    stage = await fresh(**LIVELY)
    stage.play(Fault(When.BEFORE, What.CONNECT, Silence()), Fault(When.BEFORE, What.HELLO, Silence()))
    stage.deliver(1)
    await stage.send(1)
    await stage.settled()


async def test_an_idle_connection_is_asked_and_kept(fresh: Open) -> None:
    stage = await fresh(ping_interval=0.05)
    await stage.live()
    await stage.until(lambda: len(stage.server.frames("<", "ping")) > 2, "pings")
    assert stage.installation.hellos == 1
    stage.deliver(1)
    await stage.settled()


async def test_without_a_network_nothing_is_tried_and_nothing_lost(stage: Stage) -> None:
    await stage.do("network", online=False)
    await stage.in_state("offline")
    ids = await stage.send(3)
    stage.deliver(3)
    await stage.stored(ids)
    handshakes = stage.server.handshakes
    stage.server.cut()
    await stage.ask("stats")
    assert stage.server.handshakes == handshakes
    assert stage.driver.state == "offline"
    await stage.do("network", online=True)
    await stage.settled()


async def test_a_network_that_is_back_is_used_at_once(fresh: Open) -> None:
    """Not after the wait that was drawn before: that would outlast this test."""
    stage = await fresh(backoff_first=3600, backoff_most=3600)
    stage.server.down = True
    await stage.do("connect")
    await stage.in_state("reconnecting")
    stage.server.down = False
    await stage.do("network", online=False)
    await stage.in_state("offline")
    await stage.do("network", online=True)
    stage.deliver(1)
    await stage.settled()


@pytest.mark.parametrize("times", (1, 8))
async def test_waits_are_drawn_from_below_their_bound(fresh: Open, times: int) -> None:
    first, most = 0.02, 0.1
    stage = await fresh(backoff_first=first, backoff_most=most)
    stage.server.down = True
    await stage.do("connect")

    def waits() -> list[dict[str, float]]:
        return [event for event in stage.driver.of("state") if event["state"] == "reconnecting"]

    await stage.until(lambda: len(waits()) >= times, f"{times} waits")
    stage.server.down = False
    await stage.settled()
    for event, heard in stage.driver.heard("state"):
        if event["state"] == "reconnecting":
            # Heard later than it was drawn: what is left of the wait by then is below the bound whatever happened.
            assert event["retryAt"] / 1000 - heard <= most + 0.001
