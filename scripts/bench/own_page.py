"""The service's own figures as Markdown, for the page that also has its peers."""

from collections.abc import Iterable, Iterator, Sequence

from scripts.bench import report
from scripts.bench.measure import MICRO, Cost
from scripts.bench.peers import floor
from scripts.bench.report import COSTS, PER, Conditions, Run
from scripts.bench.stats import ratio, spread

BEGIN, END = "<!-- own: written by `python -m scripts.bench` -->", "<!-- /own -->"
DASH = "–"  # noqa: RUF001 - as it is written
MARKS = ("subject", "figure", "median", "mark")
HEAD = ("subject", "figure", "median", "to the yardstick", "beside", "mark")

ABOUT = """\
Medians of the runs, least and greatest in brackets. *To the yardstick*: plain pipelined XADDs against the same server
in the same run are 1. *Beside*: the same load with two workers on the embedded server is 1; own copy off, where it is
off here, else on. A mark is *refused* where the load was the limit."""


def text(conditions: Conditions, runs: Sequence[Run]) -> str:
    """All figures, then what they cost."""
    parts = (
        report.header(conditions, len(runs)).replace("\n", "  \n"),
        ABOUT,
        "### Marks",
        table(MARKS, marks(runs)),
        *floors(runs),
        "### All figures",
        table(HEAD, map(_figure, report.figure_rows(runs))),
        f"CPU seconds per {PER:,} messages (replay: entries):",
        table(COSTS, report.cost_rows(runs)),
        "Remarks:",
        "\n".join(f"- {remark}" for remark in report.remarks(runs)) or "none",
    )
    return "\n\n".join(parts)


def _figure(row: Sequence[str]) -> tuple[str, ...]:
    subject, name, unit, median, low, high, ratio, beside, mark, _ = row
    spread = f" ({low}{DASH}{high})" if low != high else ""
    return subject, name.strip(), f"{median} {unit}{spread}", ratio.strip("-"), beside.strip("-"), mark


def marks(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    """The figures that have one."""
    subject = ""
    for row in report.figure_rows(runs):
        subject = row[0] or subject
        _, name, value, *_, mark = _figure(row)
        if mark:
            yield subject, name, value, mark


def floors(runs: Sequence[Run]) -> Iterator[str]:
    """For each subject that missed a mark: what a message of it costs, and what Redis was asked for it."""
    for subject in dict.fromkeys(subject for subject, *_, mark in marks(runs) if mark.endswith("missed")):
        for what, costs in report.costs_by_subject(runs).items():
            if what == subject or what.startswith(f"{subject}, "):
                yield f"- {what}: {_floor(costs)}. What a stage costs: {floor.MODEL}."


def _floor(costs: Sequence[Cost]) -> str:
    workers, server = (
        spread([ratio(part, cost.messages) * MICRO for part, cost in zip(parts, costs, strict=True)]).median
        for parts in ([cost.workers for cost in costs], [cost.server for cost in costs])
    )
    asked = ", ".join(floor.dearest(costs[-1].calls, costs[-1].messages)) or "nothing"
    return (
        f"a message costs {report.number(workers)} µs of the workers and {report.number(server)} µs of Redis, "
        f"which was asked, for a message: {asked}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
