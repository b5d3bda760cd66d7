"""The page: every figure with its spread, what is missing by name, and the rest of the page as it was."""

import math
from pathlib import Path

import orjson

from scripts.bench.machine import Machine
from scripts.bench.peers import page
from scripts.bench.peers.page import Conditions
from scripts.bench.peers.reading import Found
from scripts.bench.peers.rounds import Round, Visit
from scripts.bench.peers.sizes import FULL
from scripts.bench.redis_info import CallStat
from tests.house.tree import ROOT

MACHINE = Machine(
    *("2026-11-23T10:00:00+00:00", "inboxd 0.1.0, commit abc", "CPython 3.11", "uvicorn 0", "Linux x86_64"),
    cores=2,
    load_before=0.1,
    data_on="ext4",
)
CONDITIONS = Conditions(MACHINE, FULL, 2, quick=False)
NAMES = ("inboxd", "Other", "Gone")


def a_round(ours: float, theirs: float, load: float = 0.5, **faults: int) -> Round:
    one, other = Visit("inboxd", "fsynced"), Visit("Other", "")
    one.versions = {"inboxd": "0.1.0"}
    one.found = {"saturated": Found({"saturated": ours}, 0.5), "offline": Found({"offline": 9.0})}
    other.found = {"saturated": Found({"saturated": theirs}, load, faults), "offline": Found({"offline": math.nan})}
    other.failures = {"replay": "TimeoutError: too slow"}
    return {"inboxd": one, "Other": other, "Gone": Visit("Gone", "", missing="no program: get it")}


def row(text: str, beginning: str, place: int = 0) -> str:
    return [line for line in text.splitlines() if line.startswith(f"| {beginning} |")][place]


def test_a_figure_is_the_median_with_its_spread() -> None:
    text = page.text(CONDITIONS, [a_round(400, 100), a_round(200, 100), a_round(300, 100)], NAMES)
    assert "| inboxd | 300 (200–400) |" in text  # noqa: RUF001
    assert "| Other | 100 |" in text
    assert "| Other | 3.00× | none |" in text  # noqa: RUF001


def test_a_system_that_has_nothing_of_the_kind_says_none() -> None:
    text = page.text(CONDITIONS, [a_round(400, 100)], NAMES)
    assert "| Other | none |" in text


def test_a_missing_system_is_named_with_its_reason_and_has_no_row_of_figures() -> None:
    text = page.text(CONDITIONS, [a_round(400, 100)], NAMES)
    assert row(text, "Gone") == "| Gone | **not measured**: no program: get it | none: sent |"
    assert text.count("| Gone |") == 1
    assert "- round 1, Gone: no program: get it" in text


def test_a_figure_whose_load_was_the_limit_is_marked() -> None:
    text = page.text(CONDITIONS, [a_round(400, 100, load=0.97)], NAMES)
    assert "| Other | 100‡ |" in text
    assert "| Other | 4.00×‡ |" in text  # noqa: RUF001
    assert "- round 1, Other: saturated: the load was the limit, 97% of a core" in text


def test_a_further_row_stands_beside_everybody_and_in_no_table_of_what_it_was_not_measured_in() -> None:
    one = a_round(400, 100)
    one["inboxd, x on"] = Visit("inboxd, x on", "fsynced", in_full=False)
    one["inboxd, x on"].found = {"saturated": Found({"saturated": 200.0, "cpu": 5.0}, 0.5)}
    text = page.text(CONDITIONS, [one], ("inboxd", "inboxd, x on", "Other", "Gone"))
    assert "| inboxd, x on | 200 |" in text.partition("### Latency")[0]
    further = text.partition("### The further rows")[2].partition("###")[0]
    assert row(further, "inboxd") == "| inboxd | 0.50× | none |"  # noqa: RUF001
    assert row(further, "Other") == "| Other | 2.00× | none |"  # noqa: RUF001
    keeping = text.partition("### Keeping")[2].partition("### The further rows")[0]
    assert "x on" not in keeping


def test_what_went_wrong_is_said() -> None:
    text = page.text(CONDITIONS, [a_round(400, 100, undelivered=3, repeated=2)], NAMES)
    assert "- round 1, Other: saturated: undelivered 3, repeated 2" in text
    assert "- round 1, Other: replay: failed: TimeoutError: too slow" in text


def test_the_rest_of_a_page_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text(f"# Title\n\nBefore.\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\nAfter.\n")
    page.write(path, "new")
    assert path.read_text() == f"# Title\n\nBefore.\n\n{page.BEGIN}\n\nnew\n\n{page.END}\n\nAfter.\n"
    page.write(path, "newer")
    assert path.read_text() == f"# Title\n\nBefore.\n\n{page.BEGIN}\n\nnewer\n\n{page.END}\n\nAfter.\n"


def test_a_page_that_is_not_there_is_made(tmp_path: Path) -> None:
    page.write(tmp_path / "benchmarks.md", "new")
    assert page.BEGIN in (tmp_path / "benchmarks.md").read_text()


def test_all_figures_are_written_unrounded_and_what_is_unknown_as_null(tmp_path: Path) -> None:
    page.write_json(tmp_path / "all.json", CONDITIONS, [a_round(1 / 3, 100)])
    found = orjson.loads((tmp_path / "all.json").read_bytes())
    assert found["rounds"][0]["inboxd"]["found"]["saturated"]["figures"]["saturated"] == 1 / 3
    assert found["rounds"][0]["Other"]["found"]["offline"]["figures"]["offline"] is None


def test_a_missed_mark_is_followed_by_what_a_message_costs_and_a_met_one_is_not() -> None:
    one = a_round(400, 100)
    one["FastAPI"] = Visit("FastAPI", "")
    one["FastAPI"].found = {"saturated": Found({"saturated": 399.0}, 0.5)}
    assert "The floor" in page.text(CONDITIONS, [one], ("inboxd", "FastAPI"))
    one["inboxd"].found = {
        "saturated": Found(
            {"saturated": 400.0, "cpu": 6.0, "server_cpu": 2.0, "load_cpu": 4.0},
            calls={"evalsha": CallStat(5, 500.0), "xadd": CallStat(100, 150.0)},
            messages=100,
        )
    }
    text = page.text(CONDITIONS, [one], ("inboxd", "FastAPI"))
    assert "| saturated end to end, beside FastAPI | ≥ 4× | 1.00× | missed |" in text  # noqa: RUF001
    floor = text.partition("**inboxd** misses: saturated end to end beside FastAPI")[2].partition("\n\n")[0]
    assert "costs 60.0 µs of all its processes, of it 20.0 µs Redis, and 40.0 µs of the load" in floor
    assert "2 cores that do nothing else carry 20,000 messages/s" in floor
    assert "0.05 `evalsha` of 100.0 µs, 1 `xadd` of 1.50 µs." in floor
    one["FastAPI"].found = {"saturated": Found({"saturated": 1.0}, 0.5)}
    assert "The floor" not in page.text(CONDITIONS, [one], ("inboxd", "FastAPI"))


def test_the_page_that_a_floor_refers_to_has_that_part() -> None:
    assert "\n## What a stage costs\n" in (ROOT / "docs/scaling.md").read_text()
