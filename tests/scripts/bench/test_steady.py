"""Latency at a fixed rate: nothing is left out of the figures, and nothing that went wrong out of the report."""

from pathlib import Path

from scripts.bench.peers import steady
from scripts.bench.peers.traffic import Couple, couples
from tests.scripts.bench.stages import MOMENT, OpenGate, careless

RATE = 400.0
SENT = int(RATE * MOMENT.steady)


def load(pairs: tuple[Couple, ...], warm_up: float = 0.0) -> steady.SteadyLoad:
    return steady.SteadyLoad(pairs, RATE, MOMENT.steady, warm_up, MOMENT.drain, seed=1)


async def test_every_message_gives_one_sample(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, _):
        seen = await load(couples(peer, "s", 4)).run(OpenGate())
    assert seen.done == seen.total == len(seen.samples) == len(seen.late) == SENT
    assert not seen.faults
    assert all(sample > 0 for sample in seen.samples)


async def test_what_came_twice_or_never_is_no_sample_and_is_said(tmp_path: Path) -> None:
    with careless(tmp_path, loses=10, repeats=15) as (peer, _):
        seen = await load(couples(peer, "s", 4)).run(OpenGate())
        both = SENT // 30  # one that is lost cannot come twice
    assert seen.faults == {"undelivered": peer.lost, "repeated": peer.repeated - both}
    assert seen.total == len(seen.samples) == SENT - peer.lost
    assert peer.lost == SENT // 10


def test_percentiles_are_in_milliseconds_and_over_all_load_processes(tmp_path: Path) -> None:
    with careless(tmp_path, loses=50) as (_, stage):
        found = steady.at_rate(stage, "at500", RATE)
    assert 0 < found.figures["at500_p50"] <= found.figures["at500_p99"] <= found.figures["at500_p999"]
    assert found.figures["at500_p999"] < 1000 * MOMENT.drain
    assert found.faults["undelivered"] > 0
