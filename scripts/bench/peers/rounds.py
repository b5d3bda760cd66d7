"""Every system once, with every measure, then again: what the machine does meanwhile befalls all of them."""

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.peers import idle, kills, offline, replay, saturated, steady
from scripts.bench.peers.peer import Peer
from scripts.bench.peers.reading import Found, Stage, none, tally
from scripts.bench.peers.sizes import RATE, Sizes

BRIEF = "saturated"
"""The one measure of a row that is not taken in full."""

Makers = Sequence[Callable[[], Peer]]
Say = Callable[[str], None]


@dataclass
class Visit:
    """One system in one round."""

    name: str
    confirms: str
    missing: str = ""
    failed: str = ""  # to start
    in_full: bool = True  # else `BRIEF` alone was to be taken
    versions: Mapping[str, str] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)  # by measure
    failures: dict[str, str] = field(default_factory=dict)  # by measure: it could not be taken

    def figure(self, name: str) -> float:
        """Nan where it was not measured, or the system has none."""
        return next((found.figures[name] for found in self.found.values() if name in found.figures), float("nan"))

    def refused(self, name: str) -> bool:
        return any(found.refused for found in self.found.values() if name in found.figures)


Round = dict[str, Visit]


@dataclass(frozen=True)
class Plan:
    """How a run is made."""

    sizes: Sizes
    loads: int = 2
    seed: int = 1
    data_root: Path | None = None


def one_round(makers: Makers, plan: Plan, number: int, say: Say) -> Round:
    """Each round begins with another system."""
    first = number % len(makers) if makers else 0
    visits = [visit(make(), plan, number, say) for make in (*makers[first:], *makers[:first])]
    return {one.name: one for one in visits}


def visit(peer: Peer, plan: Plan, number: int, say: Say) -> Visit:
    """Starts it, measures it, stops it. What goes wrong is written down: the others are measured all the same."""
    done = Visit(peer.name, peer.confirms, missing=peer.missing(), in_full=peer.in_full)
    if done.missing:
        say(f"{peer.name}: {done.missing}")
        return done
    folder = Path(tempfile.mkdtemp(prefix="bench-peer-", dir=plan.data_root))
    try:
        say(f"{peer.name}: starts")
        peer.start(folder)
        done.versions = peer.versions
        take_all(Stage(peer, plan.sizes, plan.loads, plan.seed, f"b{number}"), done, say)
    except Exception as fault:  # noqa: BLE001 - whatever it is, it belongs into the report
        done.failed = words(fault)
        say(f"{peer.name}: failed: {done.failed}")
    finally:
        stop(peer, done)
        shutil.rmtree(folder, ignore_errors=True)
    return done


def stop(peer: Peer, done: Visit) -> None:
    try:
        peer.stop()
    except Exception as fault:  # noqa: BLE001 - as above
        done.failures["stop"] = words(fault)


def take_all(stage: Stage, done: Visit, say: Say) -> None:
    """`idle` first: memory is then still untouched by other loads; `kills` last."""
    for name, take in MEASURES.items():
        if not done.in_full and name != BRIEF:
            continue
        try:
            done.found[name] = take(stage, done)
        except Exception as fault:  # noqa: BLE001 - as above
            done.failures[name] = words(fault)
            say(f"{done.name}, {name}: failed: {done.failures[name]}")
        else:
            say(f"{done.name}, {name}: {brief(done.found[name])}")


def at_half(stage: Stage, done: Visit) -> Found:
    """At half of what it carried in this round."""
    rate = done.figure("saturated") / 2
    return steady.at_rate(stage, "half", rate) if rate > 0 else none("half_p50", "half_p99", "half_p999")


def replays(stage: Stage, done: Visit) -> Found:
    """Of every size. One busy load process refuses them all."""
    each = [replay.measure(stage, size) for size in stage.sizes.backlogs]
    return Found(
        {name: value for found in each for name, value in found.figures.items()},
        max((found.load for found in each if not math.isnan(found.load)), default=math.nan),
        faults=dict(tally(found.faults for found in each)),  # a Counter would not be copied as what it is
    )


MEASURES: Mapping[str, Callable[[Stage, Visit], Found]] = {
    "idle": lambda stage, _: idle.measure(stage),
    "saturated": lambda stage, _: saturated.measure(stage),
    "at 500/s": lambda stage, _: steady.at_rate(stage, "at500", RATE),
    "at half": at_half,
    "offline": lambda stage, _: offline.measure(stage),
    "replay": replays,
    "kills": lambda stage, _: kills.measure(stage),
}


def brief(found: Found) -> str:
    """One line of progress."""
    known = [f"{name} {value:,.4g}" for name, value in found.figures.items() if not math.isnan(value)]
    faults = [f"{name} {count}" for name, count in found.faults.items()]
    return ", ".join((*known, *faults, *found.remarks)) or "none"


def words(fault: BaseException) -> str:
    """The last line of what a fault says: the one that names it, of a traceback too."""
    lines = [line for line in str(fault).splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[-1].strip() if lines else ''}".rstrip(": ")
