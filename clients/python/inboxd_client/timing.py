"""Durations in seconds, with their reasons; and the back-off that all tries share."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """All in seconds."""

    ping_interval: float | None = None
    """Silence after which a ping goes out; None: as `welcome` says."""
    patience: float = 10.0
    """Silence after that ping which ends the connection."""
    try_timeout: float = 10.0
    """For one try, until `welcome`."""
    ack_delay: float = 0.02
    """How long an ack may wait for another one that says more."""
    backoff_first: float = 0.5
    """The longest wait after the first failure; doubles with each."""
    backoff_most: float = 20.0
    """The longest wait of all."""
    steady: float = 5.0
    """A connection that lasted so long after `welcome` starts the back-off anew."""

    def wait(self, failures: int, uniform: Callable[[float, float], float]) -> float:
        """Full jitter: anything between nothing and a ceiling that doubles. `failures`: 0 for the first."""
        ceiling = min(self.backoff_most, self.backoff_first * 2.0 ** min(failures, 60))
        return uniform(0.0, ceiling)
