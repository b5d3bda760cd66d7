"""Memory of idle connections: how much all processes grow while users connect and then say nothing."""

import time
from collections import Counter
from dataclasses import dataclass

from scripts.bench.crew import Crew, Gate, Outcome, Stopwatch
from scripts.bench.measure import SETTLE, together
from scripts.bench.peers.peer import Client
from scripts.bench.peers.reading import Found, Stage, resident, shares
from scripts.bench.peers.traffic import close_all, connect_all
from scripts.bench.stats import ratio

WARM = 100  # connected before the first reading: what is built once is not counted
KIB = 1024


@dataclass(frozen=True)
class IdleLoad:
    """Stops at two gates: with its share of the warm connections, and with all the others."""

    warm: tuple[Client, ...]
    idle: tuple[Client, ...]

    async def run(self, gate: Gate) -> Outcome:
        lost: Counter[str] = Counter()
        for client in (*self.warm, *self.idle):
            client.on_lost = lambda: lost.update({"connection lost": 1})
        await connect_all(self.warm)
        await gate.wait()
        watch = Stopwatch()
        await connect_all(self.idle)
        done, wall = len(self.idle), watch.wall()
        await gate.wait()
        await close_all((*self.warm, *self.idle))
        return Outcome(watch.started, watch.started + wall, done, done, watch.cpu(), wall, faults=lost)


def measure(stage: Stage) -> Found:
    """`idle`: KiB for each connection, over all processes."""
    peer, count = stage.peer, stage.sizes.idle
    warm = [peer.client(f"{stage.tag}warm-{number}") for number in range(WARM)]
    idle = [peer.client(f"{stage.tag}idle-{number}") for number in range(count)]
    dealt = zip(shares(WARM, stage.loads), shares(count, stage.loads), strict=True)
    loads = [IdleLoad(tuple(warm[n] for n in first), tuple(idle[n] for n in rest)) for first, rest in dealt]
    with Crew(loads) as crew:
        crew.arrived()
        time.sleep(SETTLE)
        before = resident(peer.pids)
        crew.go()
        crew.arrived()
        time.sleep(SETTLE)
        after = resident(peer.pids)
        crew.go()
        outcome = together(crew.finished())
    return Found({"idle": ratio(after - before, count) / KIB}, faults=dict(outcome.faults))
