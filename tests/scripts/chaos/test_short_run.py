"""A short chaos run with a fixed seed. `make chaos` is the long one."""

from pathlib import Path

import pytest

from scripts.chaos.report import table
from scripts.chaos.runner import run
from scripts.chaos.scenarios import SCENARIOS

SEED = 20
SECONDS = 4
SHORT = ("worker-killed", "worker-paused", "server-killed", "replies-dropped", "lossy-clients")


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    result = run(SCENARIOS[name], SEED, SECONDS, tmp_path)
    assert result.passed, table(result)
    assert result.figures.accepted > 50
    assert result.figures.recovered is not None
