"""The service's own figures as Markdown, for the page that also has its peers."""

from collections.abc import Iterable, Sequence

from scripts.bench import report
from scripts.bench.report import COSTS, PER, Conditions, Run

BEGIN, END = "<!-- own: written by `python -m scripts.bench` -->", "<!-- /own -->"
DASH = "–"  # noqa: RUF001 - as it is written
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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
