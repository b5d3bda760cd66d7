"""Latency at a fixed rate: how long from `send` to the recipient, when nothing is saturated.

The rate does not wait for answers. A load generator that is late itself is reported beside the figures.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.pace import evenly
from scripts.bench.pairs import PAIRS, Pair, connect_pairs, delivered, drain, forget_samples, own_copies, part
from scripts.bench.ws_client import Endpoint, Manners

RATE = 500  # messages/s


@dataclass(frozen=True)
class LatencyLoad:
    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    manners: Manners
    seed: int
    rate: int = RATE
    pairs: int = PAIRS

    async def run(self, gate: Gate) -> Outcome:
        pairs = await connect_pairs(self.endpoint, self.tag, self.pairs, self.manners)
        await self._send_for(pairs, self.warm_up)
        await drain(pairs)
        forget_samples(pairs)
        before, copies = delivered(pairs), own_copies(pairs)
        await gate.wait()
        watch = Stopwatch()
        late = await self._send_for(pairs, self.seconds)
        await drain(pairs)
        total = delivered(pairs) - before
        return Outcome(
            *(watch.started, watch.started + self.seconds, total, total),
            *(watch.cpu(), watch.wall(), total + own_copies(pairs) - copies),
            faults=part(pairs),
            samples=[sample for pair in pairs for sample in pair.samples],
            late=late,
        )

    async def _send_for(self, pairs: Sequence[Pair], seconds: float) -> list[float]:
        """Sends at even distances, the pairs in random order; answers how late each send was (s)."""
        order = random.Random(self.seed)
        return await evenly(lambda: order.choice(pairs).send(), self.rate, seconds)
