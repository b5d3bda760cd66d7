"""Several runs as text tables and as JSON."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from scripts.bench.machine import Machine
from scripts.bench.measure import MICRO, Cost, Figure, Reference, Result, Sizes
from scripts.bench.redis_info import NONE, ServerFacts
from scripts.bench.stats import ratio, spread
from scripts.bench.ws_client import ACK_DELAY, Manners

PER = 100_000  # messages
SMALL, MEDIUM = 10, 1000  # below: two decimals, one decimal, none
CALLS_SHOWN = 10  # commands of one subject, the dearest first
NOTHING = "-"

# On a full machine the server is preempted in the middle of calls: their times then exceed its CPU.
CALLS_TITLE = "What the server was asked to do (wall time; a script's includes the calls it makes)"

FIGURES_TITLE = (
    "Figures (ratio: to the yardstick of the same server in the same run; "
    "beside: to the subject of the same load with two workers, the embedded server, own copy off or on)"
)

Cell = str
Row = Sequence[Cell]


@dataclass
class Run:
    """What one run gave: a yardstick for each setup, a result for each subject, their setups and neighbours."""

    references: dict[str, Reference]
    results: dict[str, Result]
    setups: dict[str, str]
    besides: dict[str, str] = field(default_factory=dict)  # the subject that one is set beside

    def beside(self, subject: str, figure: Figure) -> float:
        """The figure's ratio to that of the same name of the subject beside; nan where there is none."""
        other = self.results.get(self.besides.get(subject, ""))
        values = [one.value for one in other.figures if one.name == figure.name] if other else []
        return ratio(figure.value, values[0]) if values else math.nan

    def reference_of(self, subject: str) -> Reference | None:
        return self.references.get(self.setups[subject])


@dataclass(frozen=True)
class Conditions:
    machine: Machine
    server: ServerFacts
    sizes: Sizes
    manners: Manners
    seed: int
    loads: int
    quick: bool


def number(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    places = 2 if abs(value) < SMALL else 1 if abs(value) < MEDIUM else 0
    return f"{value:,.{places}f}"


def table(head: Row, rows: Iterable[Row], left: int = 2) -> str:
    """Aligned plain text: the first `left` columns to the left, the rest to the right."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        padded = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def text(conditions: Conditions, runs: Sequence[Run]) -> str:
    """The whole report."""
    parts = [
        header(conditions, len(runs)),
        titled("Yardstick: plain pipelined XADDs from raw sockets, 50 connections x 16", yardsticks(runs)),
        titled(FIGURES_TITLE, figures(runs)),
        titled("CPU seconds per 100,000 messages", costs(runs)),
        titled(CALLS_TITLE, calls(runs)),
        titled("Remarks", "\n".join(remarks(runs)) or "none"),
    ]
    return "\n\n".join(parts)


def titled(title: str, content: str) -> str:
    return f"{title}\n\n{content}"


def header(conditions: Conditions, runs: int) -> str:
    machine, manners = conditions.machine, conditions.manners
    length = "quick" if conditions.quick else "full"
    return f"""\
{machine.service} · {machine.date} · {runs} {length} run(s), seed {conditions.seed}
{conditions.server.version}, {conditions.server.durability}, data on {machine.data_on}
{machine.python} ({machine.libraries})
{machine.system}, {machine.cores} cores shared with the load; load average before: {machine.load_before:.2f}
load: {conditions.loads} process(es), 200-byte bodies, one send a frame; \
devices ack every {manners.ack_every} entries or {ACK_DELAY * 1000:.0f} ms"""


def yardsticks(runs: Sequence[Run]) -> str:
    setups = dict.fromkeys(setup for run in runs for setup in run.references)
    rows = []
    for setup in setups:
        known = [run.references[setup] for run in runs if setup in run.references]
        rows.append(summary(setup, "XADDs/s", [one.rate for one in known]))
        rows.append(summary("", "server µs", [one.cpu for one in known]))
        if all(one.real is not None for one in known):
            rows.append(summary("  redis-benchmark", "XADDs/s", [one.real or math.nan for one in known]))
    return table(("server", "unit", "median", "min", "max"), rows)


def summary(*row: Cell | Sequence[float]) -> list[Cell]:
    """The words as they are; of the numbers median, least and greatest."""
    cells: list[Cell] = []
    for item in row:
        if isinstance(item, str):
            cells.append(item)
        else:
            over = spread(item)
            cells += [number(over.median), number(over.low), number(over.high)]
    return cells


def figures(runs: Sequence[Run]) -> str:
    head = ("subject", "figure", "unit", "median", "min", "max", "ratio", "beside", "mark", "per run")
    return table(head, figure_rows(runs), left=3)


def figure_rows(runs: Sequence[Run]) -> Iterator[list[Cell]]:
    """A row for each figure; its subject stands in the first of them alone."""
    for subject, results in by_subject(runs).items():
        for place, figure in enumerate(results[0].figures):
            values = [result.figures[place].value for result in results]
            ratios = [set_against(figure, value, run, subject) for value, run in zip(values, runs, strict=True)]
            besides = [run.beside(subject, run.results[subject].figures[place]) for run in runs]
            refused = any(result.refused for result in results)
            each = " ".join(map(number, values)) if len(values) > 1 else ""
            yield [
                *summary(subject if place == 0 else "", figure.name, figure.unit, values),
                ratio_text(spread(ratios).median),
                ratio_text(spread(besides).median),
                mark_text(figure, spread(values).median, refused=refused),
                each,
            ]


def set_against(figure: Figure, value: float, run: Run, subject: str) -> float:
    """The figure's ratio to the yardstick of its own server and run; nan where it has none."""
    reference = run.reference_of(subject)
    if figure.base is None or reference is None:
        return math.nan
    return ratio(value, reference.rate if figure.base == "rate" else reference.cpu)


def ratio_text(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.3f}"


def mark_text(figure: Figure, median: float, *, refused: bool = False) -> str:
    """`refused`: the load was the limit, so that missing the mark would say nothing."""
    if figure.mark is None or math.isnan(median):
        return ""
    sign = "≥" if figure.mark.at_least else "≤"
    met = figure.mark.met(median)
    return f"{sign} {figure.mark.bound:,g} {'met' if met else 'refused' if refused else 'missed'}"


COSTS = ("subject", "workers", "Redis", "parent", "service in all", "load", "load of a core")


def costs(runs: Sequence[Run]) -> str:
    return table(COSTS, cost_rows(runs), left=1)


def cost_rows(runs: Sequence[Run]) -> Iterator[list[Cell]]:
    """CPU seconds per 100,000 messages, by whom."""
    parts: tuple[Callable[[Cost], float], ...] = (
        lambda cost: cost.workers,
        lambda cost: cost.server,
        lambda cost: cost.parent,
        lambda cost: cost.service,
        lambda cost: cost.load,
    )
    for subject, known in costs_by_subject(runs).items():
        per = [spread([ratio(part(cost), cost.messages) * PER for cost in known]).median for part in parts]
        cores = spread([ratio(cost.load, cost.wall) for cost in known]).median
        yield [subject, *map(number, per), f"{cores:.0%}"]


def calls(runs: Sequence[Run]) -> str:
    rows: list[Row] = []
    for subject, known in costs_by_subject(runs).items():
        names = dict.fromkeys(name for cost in known for name in cost.calls)
        dearest = sorted(names, key=lambda name: -sum(cost.calls.get(name, NONE).usec for cost in known))
        for place, name in enumerate(dearest[:CALLS_SHOWN]):
            each = [cost.calls.get(name, NONE) for cost in known]
            per = [ratio(stat.calls, cost.messages) for stat, cost in zip(each, known, strict=True)]
            usec = [ratio(stat.usec, stat.calls) for stat in each]
            share = [ratio(stat.usec, cost.messages) for stat, cost in zip(each, known, strict=True)]
            numbers = (number(spread(values).median) for values in (per, usec, share))
            rows.append((subject if place == 0 else "", name, *numbers))
        whole = [ratio(cost.server, cost.messages) * MICRO for cost in known]
        rows.append(("", "all CPU of the server", "", "", number(spread(whole).median)))
    return table(("subject", "command", "calls a message", "µs a call", "µs a message"), rows)


def remarks(runs: Sequence[Run]) -> Iterator[str]:
    for position, run in enumerate(runs, 1):
        for subject, result in run.results.items():
            for remark in result.remarks:
                yield f"run {position}, {subject}: {remark}"


def by_subject(runs: Sequence[Run]) -> Mapping[str, list[Result]]:
    return {subject: [run.results[subject] for run in runs] for subject in runs[0].results}


def costs_by_subject(runs: Sequence[Run]) -> Mapping[str, list[Cost]]:
    """Of a subject that has several sizes, those of each size."""
    known: dict[str, list[Cost]] = {}
    for subject, results in by_subject(runs).items():
        for result in results:
            if result.cost is not None:
                known.setdefault(subject, []).append(result.cost)
            for size, cost in result.parts.items():
                known.setdefault(f"{subject}, {size}", []).append(cost)
    return known


def write_json(path: Path, conditions: Conditions, runs: Sequence[Run]) -> None:
    """All that was measured, unrounded; numbers that are not known are null."""
    content = {
        "conditions": dataclasses.asdict(conditions),
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
