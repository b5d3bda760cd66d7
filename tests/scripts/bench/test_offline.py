"""The offline store: what was accepted for whoever is away, and whether it came in the end."""

import math
from pathlib import Path

from scripts.bench.peers import offline
from scripts.bench.peers.traffic import couples
from tests.scripts.bench.stages import OpenGate, careless


async def test_acceptances_are_counted_and_what_was_accepted_comes_later(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, _):
        load = offline.OfflineLoad(couples(peer, "o", 4), each=4, seconds=0.3, drain=5.0)
        seen = await load.run(OpenGate())
        accepted = peer._accepted
    assert 16 < seen.done <= seen.total == accepted
    assert not seen.faults


async def test_what_was_accepted_and_does_not_come_is_said(tmp_path: Path) -> None:
    with careless(tmp_path, loses=9) as (peer, _):
        load = offline.OfflineLoad(couples(peer, "o", 4), each=4, seconds=0.2, drain=1.0)
        seen = await load.run(OpenGate())
    assert seen.faults == {"undelivered": peer.lost}
    assert peer.lost > 0


def test_a_system_that_keeps_nothing_has_no_figure(tmp_path: Path) -> None:
    with careless(tmp_path) as (peer, stage):
        peer.keeps = 0
        assert math.isnan(offline.measure(stage).figures["offline"])
