"""The simulation beside the measurement, at the size that fits on one machine: the same load, the same two cores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.sizing.costs import Costs, Price
from scripts.sizing.model import MICRO
from scripts.sizing.queues import Process
from scripts.sizing.simulation import Told, World
from scripts.sizing.slices import Slice

IN_FLIGHT = 800  # scripts/bench: over all pairs
WORKERS, NET = 2, 0.00003  # two workers and one server; s from one process to another on one machine
WARM, SECONDS, CALM_SECONDS = 1.0, 3.0, 20.0


@dataclass(frozen=True)
class Beside:
    """One figure of both."""

    what: str
    unit: str
    measured: float
    simulated: float

    @property
    def ratio(self) -> float:
        return self.simulated / self.measured


def compared(found: Mapping[str, Any]) -> list[Beside]:
    """What was measured and what the simulation says of the same."""
    pairs, calm = found["pairs"], found["calm"]
    full, rate = saturated(found)
    quiet = steady(found)
    return [
        Beside("100 pairs, 800 in flight: delivered", "messages/s", pairs["rate"], rate),
        Beside("the same: p50", "ms", pairs["p50_ms"], 1e3 * full.p("delivered", 0.5)),
        Beside("the same: p99", "ms", pairs["p99_ms"], 1e3 * full.p("delivered", 0.99)),
        Beside("500 messages/s: p50", "ms", calm["p50_ms"], 1e3 * quiet.p("delivered", 0.5)),
        Beside("500 messages/s: p99", "ms", calm["p99_ms"], 1e3 * quiet.p("delivered", 0.99)),
    ]


def saturated(found: Mapping[str, Any]) -> tuple[Told, float]:
    """A fixed number in flight: whoever gets one sends the next. The load's own process is on the same cores, of which
    the service gets no more than it got when it was measured.
    """
    costs = Costs.of(found)
    slower = slowness(found)
    slice_ = _slice(found, costs.full_send, costs.full_relay, slower)
    world = Pairs(slice_, 1, found["pairs"]["load_us"] * MICRO * slower)
    for _ in range(IN_FLIGHT):
        world.send()
    world.clock.run(WARM)
    world.told.delivered.clear()
    world.clock.run(WARM + SECONDS)
    return world.told, len(world.told.delivered) / SECONDS


def steady(found: Mapping[str, Any]) -> Told:
    """Sends at a fixed rate, which waits for nobody."""
    costs = Costs.of(found)
    world = World(_slice(found, costs.calm_send, costs.calm_relay), 1)
    world.every(found["calm"]["rate"], world.send)
    world.clock.run(CALM_SECONDS)
    return world.told


class Pairs(World):
    """Closed: no more in flight than there were."""

    def __init__(self, slice_: Slice, seed: int, load: float) -> None:
        super().__init__(slice_, seed)
        self._load = Process(self.clock, self.cores)
        self._each = load

    def arrived(self) -> None:
        """The load takes it, and sends another."""
        self._load.give(self._each, self.send)


def slowness(found: Mapping[str, Any]) -> float:
    """How much slower a core was than one that has nobody else to serve: others were at work on the machine."""
    return float(max(1.0, found["machine"]["cores"] / found["pairs"]["cores_had"]))


def _slice(found: Mapping[str, Any], send: Price, relay: Price, slower: float = 1.0) -> Slice:
    def seconds(price: Price) -> Price:
        return Price(price.worker * MICRO * slower, price.server * MICRO * slower, 0, 0)

    nothing = Price(0, 0, 0, 0)
    return Slice(
        workers=WORKERS,
        shards=1,
        singles=0,
        groups=0,
        members=0,
        reached=1.0,
        connects=0,
        connections=0,
        send=seconds(send),
        relay=seconds(relay),
        member=nothing,
        connect=nothing,
        look=0,
        net=NET,
        sync=found["fsync_us"] * MICRO,
        cores=found["machine"]["cores"],
    )
