"""Subjects, setups and the report, as far as nothing needs to run."""

import math
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from scripts.bench import report
from scripts.bench.content import BODY, Sends
from scripts.bench.measure import CORES, Cost, Figure, Mark, Readings, Result, cost_between, remarks, uneven
from scripts.bench.report import Run
from scripts.bench.setups import CLUSTER, REPLICAS, Setup, environment
from scripts.bench.subjects import SUBJECTS
from scripts.bench.usage import Reading
from scripts.bench.ws_client import Endpoint
from scripts.bench.ws_frames import MASKED, encode
from tests.scripts.test_bench import outcome

BY_NAME = {subject.name: subject for subject in SUBJECTS}


def test_what_is_beside_another_differs_from_it_in_its_server_alone() -> None:
    for subject in SUBJECTS:
        if subject.beside:
            other = BY_NAME[subject.beside]
            assert subject.name.startswith(other.name.removesuffix("-no-copy"))
            assert subject.setup != other.setup


def test_a_setup_is_told_in_words_that_say_what_is_special() -> None:
    assert str(Setup()) == "2 workers, own copy on"
    assert (
        str(Setup(workers=1, own_copy=False, store=CLUSTER))
        == "1 worker, own copy off, on a Cluster of three primaries"
    )
    assert "replicated:2 on AOF always" in str(Setup(durability="replicated:2", store=REPLICAS))


def test_a_started_service_checks_tokens_and_counts_rates_that_nobody_reaches() -> None:
    settings = environment(Setup(), 4711, Path("data"), None, "s" * 64)
    assert settings["INBOXD_AUTH"] == "jwt"
    assert settings["INBOXD_JWT_SECRET"] == "s" * 64
    assert int(settings["INBOXD_RATE"]) >= 1_000_000
    assert int(settings["INBOXD_MAX_PENDING"]) > 100_000


def test_credentials_are_a_token_where_there_is_a_secret() -> None:
    assert Endpoint("h", 1).credentials("bob") == ("X-Inboxd-User", "bob")
    name, value = Endpoint("h", 1, "s" * 64).credentials("bob", "ops")
    assert name == "Authorization"
    claims = jwt.decode(value.removeprefix("Bearer "), "s" * 64, algorithms=["HS256"])
    assert (claims["sub"], claims["scope"]) == ("bob", "ops")


def test_frames_that_differ_in_their_id_are_what_the_encoder_would_have_made() -> None:
    whole = encode(b'{"type":"send","id":"00000042","group":"team","body":%b}' % BODY)
    assert Sends(b"team", b"group").frame(42) == whole
    assert whole[1] & MASKED


def test_replicas_are_part_of_what_the_server_costs() -> None:
    before = Readings(Reading(0.0, 0.0, 0.0, 1.0), 1.0, {})
    after = Readings(Reading(0.0, 0.0, 9.0, 1.75), 2.0, {})
    assert cost_between(before, after, outcome()).server == pytest.approx(1.75)


def test_what_else_worked_on_the_machine_is_told_with_the_figures() -> None:
    before = Readings(Reading(0.0, 0.0, 0.0), 0.0, {}, 100.0, at=50.0)
    whole = 4.0 * CORES  # s, of all cores; the load measured itself for a part of it
    after = Readings(Reading(1.0, 0.0, 0.0), 0.5, {}, 100.0 + whole, at=54.0)
    cost = cost_between(before, after, outcome(cpu=0.5))
    assert cost.others == pytest.approx((whole - 2.0) / whole)
    assert any(remark.startswith("others took 50%") for remark in remarks([outcome()], replace(cost, others=0.5)))
    assert not any("others" in remark for remark in remarks([outcome()], replace(cost, others=0.05)))


def test_workers_that_share_their_connections_badly_are_named() -> None:
    assert uneven([70, 130]) == ("connections lie unevenly on the workers: 130 : 70 open files",)
    assert uneven([95, 105]) == uneven([500]) == uneven([]) == ()


def run_of(**values: float) -> Run:
    figure = {
        name: Figure("accepted", "sends/s", value, None, Mark(2.5, at_least=True)) for name, value in values.items()
    }
    results = {name: Result((one, Figure("p50", "ms", 1.0))) for name, one in figure.items()}
    return Run({}, results, dict.fromkeys(results, "2 workers"), {"one": "two"})


def test_a_figure_is_set_beside_the_same_one_of_its_neighbour_in_each_run() -> None:
    lines = report.figures([run_of(one=10, two=20), run_of(one=30, two=40), run_of(one=8, two=8)]).splitlines()
    rows = [line.split() for line in lines if "accepted" in line]
    assert rows[0][7] == "0.750"  # of 0.5, 0.75 and 1, though the medians are 10 and 20
    assert rows[1][7] == "-"
    assert math.isnan(run_of(one=1).beside("one", Figure("accepted", "sends/s", 1.0)))


def test_a_missed_mark_says_nothing_where_the_load_was_the_limit() -> None:
    figure = Figure("accepted", "times", 2.0, None, Mark(2.5, at_least=True))
    assert report.mark_text(figure, 2.0) == "≥ 2.5 missed"
    assert report.mark_text(figure, 2.0, refused=True) == "≥ 2.5 refused"
    assert report.mark_text(figure, 3.0, refused=True) == "≥ 2.5 met"


def test_each_size_of_a_subject_has_a_row_of_costs() -> None:
    cost = Cost(100, 100, 1.0, 0.1, 0.0, 0.1, 0.0, {})
    run = Run({}, {"growth": Result((), None, (), {"small": cost, "large": cost})}, {"growth": "x"})
    assert list(report.costs_by_subject([run])) == ["growth, small", "growth, large"]
