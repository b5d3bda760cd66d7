"""One scenario from start to verdict."""

import random
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.checker import lost_with_the_server, violations
from scripts.chaos.crowd import Crowd
from scripts.chaos.figures import Figures, figures
from scripts.chaos.history import History, Kept, Reader, line
from scripts.chaos.stage import Scenario, Stage
from scripts.lab.timing import PATIENCE, POLL

QUIET = 0.2
"""The part of a scenario's seconds before its fault, and again after everybody has recovered."""

MOST_TEXT = 500
"""Characters of what went wrong."""


@dataclass
class Result:
    """`faults`: everything wrong, in words. `skipped`: why it did not run. `history`: where the records were kept."""

    scenario: Scenario
    faults: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)
    proofs: list[tuple[str, bool]] = field(default_factory=list)
    lost: int = 0
    lost_with_server: int = 0
    skipped: str = ""
    history: Path | None = None

    @property
    def passed(self) -> bool:
        return not self.faults


def run(scenario: Scenario, seed: int, seconds: float, folder: Path) -> Result:
    """Plays a scenario in a folder of its own and judges it. Leaves nothing running, whatever happens."""
    result = Result(scenario, skipped=scenario.hindrance())
    if result.skipped:
        return result
    began = time.monotonic()
    history = History(lambda: time.monotonic() - began)
    complete: set[Reader] = set()
    steady: set[Reader] = set()
    ground = scenario.ground(folder, dict(scenario.settings))
    crowd = Crowd(ground.base, scenario.cast, history, seed)
    stage = Stage(ground, crowd, history, seconds * (1 - 2 * QUIET), random.Random(seed))
    try:
        ground.start()
        crowd.start()
        steady = crowd.steady
        complete = _perform(scenario, stage, seconds)
        stage.broken += ground.audit()
    except Exception as failure:  # noqa: BLE001 - a scenario that breaks is a result, and the next one is played
        stage.broken.append(f"broken: {_told(failure)}")
    finally:
        with undisturbed():
            crowd.end()
            stage.broken += [brief(fault) for fault in ground.close()]
    _judge(result, stage, complete, steady)
    if not result.passed:
        result.history = folder / "history.ndjson"
        result.history.write_text("".join(f"{line(record)}\n" for record in history.records))
    return result


@contextmanager
def undisturbed() -> Iterator[None]:
    """Another Ctrl-C waits: what runs is ended first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _perform(scenario: Scenario, stage: Stage, seconds: float) -> set[Reader]:  # type: ignore[type-arg]
    """Traffic, fault, recovery, traffic, and everybody reads to the end; the devices that did."""
    stage.wait(seconds * QUIET)
    scenario.play(stage)
    stage.recover()
    stage.wait(seconds * QUIET)
    stage.crowd.stop_sending()
    users = stage.crowd.users
    complete = stage.crowd.read_to_end(stage.ground.heads(users))
    stage.crowd.check()
    deadline = time.monotonic() + PATIENCE
    while (owing := stage.ground.owing(users)) and time.monotonic() < deadline:
        time.sleep(POLL)
    stage.broken += [f"untold: {user} has acked what its senders were not told of" for user in owing]
    for user, cursor, (sender, message_id) in stage.ground.kept(users):
        stage.history.note(Kept(stage.history.clock(), sender, message_id, user, cursor))
    for reader in stage.crowd.readers:
        if reader.device.reader not in complete:
            stage.broken.append(f"stuck: {'/'.join(reader.device.reader)} did not read to the end")
    return complete


def brief(text: str) -> str:
    """The end of a long text, which says most."""
    return text if len(text) <= MOST_TEXT else f"… {text[-MOST_TEXT:]}"


def _told(failure: Exception) -> str:
    where = traceback.extract_tb(failure.__traceback__)
    ours = next((frame for frame in reversed(where) if "chaos" in frame.filename), where[-1])
    return f"{type(failure).__name__} in {ours.name}, line {ours.lineno}: {brief(str(failure))}"


def _judge(result: Result, stage: Stage, complete: set[Reader], steady: set[Reader]) -> None:  # type: ignore[type-arg]
    records, promise = stage.history.records, result.scenario.promise
    found = violations(records, sorted(complete), promise)
    result.figures = figures(records, steady)
    result.proofs = stage.proofs
    result.lost = sum(text.startswith("lost:") for text in found)
    if promise.may_rewind and any(isinstance(record, Kept) for record in records):
        result.lost_with_server = len(lost_with_the_server(records))
    unproved = [f"did not happen: {text}" for text, happened in stage.proofs if not happened]
    if not stage.proofs:
        unproved.append("did not happen: nothing shows that there was a fault")
    result.faults = [*stage.broken, *unproved, *found]
