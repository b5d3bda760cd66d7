"""Pairs of users over any client: what is under way between them, what arrived, what came twice or never."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scripts.bench.peers.peer import Client, Peer
from scripts.bench.waiting import until

TEXT = "x" * 200
CONNECTS_AT_ONCE = 50


@dataclass(frozen=True)
class Couple:
    """Two users, before anybody is connected. `to` is the recipient's name."""

    name: str
    sender: Client
    recipient: Client
    to: str


def couples(peer: Peer, tag: str, count: int) -> tuple[Couple, ...]:
    return tuple(couple(peer, f"{tag}-{number}") for number in range(count))


def couple(peer: Peer, name: str) -> Couple:
    return Couple(name, peer.client(f"{name}-from"), peer.client(f"{name}-to"), f"{name}-to")


class Pair:
    """Both ends of a couple, in one load process, so that one clock times them."""

    def __init__(self, couple: Couple) -> None:
        self.couple = couple
        self.faults: Counter[str] = Counter()
        self.under_way: dict[str, float] = {}  # sent, not yet arrived
        self.unconfirmed: set[str] = set()
        self.samples: list[float] = []  # s
        self.delivered = 0
        self.accepted = 0
        self.refill = False  # one more for each that arrived
        self._sent = 0
        couple.sender.on_accepted = self._accepted
        couple.recipient.on_message = self._arrived
        couple.sender.on_lost = couple.recipient.on_lost = self._lost

    @property
    def clients(self) -> tuple[Client, Client]:
        return self.couple.sender, self.couple.recipient

    def send(self) -> None:
        self._sent += 1
        id = f"{self.couple.name}-{self._sent}"
        self.under_way[id] = time.monotonic()
        self.unconfirmed.add(id)
        self.couple.sender.send(self.couple.to, id, TEXT)

    def _arrived(self, id: str, text: str) -> None:
        sent = self.under_way.pop(id, None)
        if sent is None:
            self.faults["repeated"] += 1
            return
        if text != TEXT:
            self.faults["another text"] += 1
        self.delivered += 1
        self.samples.append(time.monotonic() - sent)
        if self.refill:
            self.send()

    def _accepted(self, id: str) -> None:
        if id in self.unconfirmed:
            self.unconfirmed.remove(id)
            self.accepted += 1

    def _lost(self) -> None:
        self.faults["connection lost"] += 1


async def connect_all(clients: Sequence[Client]) -> None:
    """Connects them, a few at once so that no listening queue overflows."""
    for at in range(0, len(clients), CONNECTS_AT_ONCE):
        await asyncio.gather(*(client.connect() for client in clients[at : at + CONNECTS_AT_ONCE]))


async def close_all(clients: Iterable[Client]) -> None:
    await asyncio.gather(*(client.close() for client in clients))
    await asyncio.sleep(0.05)  # what was written last is still to leave


async def connected(couples: Sequence[Couple]) -> list[Pair]:
    pairs = [Pair(couple) for couple in couples]
    await connect_all([client for pair in pairs for client in pair.clients])
    return pairs


async def drain(pairs: Sequence[Pair], seconds: float) -> None:
    """Waits until what is under way has arrived and is confirmed; what has not is counted and forgotten."""
    await until(lambda: not any(pair.under_way or pair.unconfirmed for pair in pairs), seconds)
    for pair in pairs:
        for name, left in (("undelivered", pair.under_way), ("unconfirmed", pair.unconfirmed)):
            if left:
                pair.faults[name] += len(left)
                left.clear()


async def part(pairs: Sequence[Pair]) -> Counter[str]:
    """Disconnects everybody; what went wrong."""
    found = sum((pair.faults for pair in pairs), Counter[str]())
    await close_all([client for pair in pairs for client in pair.clients])
    return found


def delivered(pairs: Sequence[Pair]) -> int:
    return sum(pair.delivered for pair in pairs)


def accepted(pairs: Sequence[Pair]) -> int:
    return sum(pair.accepted for pair in pairs)


def forget_samples(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.samples.clear()
