"""Saturation: what arrived within the time, once."""

import dataclasses
from pathlib import Path

from scripts.bench.peers import saturated
from scripts.bench.peers.traffic import couples
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.stages import OpenGate, careless


async def test_a_message_that_came_is_followed_by_the_next_until_the_time_is_up(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, _):
        load = saturated.SaturatedLoad(couples(peer, "s", 4), each=2, seconds=0.3, warm_up=0.1, drain=PATIENCE)
        seen = await load.run(OpenGate())
    assert seen.done <= seen.total
    assert seen.total > 8
    assert round(seen.ended - seen.started, 3) == 0.3
    assert not seen.faults


async def test_what_is_lost_is_not_delivered_and_what_is_repeated_counts_once(tmp_path: Path) -> None:
    with careless(tmp_path, loses=20, repeats=7) as (peer, _):
        load = saturated.SaturatedLoad(couples(peer, "s", 4), each=2, seconds=0.3, warm_up=0.0, drain=0.5)
        seen = await load.run(OpenGate())
        handed_over = len(peer._seen)
    assert seen.faults["undelivered"] == peer.lost > 0
    assert seen.faults["repeated"] > 0
    assert seen.total == handed_over - peer.lost - 8  # of the warm-up


def test_the_rate_and_the_cost_are_of_all_load_processes(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, stage):
        sizes = dataclasses.replace(stage.sizes, drain=PATIENCE)
        found = saturated.measure(dataclasses.replace(stage, loads=2, sizes=sizes))
        handed_over = len(peer._seen)
    # Each of two processes has a window of its own; before it comes the warm-up.
    assert 0 < found.figures["saturated"] * 0.3 < handed_over
    assert found.figures["cpu"] > 0
    assert found.figures["load_cpu"] > 0
    assert 0 < found.load < 1.5
    assert not found.faults
