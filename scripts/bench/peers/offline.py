"""What a system stores for recipients that are not there: accepted messages per second, and whether they come."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.peers.reading import Found, Stage, none, shares, under_load
from scripts.bench.peers.traffic import Couple, Pair, accepted, close_all, connect_all, couples, drain
from scripts.bench.waiting import until

CHECKED = 5  # recipients of each load that come back and are counted


class Absent(Pair):
    """A pair whose recipient has left: one more is sent for each that was accepted."""

    def _accepted(self, id: str) -> None:
        super()._accepted(id)
        if self.refill:
            self.send()


@dataclass(frozen=True)
class OfflineLoad:
    """`done` and `total` count what was accepted. Who warms up writes to others: what waits already may cost."""

    couples: tuple[Couple, ...]
    warm: tuple[Couple, ...]
    each: int  # unconfirmed
    seconds: float
    warm_up: float
    drain: float

    async def run(self, gate: Gate) -> Outcome:
        await self._warm()
        pairs = await absent(self.couples)
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._send(pairs, self.seconds)
        total, cpu, wall = accepted(pairs), watch.cpu(), watch.wall()
        await self._collect(pairs[:CHECKED])
        await close_all([pair.couple.sender for pair in pairs])
        faults = sum((pair.faults for pair in pairs[1:]), pairs[0].faults)
        return Outcome(watch.started, watch.started + self.seconds, at_end, total, cpu, wall, faults=faults)

    async def _warm(self) -> None:
        pairs = await absent(self.warm)
        await self._send(pairs, self.warm_up)
        await close_all([pair.couple.sender for pair in pairs])

    async def _send(self, pairs: Sequence[Absent], seconds: float) -> int:
        for pair in pairs:
            pair.refill = True
            for _ in range(self.each):
                pair.send()
        await asyncio.sleep(seconds)
        at_end = accepted(pairs)
        for pair in pairs:
            pair.refill = False
        await until(lambda: not any(pair.unconfirmed for pair in pairs), self.drain)
        return at_end

    async def _collect(self, pairs: Sequence[Absent]) -> None:
        """Some recipients come back: what was accepted for them must come."""
        for pair in pairs:
            await pair.couple.recipient.connect()
        await drain(pairs, self.drain)
        await close_all([pair.couple.recipient for pair in pairs])


async def absent(couples: Sequence[Couple]) -> list[Absent]:
    """Senders that are there, recipients that the system knows and that have left."""
    pairs = [Absent(couple) for couple in couples]
    recipients = [pair.couple.recipient for pair in pairs]
    await connect_all(recipients)
    await close_all(recipients)
    await connect_all([pair.couple.sender for pair in pairs])
    return pairs


def measure(stage: Stage) -> Found:
    if stage.peer.keeps == 0:
        return none("offline")
    sizes = stage.sizes
    everybody = couples(stage.peer, f"{stage.tag}off", sizes.pairs)
    warm = couples(stage.peer, f"{stage.tag}offwarm", sizes.pairs)
    loads = [
        OfflineLoad(
            tuple(everybody[number] for number in share),
            tuple(warm[number] for number in share),
            *(sizes.in_flight // sizes.pairs, sizes.offline, sizes.warm_up, sizes.drain),
        )
        for share in shares(sizes.pairs, stage.loads)
    ]
    done = under_load(stage, loads)
    return done.found(offline=done.rate if done.outcome.total else math.nan)
