"""Which workers are dead: judged by one's own clock alone, and only by time in which one lived oneself. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Suspects:
    """`patience`: seconds without a change of its counter after which a worker is dead. `tick`: seconds between
    looks; a longer pause counts as one tick, because then it was this process that slept.
    """

    patience: float
    tick: float
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _looked: float | None = None

    def look(self, counters: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """(worker, counter) of those that are dead now. Call it only after a heartbeat of one's own succeeded."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self.tick)
        self._looked = now
        seen: dict[str, tuple[str, float]] = {}
        for worker, counter in counters.items():
            before, still = self._seen.get(worker, ("", 0.0))
            seen[worker] = (counter, still + passed if counter == before else 0.0)
        self._seen = seen
        return [(worker, counter) for worker, (counter, still) in seen.items() if still >= self.patience]

    def interrupt(self) -> None:
        """A heartbeat of one's own failed: the time until the next one counts against nobody."""
        self._looked = None
