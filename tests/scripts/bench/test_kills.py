"""The measure "accepted but lost": it finds what a system loses, and nothing where a system loses nothing."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scripts.bench.crew import Gate
from scripts.bench.peers import kills
from scripts.bench.peers.kills import Aftermath, KillLoad
from scripts.bench.peers.reading import Stage
from scripts.bench.peers.sizes import QUICK
from scripts.bench.peers.traffic import couples
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.fake_peer import FakePeer

PAIRS, HALF, EACH = 4, 50, 4
IMPATIENT = 1.0  # s, for what will never come


class KillGate(Gate):
    """The second time somebody waits here, the peer is killed."""

    def __init__(self, peer: FakePeer, *, kills: bool = True) -> None:
        self._peer = peer
        self._waits = 0
        self._kills = kills

    async def wait(self) -> None:
        self._waits += 1
        if self._waits == 2 and self._kills:
            await asyncio.to_thread(self._peer.kill_one)


@contextmanager
def started(folder: Path, *, forgets: bool, delivers: float = PAIRS * HALF) -> Iterator[FakePeer]:
    peer = FakePeer(forgets=forgets, delivers=delivers, holds=PAIRS * EACH)
    peer.start(folder)
    try:
        yield peer
    finally:
        peer.stop()


async def aftermath(peer: FakePeer, drain: float, *, killed: bool = True) -> Aftermath:
    load = KillLoad(couples(peer, "k", PAIRS), HALF, EACH, drain)
    return await load.run(KillGate(peer, kills=killed))


async def test_what_a_system_accepted_and_forgot_when_it_was_killed_is_counted(tmp_path: Path) -> None:
    with started(tmp_path, forgets=True) as peer:
        seen = await aftermath(peer, IMPATIENT)
    assert peer.kills == 1
    assert seen.lost == PAIRS * EACH <= seen.caught
    assert seen.cut == PAIRS
    assert kills.found([seen]).figures["lost"] == seen.lost


async def test_a_system_that_keeps_what_it_accepted_has_lost_nothing(tmp_path: Path) -> None:
    with started(tmp_path, forgets=False) as peer:
        seen = await aftermath(peer, PATIENCE)
    assert peer.kills == 1
    assert seen.lost == 0
    assert seen.caught > 0
    assert seen.done > PAIRS * HALF * 1.5
    assert kills.found([seen]).figures == {"lost": 0.0, "lost_of": float(seen.done)}


async def test_a_kill_that_cut_nobody_off_gives_no_figure(tmp_path: Path) -> None:
    with started(tmp_path, forgets=True, delivers=math.inf) as peer:
        seen = await aftermath(peer, PATIENCE, killed=False)
    assert seen.done >= 2 * PAIRS * HALF
    found = kills.found([seen])
    assert math.isnan(found.figures["lost"])
    assert found.remarks == ("the kill did not fall into the load",)


def test_the_kill_falls_into_the_load_of_several_processes(tmp_path: Path) -> None:
    sizes = replace(QUICK, pairs=PAIRS, killed=2 * PAIRS * HALF, in_flight=PAIRS * EACH, drain=IMPATIENT)
    with started(tmp_path, forgets=True) as peer:
        found = kills.measure(Stage(peer, sizes, loads=2))
    assert peer.kills == 1
    assert found.figures["lost"] == PAIRS * EACH
    assert found.figures["lost_of"] > PAIRS * HALF
