"""Metrics: of one process alone, and of all workers of a host together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service import telemetry
from tests.house.tree import ROOT

COUNT_ONE = "from service import telemetry; telemetry.BATCHES.inc(); print(telemetry.exposition().decode())"


def test_without_siblings_a_process_answers_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    said = telemetry.exposition().decode()
    assert "# HELP inboxd_batches_total" in said
    assert "# TYPE inboxd_connections gauge" in said


def test_any_worker_answers_for_all_of_the_host(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", COUNT_ONE], capture_output=True, text=True, check=True, cwd=ROOT, env=environ
        ).stdout
        for _ in range(3)
    ]
    assert "inboxd_batches_total 1.0" in said[0]
    assert "inboxd_batches_total 3.0" in said[2]


def test_every_metric_has_our_name_and_says_what_it_counts() -> None:
    ours = [line for line in telemetry.exposition().decode().splitlines() if line.startswith("# HELP inboxd_")]
    assert len(ours) > 10
    assert all(len(line.split(maxsplit=3)) == 4 for line in ours)
