"""What a scenario is, and what it may do while it plays."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from scripts.chaos.checker import NOTHING_LOST, OVER, Promise
from scripts.chaos.crowd import Cast, Crowd
from scripts.chaos.figures import recovered
from scripts.chaos.grounds import Ground
from scripts.chaos.history import Accepted, History, Record, Refused
from scripts.lab.timing import PATIENCE, UNIT, eventually

G = TypeVar("G", bound=Ground)


@dataclass
class Stage(Generic[G]):
    """The ground, the crowd on it, and the notes of what happened. `seconds`: how long the fault may take."""

    ground: G
    crowd: Crowd
    history: History
    seconds: float
    rng: random.Random
    proofs: list[tuple[str, bool]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def prove(self, happened: bool, text: str) -> None:
        """That the fault really happened; a scenario with a proof that fails, or without any, fails."""
        self.proofs.append((text, happened))

    def expect(self, fine: bool, text: str) -> None:
        """What must hold beside the history."""
        if not fine:
            self.broken.append(f"not so: {text}")

    def wait(self, units: float) -> None:
        """Lets the crowd go on; fails where a client has failed."""
        self.crowd.wait(units * UNIT)

    def wait_for(self, seen: Callable[[], bool]) -> None:
        """Lets the crowd go on until something random has shown, or for as long as patience lasts."""
        deadline = time.monotonic() + PATIENCE
        while not seen() and time.monotonic() < deadline:
            self.wait(0.1)

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Around what does harm: times count from its beginning and its end."""
        self.history.mark("fault")
        yield
        self.history.mark(OVER)

    def recover(self) -> None:
        """Waits until every sender and every phone is served again."""
        eventually(lambda: recovered(self.history.records, self.crowd.steady), "all is well again", 3 * PATIENCE)

    def since_fault(self, kind: type[Record]) -> list[Any]:
        """Records of a kind since the latest fault began."""
        records = list(self.history.records)
        begin = max((n for n, record in enumerate(records) if getattr(record, "what", "") == "fault"), default=0)
        return [record for record in records[begin:] if isinstance(record, kind)]

    def refusals(self, code: str = "unavailable") -> int:
        """How many sends were refused so since the fault began."""
        return sum(record.code == code for record in self.since_fault(Refused))

    def duplicates(self) -> int:
        """How many repeats were answered as such since the fault began."""
        return sum(record.duplicate for record in self.since_fault(Accepted))


def nothing() -> str:
    return ""


@dataclass(frozen=True)
class Scenario:
    """`play` does the harm. `hindrance`: why it cannot run here, or nothing."""

    name: str
    about: str
    play: Callable[[Any], None]
    ground: type[Ground] = Ground
    cast: Cast = Cast()  # noqa: RUF009 - frozen
    promise: Promise = NOTHING_LOST
    settings: Mapping[str, Any] = field(default_factory=dict)
    hindrance: Callable[[], str] = nothing


SCENARIOS: dict[str, Scenario] = {}
"""By name, in the order they are run."""


def scenario(name: str, about: str, **more: Any) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Makes a function a scenario; `more` as in `Scenario`."""

    def register(play: Callable[[Any], None]) -> Callable[[Any], None]:
        SCENARIOS[name] = Scenario(name, about, play, **more)
        return play

    return register
