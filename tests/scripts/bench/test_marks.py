"""Marks are judged by ratios within a round, and not at all where something stands in the way."""

import math

from scripts.bench.peers.marks import MARKS, Mark, judge
from scripts.bench.peers.page import KEEPING, LATENCY, THROUGHPUT
from scripts.bench.peers.reading import Found
from scripts.bench.peers.rounds import Round, Visit

FASTER = Mark("faster", "saturated", 4, "Other")
CHEAPER = Mark("cheaper", "cpu", 0.5, "Other", at_least=False)
ALONE = Mark("alone", "saturated", 1000)


def visit(name: str, *, load: float = 0.5, **figures: float) -> Visit:
    made = Visit(name, "")
    made.found["one"] = Found(figures, load)
    return made


def a_round(*visits: Visit) -> Round:
    return {one.name: one for one in visits}


def words(rounds: list[Round], mark: Mark) -> str:
    return judge(rounds, [mark])[0].words


def test_a_ratio_is_taken_in_each_round_and_then_the_median() -> None:
    rounds = [
        a_round(visit("inboxd", saturated=ours), visit("Other system", saturated=theirs))
        for ours, theirs in ((400.0, 100.0), (900.0, 100.0), (100.0, 1000.0))
    ]
    verdict = judge(rounds, [FASTER])[0]
    assert verdict.each == (4.0, 9.0, 0.1)
    assert (verdict.value, verdict.words) == (4.0, "met")


def test_a_bound_from_above_is_met_below_it() -> None:
    assert words([a_round(visit("inboxd", cpu=1.0), visit("Other", cpu=2.0))], CHEAPER) == "met"
    assert words([a_round(visit("inboxd", cpu=1.1), visit("Other", cpu=2.0))], CHEAPER) == "missed"


def test_a_mark_beside_nobody_is_a_bound_of_the_figure_itself() -> None:
    assert words([a_round(visit("inboxd", saturated=999.0))], ALONE) == "missed"
    assert words([a_round(visit("inboxd", saturated=1000.0))], ALONE) == "met"


def test_nothing_is_said_where_the_load_was_the_limit() -> None:
    slow = visit("Other", load=0.95, saturated=10.0)
    assert (
        words([a_round(visit("inboxd", saturated=400.0), slow)], FASTER) == "refused: the load of Other was the limit"
    )


def test_this_service_is_at_least_as_fast_as_a_load_that_was_its_limit() -> None:
    others = visit("Other", saturated=100.0)
    assert words([a_round(visit("inboxd", load=0.95, saturated=400.0), others)], FASTER) == "met"
    held = [a_round(visit("inboxd", load=0.95, saturated=399.0), others)]
    assert words(held, FASTER) == "refused: the load of inboxd was the limit"


def test_nothing_is_said_about_a_system_that_was_not_measured() -> None:
    ours = visit("inboxd", saturated=400.0)
    assert words([a_round(ours)], FASTER) == "Other was not measured"
    missing = Visit("Other", "", missing="no program")
    assert words([a_round(ours, missing)], FASTER) == "Other was not measured"
    assert words([a_round(ours, visit("Other", saturated=math.nan))], FASTER) == "not measured"


def test_of_two_systems_of_one_beginning_the_one_that_was_measured_counts() -> None:
    rounds = [
        a_round(visit("inboxd", saturated=400.0), Visit("Other A", "", missing="x"), visit("Other B", saturated=1.0))
    ]
    verdict = judge(rounds, [FASTER])[0]
    assert (verdict.words, verdict.beside) == ("met", "Other B")


def test_the_row_with_the_own_copy_is_not_taken_for_the_one_without() -> None:
    rounds = [a_round(visit("inboxd, own copy on", saturated=1.0), visit("inboxd", saturated=5000.0))]
    assert words(rounds, ALONE) == "met"


def test_every_figure_that_a_mark_names_is_one_of_the_tables() -> None:
    assert {mark.figure for mark in MARKS} <= {*KEEPING, *LATENCY, *THROUGHPUT}
