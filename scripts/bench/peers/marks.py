"""What inboxd is to reach beside whom, and whether it did: ratios of one round, their median over the rounds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scripts.bench.peers.rounds import Round, Visit
from scripts.bench.stats import ratio

US, WITH_COPY, WITH_ALL = "inboxd", "inboxd, own copy on", "inboxd, own copy and receipts on"
PUBSUB, SOCKETIO, CENTRIFUGO, EJABBERD, MOSQUITTO = "FastAPI", "Socket.IO", "Centrifu", "ejabberd", "mosquitto"

REFUSED = "refused: the load of"


@dataclass(frozen=True)
class Mark:
    """A bound for the figure itself, or for its ratio to another system's (by the beginning of its name)."""

    words: str
    figure: str
    bound: float
    beside: str = ""
    at_least: bool = True
    of: str = US


@dataclass(frozen=True)
class Verdict:
    """`value`: the median over the rounds, nan where there is none; `each`: what it is the median of."""

    mark: Mark
    value: float
    each: tuple[float, ...]
    beside: str = ""  # the whole name
    why: str = ""  # it is neither met nor missed

    @property
    def met(self) -> bool:
        return self.value >= self.mark.bound if self.mark.at_least else self.value <= self.mark.bound

    @property
    def words(self) -> str:
        return self.why or ("met" if self.met else "missed")


def at_most(words: str, figure: str, bound: float, beside: str) -> Mark:
    return Mark(words, figure, bound, beside, at_least=False)


THROUGHPUT = "saturated end to end"
COST = "CPU of a message, everything counted"
LATENCY = "p99 at 500/s"

MARKS = (
    Mark(THROUGHPUT, "saturated", 4, PUBSUB),
    Mark(THROUGHPUT, "saturated", 2.5, SOCKETIO),
    Mark(THROUGHPUT, "saturated", 1.7, EJABBERD),
    Mark(THROUGHPUT, "saturated", 0.5, MOSQUITTO),
    Mark("… with the sender's own copy", "saturated", 2.5, PUBSUB, of=WITH_COPY),
    at_most(COST, "cpu", 0.25, PUBSUB),
    at_most(COST, "cpu", 0.4, SOCKETIO),
    at_most(COST, "cpu", 0.6, EJABBERD),
    *(at_most(LATENCY, "at500_p99", 1, peer) for peer in (PUBSUB, SOCKETIO, CENTRIFUGO, EJABBERD)),
    Mark("replay of 10,000, messages/s", "replay_10000", 150_000),
    Mark("replay of 10,000", "replay_10000", 1, MOSQUITTO),
    Mark("offline store, messages/s", "offline", 40_000),
    Mark("offline store", "offline", 3, SOCKETIO),
)


def judge(rounds: Sequence[Round], marks: Sequence[Mark] = MARKS) -> list[Verdict]:
    return [_judge(rounds, mark) for mark in marks]


def _judge(rounds: Sequence[Round], mark: Mark) -> Verdict:
    each, why, beside = [], "", mark.beside
    for one in rounds:
        ours, theirs = named(one, mark.of), named(one, mark.beside)
        beside = theirs.name if theirs is not None else beside
        why = why or _obstacle(mark, ours, theirs)
        if ours is not None and (theirs is not None or not mark.beside):
            value = ours.figure(mark.figure)
            each.append(ratio(value, theirs.figure(mark.figure)) if theirs is not None else value)
    known = tuple(value for value in each if not math.isnan(value))
    value = statistics.median(known) if known else math.nan
    verdict = Verdict(mark, value, known, beside, why or ("" if known else "not measured"))
    at_least_that = why.startswith(f"{REFUSED} {mark.of} ") and mark.at_least and verdict.met
    return replace(verdict, why="") if at_least_that else verdict


def _obstacle(mark: Mark, ours: Visit | None, theirs: Visit | None) -> str:
    """Why nothing can be said: a load that was the limit makes whoever it loads look slow. (Where that is this
    service, and it is fast enough all the same, it is.)
    """
    for visit in (theirs, ours):
        if visit is not None and visit.refused(mark.figure):
            return f"{REFUSED} {visit.name} was the limit"
    if mark.beside and theirs is None:
        return f"{mark.beside} was not measured"
    if theirs is not None and (theirs.missing or theirs.failed):
        return f"{theirs.name} was not measured"
    return ""


def named(one: Round, beginning: str) -> Visit | None:
    """The system of exactly this name, else one whose name begins so; rather one that was measured."""
    if not beginning:
        return None
    begin_so = [visit for name, visit in sorted(one.items()) if name.startswith(beginning)]
    return one.get(beginning) or next((visit for visit in begin_so if visit.found), next(iter(begin_so), None))
