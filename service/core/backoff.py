"""Back-off: how long to wait before the next try."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Full jitter: the n-th wait lies in (0, min(most, first * 2**n)] seconds; `reset` after a success."""

    first: float
    most: float
    tries: int = 0

    def wait(self, chance: float) -> float:
        """The next wait in seconds. `chance` is the caller's random number of [0, 1)."""
        span = min(self.most, self.first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return span * (1.0 - chance)

    def reset(self) -> None:
        self.tries = 0
