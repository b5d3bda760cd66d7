"""Random scripts of faults over random conversations. CONFORMANCE_EXAMPLES=200 tries other ones each time."""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.conversation import deliver_all, everything
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import (
    Action,
    Close,
    Closing,
    Cut,
    Delay,
    Fault,
    Framing,
    Refuse,
    Repeat,
    Say,
    Status,
    What,
    When,
)

EXAMPLES = os.environ.get("CONFORMANCE_EXAMPLES")

ODD = ({"type": "sparkle", "x": [1]}, {"type": "pong"}, {"type": "broadcast", "body": 1, "ts": 1})
ENDS: tuple[Action, ...] = (Cut(), Cut(rst=True), Close(1012), Close(4001), Closing(5))
ANYWHERE: tuple[Action, ...] = (*ENDS, Delay(0.01), Framing(fragment=3), Framing(bundle=3))
READ = (What.HELLO, What.ACK, What.SEND, What.READ)
WRITTEN = (What.WELCOME, What.ENTRY, What.LIVE, What.ACCEPTED)

Step = tuple[str, Any]


def faults() -> st.SearchStrategy[Fault]:
    places = st.sampled_from([(when, what) for what in READ + WRITTEN for when in (When.BEFORE, When.AFTER)])
    nth = st.integers(1, 4)
    anywhere = st.builds(
        lambda place, action, nth: Fault(place[0], place[1], action, nth), places, st.sampled_from(ANYWHERE), nth
    )
    middle = st.builds(Fault, st.just(When.MID), st.sampled_from(WRITTEN), st.sampled_from(ENDS[:2]), nth)
    refused = st.builds(
        lambda times, span, nth: Fault(When.BEFORE, What.SEND, Refuse("unavailable", times, span), nth),
        st.integers(1, 2),
        st.integers(1, 3),
        nth,
    )
    repeated = st.builds(
        lambda what, times, back, nth: Fault(When.AFTER, what, Repeat(times, back), nth),
        st.sampled_from((What.ENTRY, What.ACCEPTED)),
        st.integers(1, 2),
        st.integers(1, 4),
        nth,
    )
    unreached = st.builds(
        lambda action: Fault(When.BEFORE, What.CONNECT, action), st.sampled_from((Cut(), Status(503), Cut(rst=True)))
    )
    strange = st.just(Fault(When.AFTER, What.ENTRY, Say(ODD)))
    return st.one_of(anywhere, middle, refused, repeated, unreached, strange)


def steps() -> st.SearchStrategy[list[Step]]:
    few = st.integers(1, 4)
    one = st.one_of(
        st.tuples(st.just("deliver"), few),
        st.tuples(st.just("send"), few),
        st.tuples(st.sampled_from(("everything in", "everything out", "read")), st.none()),
        st.tuples(st.just("play"), st.lists(faults(), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(("cut", "drop", "down", "up", "offline", "online", "hold", "release")), st.none()),
        st.tuples(st.just("fail"), st.integers(1, 2)),
        st.tuples(st.sampled_from(("pause", "kill", "rewind")), st.integers(0, 2)),
    )
    return st.lists(one, min_size=8, max_size=30)


PROFILE = settings(
    max_examples=int(EXAMPLES or 15),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # a failing script is short enough, and each try may take its time-out
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)


async def take(stage: Stage, step: Step) -> None:
    match step:
        case ("deliver", count):
            stage.deliver(count)
        case ("send", count):
            await stage.send(count, to=("carol", "dora")[count % 2])
        case ("everything in", _):
            deliver_all(stage)
        case ("everything out", _):
            await everything(stage)
        case ("read", _) if stage.home.log() and stage.home.log()[-1]["type"] == "message":
            await stage.do("read", message=stage.home.log()[-1])
        case ("pause", _):
            await stage.ask("stats")
        case ("hold" | "release" | "drop" as what, _):
            await stage.do(what)
        case ("fail", times):
            await stage.do("fail", times=times)
        case ("kill", 0):
            stage.driver.kill()
            await stage.restarted()
            await stage.do("connect")
        case _:
            await befall(stage, step)


async def befall(stage: Stage, step: Step) -> None:
    """What happens to the network and the server."""
    match step:
        case ("play", script):
            stage.play(*script)
        case ("cut", _):
            stage.server.cut()
        case ("down" | "up" as what, _):
            stage.server.down = what == "down"
        case ("offline" | "online" as what, _):
            await stage.do("network", online=what == "online")
        case ("rewind", lost) if len(stage.inbox.entries) > lost:
            await stage.server.rewind("bob", len(stage.inbox.entries) - lost)
            stage.server.inboxes.ms += 1000


async def all_is_well_again(stage: Stage) -> None:
    stage.play()
    stage.server.down = False
    await stage.do("network", online=True)
    await stage.do("release")


@PROFILE
@given(plan=steps())
async def test_whatever_happens_each_message_is_handled_once_and_in_order(kept: Open, plan: list[Step]) -> None:
    stage = await kept()
    await stage.live()
    for step in plan:
        await take(stage, step)
    await all_is_well_again(stage)
    await stage.settled()
