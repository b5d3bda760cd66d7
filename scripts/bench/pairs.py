"""End to end: pairs of users, both connected; one sends, the other gets.

A message is in flight from its `send` until its recipient has it; both ends of a pair live in one load
process, so that one clock times them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.content import NUMBER, Sends
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.waiting import until
from scripts.bench.ws_client import Device, Endpoint, Manners, connect_all
from scripts.bench.ws_load import DRAIN, entries, faults

PAIRS = 100
IN_FLIGHT = 800  # over all pairs


class Recipient(Device):
    """Tells its pair of every message it gets."""

    pair: "Pair"

    def entry(self, frame: dict[str, Any]) -> None:
        self.pair.arrived(frame["id"])


class Pair:
    """A sender and its recipient, with all its devices; knows what is under way between them."""

    def __init__(self, endpoint: Endpoint, tag: str, number: int, manners: Manners, devices: int = 1) -> None:
        self.sender = Device(endpoint, f"{tag}-from-{number}", manners)
        self.recipient = Recipient(endpoint, f"{tag}-to-{number}", manners)
        self.recipient.pair = self
        self.others = [Device(endpoint, self.recipient.user, manners, f"other-{n}") for n in range(devices - 1)]
        self._frames = Sends(self.recipient.user.encode())
        self.under_way: dict[str, float] = {}
        self.samples: list[float] = []
        self.delivered = 0
        self.refill = False
        self._sent = 0

    @property
    def devices(self) -> tuple[Device, ...]:
        return self.sender, self.recipient, *self.others

    @property
    def is_even(self) -> bool:
        """Whether the recipient's other devices have what the first has."""
        return all(other.entries == self.recipient.entries for other in self.others)

    def send(self) -> None:
        self._sent += 1
        self.under_way[(NUMBER % self._sent).decode()] = time.monotonic()
        self.sender.write(self._frames.frame(self._sent))

    def arrived(self, message_id: str) -> None:
        sent = self.under_way.pop(message_id, None)
        if sent is None:
            self.recipient.errors["repeated"] += 1
            return
        self.delivered += 1
        self.samples.append(time.monotonic() - sent)
        if self.refill:
            self.send()


@dataclass(frozen=True)
class PairsLoad:
    """As many as the service takes, with a fixed number in flight."""

    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    manners: Manners
    pairs: int = PAIRS
    in_flight: int = IN_FLIGHT
    devices: int = 1  # of each recipient

    async def run(self, gate: Gate) -> Outcome:
        pairs = await connect_pairs(self.endpoint, self.tag, self.pairs, self.manners, self.devices)
        await self._send_for(pairs, self.warm_up)
        await drain(pairs)
        before, copies = delivered(pairs), own_copies(pairs)
        forget_samples(pairs)
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._send_for(pairs, self.seconds)
        await drain(pairs)
        total = delivered(pairs) - before
        return Outcome(
            *(watch.started, watch.started + self.seconds, at_end - before, total),
            *(watch.cpu(), watch.wall(), total + own_copies(pairs) - copies),
            faults=part(pairs),
            samples=[sample for pair in pairs for sample in pair.samples],
        )

    async def _send_for(self, pairs: list[Pair], seconds: float) -> int:
        """How many had been delivered, in all, when the time was up."""
        for pair in pairs:
            pair.refill = True
            for _ in range(self.in_flight // len(pairs)):
                pair.send()
        await asyncio.sleep(seconds)
        at_end = delivered(pairs)
        for pair in pairs:
            pair.refill = False
        return at_end


async def connect_pairs(endpoint: Endpoint, tag: str, count: int, manners: Manners, devices: int = 1) -> list[Pair]:
    pairs = [Pair(endpoint, tag, number, manners, devices) for number in range(count)]
    await connect_all([device for pair in pairs for device in pair.devices])
    return pairs


async def drain(pairs: Sequence[Pair]) -> None:
    """Waits until what is under way has arrived, on all devices; what has not is counted as `undelivered`."""
    await until(lambda: not any(pair.under_way for pair in pairs), DRAIN)
    await until(lambda: all(pair.is_even for pair in pairs), DRAIN)
    for pair in pairs:
        if pair.under_way:
            pair.recipient.errors["undelivered"] += len(pair.under_way)
            pair.under_way.clear()
        if not pair.is_even:
            pair.recipient.errors["missing on other devices"] += 1


def part(pairs: Sequence[Pair]) -> Counter[str]:
    """Disconnects everybody and says what went wrong."""
    devices = [device for pair in pairs for device in pair.devices]
    found = faults(devices)
    for device in devices:
        device.leave()
    return found


def delivered(pairs: Sequence[Pair]) -> int:
    return sum(pair.delivered for pair in pairs)


def own_copies(pairs: Sequence[Pair]) -> int:
    return entries([pair.sender for pair in pairs])


def forget_samples(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.samples.clear()
