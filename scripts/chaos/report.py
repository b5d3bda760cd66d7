"""Tables for the terminal, and the page `docs/chaos-report.md`."""

import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from scripts.chaos.runner import Result
from scripts.lab.redis_server import server_binary
from service.config import VERSION

MOST_FAULTS = 12
"""Lines of what is wrong that are printed for one scenario; the rest is in the kept history."""


def counted(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: str(item[0]))) or "0"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def rows(result: Result) -> list[tuple[str, str]]:
    """What is told of one scenario: name, value."""
    found = result.figures
    told = [
        ("messages sent", f"{found.tried} (and {found.repeated} repeats)"),
        ("accepted", f"{found.accepted} ({found.duplicates} of them told as duplicates; {counted(found.durability)})"),
        ("refused", f"{counted(found.refused)}; given up: {found.skipped}"),
        ("delivered", f"{found.deliveries}, and {found.repeats} repeats, on {found.connections} connections"),
        ("gaps told", counted(found.gaps)),
        ("lost", str(result.lost)),
        ("longest delay", seconds(found.slowest)),
        ("recovered after", seconds(found.recovered)),
    ]
    if found.reconnected is not None:
        told.append(("reconnected after", f"{seconds(found.reconnected)} more than `closing` asked for, at most"))
    promise = result.scenario.promise
    if promise.may_rewind and not promise.accepted_stays:
        told.append(("lost with the server", f"{result.lost_with_server}: may happen at this durability"))
    return [*told, *(("fault" if happened else "NO FAULT", text) for text, happened in result.proofs)]


def table(result: Result) -> str:
    """One scenario, for the terminal."""
    verdict = "skipped" if result.skipped else "passed" if result.passed else "FAILED"
    lines = [f"{result.scenario.name}: {verdict}", f"  {result.scenario.about}"]
    if result.skipped:
        return "\n".join([*lines, f"  {result.skipped}"])
    lines += [f"  {name:<22} {value}" for name, value in rows(result)]
    lines += [f"  ! {fault}" for fault in result.faults[:MOST_FAULTS]]
    if len(result.faults) > MOST_FAULTS:
        lines.append(f"  ! and {len(result.faults) - MOST_FAULTS} more")
    if result.history is not None:
        lines.append(f"  history: {result.history}")
    return "\n".join(lines)


def versions() -> list[tuple[str, str]]:
    """What took part: name, version."""
    server = subprocess.run([server_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    words = [word for word in server.split() if word.startswith("v=") or "alkey" in word or "edis" in word]
    return [
        ("inboxd", VERSION),
        ("server", " ".join(words)),
        ("Python", sys.version.split()[0]),
        ("kernel", f"{platform.system()} {platform.release()}"),
    ]


def page(results: Sequence[Result], seed: int, length: float) -> str:
    """The whole report, as Markdown."""
    passed = sum(result.passed and not result.skipped for result in results)
    return "\n".join(
        [
            "# Chaos report",
            "",
            "Written by `make chaos` (`scripts/chaos/`): real servers and workers, busy clients, one fault after the",
            "other; then the recorded history of every client is judged. *Lost* must be 0, and a scenario whose fault",
            "did not happen counts as failed. Delays are those of phones, which want to be online all the time.",
            "",
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, seed {seed}, about {length:.0f} s for each scenario:",
            f"{passed} of {len(results)} passed, {sum(bool(result.skipped) for result in results)} skipped.",
            "",
            "| what | version |",
            "|---|---|",
            *(f"| {name} | {version} |" for name, version in versions()),
            "",
            *summary(results),
            "",
            *(line for result in results for line in section(result)),
        ]
    )


def summary(results: Iterable[Result]) -> list[str]:
    """The table over all scenarios, lines of Markdown."""
    lines = [
        "| scenario | accepted | delivered | repeats | gaps | lost | longest delay | recovered after | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        found, name = result.figures, result.scenario.name
        if result.skipped:
            lines.append(f"| `{name}` | | | | | | | | skipped |")
            continue
        verdict = "passed" if result.passed else "**failed**"
        numbers = f"{found.accepted} | {found.deliveries} | {found.repeats} | {found.gaps.total()} | {result.lost}"
        times = f"{seconds(found.slowest)} | {seconds(found.recovered)}"
        lines.append(f"| `{name}` | {numbers} | {times} | {verdict} |")
    return lines


def section(result: Result) -> list[str]:
    """One scenario, lines of Markdown."""
    about = result.scenario.about
    lines = [f"## `{result.scenario.name}`", "", f"{about[:1].upper()}{about[1:]}.", ""]
    if result.skipped:
        return [*lines, f"Skipped: {result.skipped}", ""]
    lines += ["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows(result)), ""]
    if result.faults:
        lines += [*(f"- {fault}" for fault in result.faults[:MOST_FAULTS]), ""]
    return lines
