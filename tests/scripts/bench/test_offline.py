"""The offline store: what was accepted for whoever is away, and whether it came in the end."""

import math
from pathlib import Path

from scripts.bench.peers import offline
from scripts.bench.peers.traffic import couples
from tests.scripts.bench.careless_peer import CarelessPeer
from tests.scripts.bench.stages import OpenGate, careless


def load(peer: CarelessPeer, seconds: float, drain: float, warm_up: float = 0.0) -> offline.OfflineLoad:
    warm = couples(peer, "w", 4) if warm_up else ()
    return offline.OfflineLoad(couples(peer, "o", 4), warm, 4, seconds, warm_up, drain)


async def test_acceptances_are_counted_and_what_was_accepted_comes_later(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, _):
        seen = await load(peer, seconds=0.3, drain=5.0).run(OpenGate())
        accepted = peer._accepted
    assert 16 < seen.done <= seen.total == accepted
    assert not seen.faults


async def test_what_was_accepted_and_does_not_come_is_said(tmp_path: Path) -> None:
    with careless(tmp_path, loses=9) as (peer, _):
        seen = await load(peer, seconds=0.2, drain=1.0).run(OpenGate())
    assert seen.faults == {"undelivered": peer.lost}
    assert peer.lost > 0


def test_a_system_that_keeps_nothing_has_no_figure(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, stage):
        peer.keeps = 0
        assert math.isnan(offline.measure(stage).figures["offline"])


async def test_a_warm_up_is_to_others_and_not_counted(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, _):
        seen = await load(peer, seconds=0.2, drain=5.0, warm_up=0.2).run(OpenGate())
        to_others = sum(len(kept) for user, kept in peer._kept.items() if user.startswith("w-"))
        accepted = peer._accepted
    assert 0 < seen.total == accepted - to_others
    assert to_others >= 16
    assert not seen.faults
