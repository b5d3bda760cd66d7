"""A run goes on whatever one system does, and says what went wrong."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.bench.peers import rounds
from scripts.bench.peers.inboxd import Inboxd
from scripts.bench.peers.marks import judge
from scripts.bench.peers.peer import Peer
from scripts.bench.peers.pubsub import PubSub
from scripts.bench.peers.reading import Found
from scripts.bench.peers.rounds import Plan, Visit, at_half, one_round, visit, words
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.careless_peer import CarelessPeer
from tests.scripts.bench.stages import MOMENT, careless


class Absent(CarelessPeer):
    name = "absent"

    def missing(self) -> str:
        return "no such program: install it"


class Further(CarelessPeer):
    name = "careless, something on"
    in_full = False


class Broken(CarelessPeer):
    name = "broken"

    def start(self, folder: Path) -> None:
        super().start(folder)
        raise AssertionError("a log of many lines\n\nthe last of them says why")


def plan(folder: Path) -> Plan:
    return Plan(MOMENT, loads=1, data_root=folder)


def quiet(words: str) -> None: ...


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two measures, one of which breaks."""

    def broken(*_: object) -> Found:
        raise TimeoutError("too slow")

    monkeypatch.setattr(rounds, "MEASURES", {"broken": broken, "at 500/s": rounds.MEASURES["at 500/s"]})


def test_a_missing_system_is_named_and_not_started(tmp_path: Path) -> None:
    heard: list[str] = []
    seen = visit(Absent(), plan(tmp_path), 0, heard.append)
    assert seen.missing == "no such program: install it"
    assert heard == ["absent: no such program: install it"]
    assert seen.found == {}


def test_a_system_that_does_not_start_is_stopped_and_named(tmp_path: Path) -> None:
    broken = Broken()
    seen = visit(broken, plan(tmp_path), 0, quiet)
    assert seen.failed == "AssertionError: the last of them says why"
    assert not broken._thread.is_alive()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few")
def test_a_measure_that_fails_does_not_keep_the_others_from_being_taken(tmp_path: Path) -> None:
    seen = visit(CarelessPeer(), plan(tmp_path), 0, quiet)
    assert seen.failures == {"broken": "TimeoutError: too slow"}
    assert seen.figure("at500_p99") > 0


@pytest.mark.usefixtures("few")
def test_a_further_row_of_a_system_is_measured_at_saturation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rounds.MEASURES, "saturated", lambda *_: Found({"saturated": 1.0}))
    seen = visit(Further(), plan(tmp_path), 0, quiet)
    assert (set(seen.found), seen.failures) == ({"saturated"}, {})


@pytest.mark.usefixtures("few")
def test_each_round_begins_with_another_system(tmp_path: Path) -> None:
    makers = (CarelessPeer, Absent, Broken)
    assert list(one_round(makers, plan(tmp_path), 0, quiet)) == ["careless", "absent", "broken"]
    assert list(one_round(makers, plan(tmp_path), 1, quiet)) == ["absent", "broken", "careless"]


def test_half_of_a_saturation_that_is_not_known_is_no_rate(tmp_path: Path) -> None:
    with careless(tmp_path) as (_, stage):
        found = at_half(stage, Visit("careless", ""))
    assert set(found.figures) == {"half_p50", "half_p99", "half_p999"}
    assert all(map(math.isnan, found.figures.values()))


def test_a_fault_without_words_is_its_name() -> None:
    assert words(TimeoutError()) == "TimeoutError"


def test_this_service_and_pubsub_are_measured_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {name: rounds.MEASURES[name] for name in ("saturated", "offline", "replay")}
    monkeypatch.setattr(rounds, "MEASURES", taken)
    makers: tuple[type[Peer], ...] = (Inboxd, PubSub)
    patient = replace(plan(tmp_path), sizes=replace(MOMENT, seconds=1.0, drain=PATIENCE))
    seen = one_round(makers, patient, 0, quiet)
    ours, theirs = seen["inboxd"], seen["FastAPI + PUBLISH/SUBSCRIBE"]
    for one in (ours, theirs):
        assert (one.failed, one.failures) == ("", {})
        assert one.figure("saturated") > 0
        assert one.figure("cpu") > 0
        assert {name: found.faults for name, found in one.found.items() if found.faults} == {}
        assert 0 < one.figure("server_cpu") < one.figure("cpu")
    assert "evalsha" in ours.found["saturated"].calls
    published = theirs.found["saturated"]
    assert published.calls["publish"].calls == published.messages > 0
    assert ours.figure("offline") > 0
    assert ours.figure("replay_200") > 0
    assert math.isnan(theirs.figure("offline"))
    assert "Socket.IO was not measured" in {verdict.words for verdict in judge([seen])}
    assert list(tmp_path.iterdir()) == []
