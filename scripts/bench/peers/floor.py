"""Where a mark is missed: what a message costs, so what these cores can carry, and what Redis was asked for it."""

from collections.abc import Iterator, Sequence

from scripts.bench.measure import MICRO
from scripts.bench.peers.marks import Verdict
from scripts.bench.peers.reading import PER
from scripts.bench.peers.rounds import Round, Visit
from scripts.bench.redis_info import NONE, CallStats
from scripts.bench.report import number
from scripts.bench.stats import ratio, spread

SHOWN = 6  # commands, the dearest first
MODEL = "[docs/scaling.md](scaling.md#what-a-stage-costs)"


def text(verdicts: Sequence[Verdict], rounds: Sequence[Round], cores: int) -> str:
    """A paragraph for each row of ours that missed a mark; "" where none did."""
    missed: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.words == "missed":
            beside = f" beside {verdict.beside}" if verdict.mark.beside else ""
            missed.setdefault(verdict.mark.of, []).append(f"{verdict.mark.words}{beside}")
    rows = [_row(of, words, [one[of] for one in rounds if of in one], cores) for of, words in missed.items()]
    return "\n\n".join((*rows, f"What each stage costs, and what it would take: {MODEL}.")) if rows else ""


def _row(of: str, missed: Sequence[str], visits: Sequence[Visit], cores: int) -> str:
    whole, server, load, carried = (_median(visits, name) for name in ("cpu", "server_cpu", "load_cpu", "saturated"))
    each = [value * MICRO / PER for value in (whole, server, load)]
    most = ratio(cores * MICRO, each[0] + each[2])
    return (
        f"**{of}** misses: {'; '.join(missed)}. The floor, at saturation: a message costs {number(each[0])} µs of all "
        f"its processes, of it {number(each[1])} µs Redis, and {number(each[2])} µs of the load. {cores} cores that do "
        f"nothing else carry {number(most)} messages/s of that; it carried {number(carried)}. "
        f"Redis was asked, for a message (commands inside scripts too): {asked(visits)}."
    )


def _median(visits: Sequence[Visit], name: str) -> float:
    return spread([visit.figure(name) for visit in visits]).median


def asked(visits: Sequence[Visit]) -> str:
    found = [visit.found["saturated"] for visit in visits if "saturated" in visit.found]
    return ", ".join(dearest(found[-1].calls, found[-1].messages)) if found else "unknown"


def dearest(calls: CallStats, messages: int) -> Iterator[str]:
    """The commands that took most time, as text."""
    for name in sorted(calls, key=lambda name: -calls[name].usec)[:SHOWN]:
        stat = calls.get(name, NONE)
        each = ratio(stat.usec, stat.calls)
        yield f"{ratio(stat.calls, messages):.3g} `{name}` of {number(each)} µs"
