"""As many messages end to end as a system carries, with a fixed number in flight."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.peers.reading import Found, Stage, shares, under_load
from scripts.bench.peers.traffic import Couple, Pair, connected, couples, delivered, drain, forget_samples, part


@dataclass(frozen=True)
class SaturatedLoad:
    """A message that arrived is followed by the next of its pair."""

    couples: tuple[Couple, ...]
    each: int  # in flight
    seconds: float
    warm_up: float
    drain: float

    async def run(self, gate: Gate) -> Outcome:
        pairs = await connected(self.couples)
        await self._send_for(pairs, self.warm_up)
        before = delivered(pairs)
        forget_samples(pairs)
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._send_for(pairs, self.seconds)
        total = delivered(pairs) - before
        return Outcome(
            *(watch.started, watch.started + self.seconds, at_end - before, total, watch.cpu(), watch.wall()),
            faults=await part(pairs),
        )

    async def _send_for(self, pairs: Sequence[Pair], seconds: float) -> int:
        """How many had been delivered, in all, when the time was up."""
        for pair in pairs:
            pair.refill = True
            for _ in range(self.each):
                pair.send()
        await asyncio.sleep(seconds)
        at_end = delivered(pairs)
        for pair in pairs:
            pair.refill = False
        await drain(pairs, self.drain)
        return at_end


def measure(stage: Stage) -> Found:
    sizes = stage.sizes
    everybody = couples(stage.peer, f"{stage.tag}sat", sizes.pairs)
    loads = [
        SaturatedLoad(
            tuple(everybody[number] for number in share),
            *(sizes.in_flight // sizes.pairs, sizes.seconds, sizes.warm_up, sizes.drain),
        )
        for share in shares(sizes.pairs, stage.loads)
    ]
    done = under_load(stage, loads)
    return done.found(
        saturated=done.rate,
        cpu=done.cpu_per_100k,
        server_cpu=done.per_100k(done.server),
        load_cpu=done.per_100k(done.outcome.cpu),
        load_share=done.share * 100,
    )
