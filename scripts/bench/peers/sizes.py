"""How long, how many."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Of one round."""

    pairs: int
    in_flight: int  # over all pairs
    seconds: float  # of saturation
    warm_up: float  # s, before each measured load: what compiles while it runs has then compiled
    steady: float  # s, at each rate
    offline: float  # s
    backlogs: tuple[int, ...]
    replays: int  # of each backlog up to the first's size
    idle: int  # connections
    killed: int  # messages under way around a kill
    drain: float  # s, for what is under way when the time is up


WARM_UP = 3.0
FULL = Sizes(
    *(100, 800, 8.0, WARM_UP, 10.0, 4.0),
    backlogs=(10_000, 100_000),
    replays=3,
    idle=5000,
    killed=6000,
    drain=15.0,
)
QUICK = Sizes(*(100, 800, 2.0, WARM_UP, 2.0, 1.0), backlogs=(10_000,), replays=1, idle=300, killed=2000, drain=8.0)
RATE = 500  # messages/s, at which every system is at ease
