"""Memory of idle connections."""

from pathlib import Path

import pytest

from scripts.bench.peers import idle
from tests.scripts.bench.stages import MOMENT, careless


def test_it_is_the_growth_of_all_processes_for_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter((1_000_000, 1_000_000 + 4 * 1024 * MOMENT.idle))
    monkeypatch.setattr(idle, "WARM", 4)
    monkeypatch.setattr(idle, "resident", lambda _: next(readings))
    with careless(tmp_path) as (peer, stage):
        found = idle.measure(stage)
        assert len(peer._online) == 4 + MOMENT.idle
    assert found.figures == {"idle": 4.0}
    assert not found.faults
