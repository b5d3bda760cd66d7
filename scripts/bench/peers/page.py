"""The tables: printed, and written into a page between two marks, so that the rest of the page stays."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from scripts.bench.machine import Machine
from scripts.bench.peers import floor, marks
from scripts.bench.peers.rounds import Round, Visit
from scripts.bench.peers.sizes import Sizes
from scripts.bench.report import number
from scripts.bench.stats import ratio, spread

BEGIN, END = "<!-- peers: written by `python -m scripts.bench.peers` -->", "<!-- /peers -->"
NONE, REFUSED = "none", "‡"
TIMES, DASH = "×", "–"  # noqa: RUF001 - as they are written

THROUGHPUT = {
    "saturated": "messages/s",
    "cpu": "CPU-s per 100k",
    "server_cpu": "of it Redis",
    "load_cpu": "the load's CPU-s per 100k",
    "load_share": "% of a core, busiest load process",
}
LATENCY = {
    f"{rate}_{name}": f"{words}: {label}"
    for rate, words in (("at500", "500/s"), ("half", "half"))
    for name, label in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
}
KEEPING = {
    "offline": "stored/s",
    "replay_10000": "replay of 10k, messages/s",
    "replay_100000": "replay of 100k",
    "idle": "KiB per idle connection",
    "lost": "accepted, lost",
}
RATIOS = {
    "saturated": "messages/s",
    "cpu": "CPU",
    "at500_p99": "p99 at 500/s",
    "half_p99": "p99 at half",
    "offline": "stored/s",
    "replay_10000": "replay of 10k",
    "idle": "KiB idle",
}

FURTHER = ("saturated", "cpu")
ALONE = "Marks of this service alone (HTTP, one idle connection, growth) are judged below, with its own figures."


@dataclass(frozen=True)
class Conditions:
    machine: Machine
    sizes: Sizes
    loads: int
    quick: bool


def text(conditions: Conditions, rounds: Sequence[Round], order: Sequence[str]) -> str:
    """All of it, as Markdown. `order`: of the systems, the first is set beside the others."""
    there = [name for name in order if any(one[name].found for one in rounds)]
    full = [name for name in there if any(one[name].in_full for one in rounds)]
    parts = (
        heading(conditions, len(rounds)),
        f"### End to end, {conditions.sizes.in_flight} in flight",
        figures(rounds, there, THROUGHPUT),
        "### Latency, ms (half: at half of its own saturation)",
        figures(rounds, full, LATENCY),
        "### Keeping",
        figures(rounds, full, KEEPING),
        f"### {order[0] if order else ''} to each of them",
        ratios(rounds, full),
        *further(rounds, [name for name in there if name not in full], full),
        "### Marks",
        *filter(None, (verdicts(rounds), floor.text(marks.judge(rounds), rounds, conditions.machine.cores))),
        ALONE,
        "### What each is",
        systems(rounds, order),
        "### Remarks",
        "\n".join(f"- {line}" for line in remarks(rounds, order)) or "None.",
    )
    return "\n\n".join(parts)


def heading(conditions: Conditions, rounds: int) -> str:
    machine, sizes = conditions.machine, conditions.sizes
    rough = " **Quick: rough figures, no final ones.**" if conditions.quick else ""
    return f"""\
{machine.date[:10]}, {machine.service}, {machine.cores} cores shared with {conditions.loads} load processes, \
{machine.system}, {machine.python}; load average before: {machine.load_before:.2f}; data on {machine.data_on}.{rough}

{rounds} round(s), every system once in each; median (least{DASH}greatest). {sizes.pairs} pairs, 200-byte bodies, \
{sizes.seconds:g} s saturated, {sizes.steady:g} s at each rate, {sizes.idle:,} idle connections, a kill among \
{sizes.killed:,} messages. “{NONE}”: the system has nothing of the kind. {REFUSED}: the load was the limit, the figure \
is refused."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(rounds: Sequence[Round], order: Sequence[str], columns: dict[str, str]) -> str:
    shown = {name: words for name, words in columns.items() if _is_known(rounds, name)}
    rows = ([system, *(cell(rounds, system, name) for name in shown)] for system in order)
    return table(["", *shown.values()], rows)


def _is_known(rounds: Sequence[Round], name: str) -> bool:
    """Whether it was asked for at all."""
    return any(name in found.figures for one in rounds for visit in one.values() for found in visit.found.values())


def cell(rounds: Sequence[Round], system: str, name: str) -> str:
    visits = [one[system] for one in rounds]
    over = spread([visit.figure(name) for visit in visits])
    if math.isnan(over.median):
        asked = any(name in found.figures for visit in visits for found in visit.found.values())
        return NONE if asked else "failed"
    mark = REFUSED if any(visit.refused(name) for visit in visits) else ""
    if over.low == over.high:
        return f"{amount(over.median)}{mark}"
    return f"{amount(over.median)} ({amount(over.low)}{DASH}{amount(over.high)}){mark}"


def amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else number(value)


def ratios(rounds: Sequence[Round], order: Sequence[str]) -> str:
    """Of the first to each of the others, round by round, then the median."""
    if not order:
        return "Nothing was measured."
    shown = {name: words for name, words in RATIOS.items() if _is_known(rounds, name)}
    rows = ([other, *(_ratio(rounds, order[0], other, name) for name in shown)] for other in order[1:])
    return table(["", *shown.values()], rows)


def further(rounds: Sequence[Round], ours: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """The rows that are not measured in full, each set beside every system that is."""
    if not ours or not others:
        return
    yield "### The further rows, beside each of them"
    head = [f"{words}, {name}" for name in ours for words in ("messages/s", "CPU")]
    yield table(
        ["", *head],
        ([other, *(_ratio(rounds, name, other, figure) for name in ours for figure in FURTHER)] for other in others),
    )


def _ratio(rounds: Sequence[Round], ours: str, theirs: str, name: str) -> str:
    each = [ratio(one[ours].figure(name), one[theirs].figure(name)) for one in rounds]
    refused = any(one[system].refused(name) for one in rounds for system in (ours, theirs))
    median = spread(each).median
    return NONE if math.isnan(median) else f"{median:.2f}{TIMES}{REFUSED if refused else ''}"


def verdicts(rounds: Sequence[Round]) -> str:
    rows = []
    for verdict in marks.judge(rounds):
        mark = verdict.mark
        sign, unit = "≥" if mark.at_least else "≤", TIMES if mark.beside else ""
        beside = f", beside {verdict.beside}" if mark.beside else ""
        bound = f"{sign} {mark.bound:,g}{unit}"
        rows.append([f"{mark.words}{beside}", bound, _reached(verdict, unit), verdict.words])
    return table(["mark", "bound", "reached", ""], rows)


def _reached(verdict: marks.Verdict, unit: str) -> str:
    if not verdict.each:
        return NONE
    show: Callable[[float], str] = (lambda value: f"{value:.2f}{TIMES}") if unit else (lambda value: f"{value:,.0f}")
    low, high = min(verdict.each), max(verdict.each)
    return show(verdict.value) if low == high else f"{show(verdict.value)} ({show(low)}{DASH}{show(high)})"


def systems(rounds: Sequence[Round], order: Sequence[str]) -> str:
    rows = []
    for name in order:
        visit = next((one[name] for one in rounds if one[name].versions), rounds[0][name])
        made = ", ".join(f"{part} {version}" for part, version in visit.versions.items())
        missing = visit.missing or (visit.failed and f"failed: {visit.failed}")
        rows.append([name, (missing and f"**not measured**: {missing}") or made, visit.confirms or f"{NONE}: sent"])
    return table(["", "versions", "“accepted” says"], rows)


def remarks(rounds: Sequence[Round], order: Sequence[str]) -> Iterator[str]:
    """What a reader should know of single measurements."""
    for position, one in enumerate(rounds, 1):
        for name in order:
            for line in _remarks(one[name]):
                yield f"round {position}, {name}: {line}"


def _remarks(visit: Visit) -> Iterator[str]:
    if visit.missing or visit.failed:
        yield visit.missing or f"failed: {visit.failed}"
    for measure, found in visit.found.items():
        if found.refused:
            yield f"{measure}: the load was the limit, {found.load:.0%} of a core"
        if found.faults:
            yield f"{measure}: " + ", ".join(f"{fault} {count}" for fault, count in found.faults.items())
        yield from (f"{measure}: {remark}" for remark in found.remarks)
    for measure, words in visit.failures.items():
        yield f"{measure}: failed: {words}"


def write(path: Path, content: str, begin: str = BEGIN, end: str = END) -> None:
    """Between the marks of the page; at its end where there are none."""
    before = path.read_text() if path.exists() else "# Benchmarks\n"
    head, _, rest = before.partition(begin)
    _, _, tail = rest.partition(end)
    rest = f"\n{tail.strip()}\n" if tail.strip() else ""
    path.write_text(f"{head.rstrip()}\n\n{begin}\n\n{content}\n\n{end}\n{rest}")


def write_json(path: Path, conditions: Conditions, rounds: Sequence[Round]) -> None:
    """All that was measured, unrounded; what is not known is null."""
    found = {
        "conditions": dataclasses.asdict(conditions),
        "rounds": [{name: dataclasses.asdict(visit) for name, visit in one.items()} for one in rounds],
    }
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
