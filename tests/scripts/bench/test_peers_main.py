"""The command: chooses systems, measures them, prints and writes what it found."""

from pathlib import Path

import orjson
import pytest

from scripts.bench.peers import __main__ as command
from scripts.bench.peers import page, rounds
from scripts.bench.peers.marks import MARKS, US, WITH_ALL, WITH_COPY
from scripts.bench.peers.roster import ROSTER
from tests.scripts.bench.careless_peer import CarelessPeer
from tests.scripts.bench.stages import MOMENT

NAMES = [make().name for make in ROSTER]


class Other(CarelessPeer):
    name = "other"

    def __init__(self) -> None:
        super().__init__(loses=25)


def test_every_system_has_a_name_of_its_own_and_this_service_is_the_first() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert NAMES[:3] == [US, WITH_COPY, WITH_ALL]


def test_every_mark_is_beside_a_system_of_the_roster() -> None:
    assert [mark.beside for mark in MARKS if not any(name.startswith(mark.beside) for name in NAMES)] == []


def test_systems_are_chosen_by_the_beginning_of_their_names() -> None:
    assert [make().name for make in command.chosen(["EJAB", "mosq"])] == ["ejabberd", "mosquitto, QoS 1"]
    assert [make().name for make in command.chosen(["inboxd"])] == [US, WITH_COPY, WITH_ALL]
    assert command.chosen(None) == ROSTER


def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nothing"], (CarelessPeer,)) == 2
    assert "there are: careless" in capsys.readouterr().err


def test_a_run_prints_its_page_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "QUICK", MOMENT)
    monkeypatch.setattr(rounds, "MEASURES", {name: rounds.MEASURES[name] for name in ("at 500/s", "replay")})
    report, figures = tmp_path / "page.md", tmp_path / "all.json"
    options = ["--quick", "--loads", "1", "--report", str(report), "--json", str(figures), "--data-root", str(tmp_path)]
    assert command.main(options, (CarelessPeer, Other)) == 0
    heard = capsys.readouterr()
    assert "[round 1 of 1] other, at 500/s: " in heard.err
    assert "round 1, other: at 500/s: undelivered" in heard.out
    assert "careless: at 500/s: undelivered" not in heard.out
    assert heard.out.strip() in report.read_text()
    assert page.BEGIN in report.read_text()
    assert set(orjson.loads(figures.read_bytes())["rounds"][0]) == {"careless", "other"}
