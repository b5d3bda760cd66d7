"""Latency at a fixed rate, from a send to its recipient. The rate waits for nobody (an open loop)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.pace import evenly
from scripts.bench.peers.reading import MILLI, Found, Stage, shares, under_load
from scripts.bench.peers.traffic import Couple, Pair, connected, couples, delivered, drain, forget_samples, part
from scripts.bench.stats import percentile

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class SteadyLoad:
    """Even distances, the pairs in random order."""

    couples: tuple[Couple, ...]
    rate: float
    seconds: float
    warm_up: float
    drain: float
    seed: int

    async def run(self, gate: Gate) -> Outcome:
        pairs = await connected(self.couples)
        await self._send_for(pairs, self.warm_up)
        await drain(pairs, self.drain)
        before = delivered(pairs)
        forget_samples(pairs)
        await gate.wait()
        watch = Stopwatch()
        late = await self._send_for(pairs, self.seconds)
        await drain(pairs, self.drain)
        total = delivered(pairs) - before
        return Outcome(
            *(watch.started, watch.started + self.seconds, total, total, watch.cpu(), watch.wall()),
            faults=await part(pairs),
            samples=[sample for pair in pairs for sample in pair.samples],
            late=late,
        )

    async def _send_for(self, pairs: Sequence[Pair], seconds: float) -> list[float]:
        order = random.Random(self.seed)
        return await evenly(lambda: order.choice(pairs).send(), self.rate, seconds)


def at_rate(stage: Stage, name: str, rate: float) -> Found:
    """`{name}_p50`, `_p99`, `_p999`: ms."""
    sizes = stage.sizes
    everybody = couples(stage.peer, f"{stage.tag}{name}", sizes.pairs)
    dealt = shares(sizes.pairs, stage.loads)
    loads = [
        SteadyLoad(
            tuple(everybody[number] for number in share),
            *(rate / len(dealt), sizes.steady, sizes.warm_up, sizes.drain, stage.seed + place),
        )
        for place, share in enumerate(dealt)
    ]
    done = under_load(stage, loads)
    samples = done.outcome.samples
    return done.found(**{f"{name}_{label}": percentile(samples, part) * MILLI for label, part in PERCENTILES.items()})
