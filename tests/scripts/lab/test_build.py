"""Which build of the service is started. That it is the chosen one is asked of its workers (tests/edge/test_ops.py)."""

import os
from pathlib import Path

import pytest

from scripts.lab import build


def test_without_a_word_it_is_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(build.FOLDER, raising=False)
    assert build.chosen() == {}


def test_a_compiled_one_comes_before_the_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "service" / "core").mkdir(parents=True)
    (tmp_path / "service" / "core" / "cursor.cpython-311.so").touch()
    monkeypatch.setenv(build.FOLDER, str(tmp_path))
    chosen = build.chosen()
    assert chosen["PYTHONPATH"].split(os.pathsep) == [str(tmp_path), str(build.ROOT)]
    assert chosen["PYTHONSAFEPATH"], "or the folder it is started in comes first"


def test_a_folder_without_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(build.FOLDER, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="make compiled"):
        build.chosen()
