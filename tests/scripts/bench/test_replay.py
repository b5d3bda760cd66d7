"""Replay of a backlog: all of it, or no figure."""

import math
from pathlib import Path

from scripts.bench.peers import replay
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.careless_peer import CarelessPeer
from tests.scripts.bench.stages import OpenGate, careless

WARM = 200 // replay.WARM


def load(peer: CarelessPeer, patience: float) -> replay.ReplayLoad:
    return replay.ReplayLoad((replay.absentee(peer, "r"),), replay.absentee(peer, "w"), 200, patience, 0.0)


def test_the_figure_is_the_backlog_by_the_time_it_took(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, stage):
        found = replay.measure(stage, 200)
        accepted = peer._accepted
    assert accepted >= 200 + WARM
    assert (accepted - 200) % WARM == 0  # the warm-up fills and gets a shorter one, perhaps again
    assert found.figures["replay_200"] > 0
    assert not found.faults


async def test_a_backlog_that_is_not_whole_gives_no_figure(tmp_path: Path) -> None:
    with careless(tmp_path, loses=50) as (peer, _):
        seen = await load(peer, patience=0.5).run(OpenGate())
    assert seen.faults == {"undelivered": 4}  # of the backlog itself
    assert [math.isnan(sample) for sample in seen.samples] == [True]


async def test_what_comes_twice_is_said(tmp_path: Path) -> None:
    with careless(tmp_path, repeats=20) as (peer, _):
        seen = await load(peer, PATIENCE).run(OpenGate())
    assert 0 < seen.faults["repeated"] <= peer.repeated
    assert set(seen.faults) == {"repeated"}
    assert not math.isnan(seen.samples[0])


def test_a_backlog_longer_than_what_is_kept_gives_no_figure(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, stage):
        assert math.isnan(replay.measure(stage, peer.keeps + 1).figures[f"replay_{peer.keeps + 1}"])
        assert peer._accepted == 0
