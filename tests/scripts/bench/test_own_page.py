"""The service's own figures in the page: every figure has a row, and the peers' part stays as it was."""

from pathlib import Path

from scripts.bench import own_page
from scripts.bench.measure import QUICK, Cost, Figure, Mark, Result
from scripts.bench.peers import page
from scripts.bench.redis_info import ServerFacts
from scripts.bench.report import Conditions, Run
from scripts.bench.subjects import SUBJECTS
from scripts.bench.ws_client import Manners
from tests.house.tree import ROOT
from tests.scripts.bench.test_page import MACHINE

CONDITIONS = Conditions(MACHINE, ServerFacts("Valkey 9", "appendfsync always"), QUICK, Manners(), 1, 1, quick=True)


def run_of(rate: float) -> Run:
    figures = (Figure("accepted", "sends/s", rate, None, Mark(40_000, at_least=True)), Figure("p50", "ms", 1.5))
    cost = Cost(100_000, 100_000, 4.0, 2.0, 0.0, 3.0, 1.0, {})
    return Run({}, {"ws": Result(figures, cost, ("all 2 cores were full",))}, {"ws": "2 workers"})


def test_every_figure_has_a_row_with_its_spread_and_its_mark() -> None:
    text = own_page.text(CONDITIONS, [run_of(30_000), run_of(50_000), run_of(45_000)])
    assert "| ws | accepted | 45,000 sends/s (30,000–50,000) |  |  | ≥ 40,000 met |" in text  # noqa: RUF001
    assert "|  | p50 | 1.50 ms |  |  |  |" in text
    assert "| ws | 2.00 | 3.00 | 0.00 | 5.00 | 1.00 | 25% |" in text
    assert "- run 2, ws: all 2 cores were full" in text


def test_marks_stand_together_and_a_missed_one_with_what_a_message_costs() -> None:
    text = own_page.text(CONDITIONS, [run_of(30_000)])
    marks = text.partition("### Marks")[2].partition("### All figures")[0]
    assert "| ws | accepted | 30,000 sends/s | ≥ 40,000 missed |" in marks
    assert "- ws: a message costs 20.0 µs of the workers and 30.0 µs of Redis" in marks
    assert "p50" not in marks
    assert "a message costs" not in own_page.text(CONDITIONS, [run_of(50_000)])


def test_the_page_says_what_each_subject_does() -> None:
    described = (ROOT / "docs/benchmarks.md").read_text().partition(own_page.BEGIN)[0]
    assert [subject.name for subject in SUBJECTS if f"`{subject.name}`" not in described] == []


def test_both_parts_of_the_page_are_written_anew_without_touching_the_other(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    page.write(path, "peers 1")
    page.write(path, "own 1", own_page.BEGIN, own_page.END)
    page.write(path, "peers 2")
    page.write(path, "own 2", own_page.BEGIN, own_page.END)
    text = path.read_text()
    assert [text.count(word) for word in ("peers 1", "peers 2", "own 1", "own 2")] == [0, 1, 0, 1]
    assert text.index("peers 2") < text.index("own 2")
