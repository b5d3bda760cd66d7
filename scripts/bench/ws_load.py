"""Accepted sends over WebSocket: many senders, a few sends in flight on each, recipients offline.

One `send` per frame, as chat clients do it. The senders are live devices: with own copies on, each of their
sends is two appends, and each gets its copy and acks it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench.content import send_frame
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.waiting import until
from scripts.bench.ws_client import Device, Endpoint, Manners, connect_all

CONNECTIONS = 50
IN_FLIGHT = 16  # on each connection
RECIPIENTS = 1000
STRIDE = 7919  # a prime: each sender walks through the recipients in another order
DRAIN = 15.0  # s, for the answers still under way when the time is up
COPIES = 2.0  # s, for the own copies still under way then


class Sender(Device):
    """Keeps `in_flight` sends under way until it is told to stop."""

    def __init__(self, endpoint: Endpoint, user: str, manners: Manners, number: int, recipients: list[bytes]) -> None:
        super().__init__(endpoint, user, manners)
        self.sent = 0
        self.answers = 0
        self.good = 0
        self.running = False
        self._next = number
        self._recipients = recipients

    def start(self) -> None:
        self.running = True
        for _ in range(IN_FLIGHT):
            self._send()

    def accepted(self) -> None:
        self.answers += 1
        self.good += 1
        if self.running:
            self._send()

    def refused(self) -> None:
        self.answers += 1
        if self.running:
            self._send()

    def _send(self) -> None:
        self.sent += 1
        self._next += STRIDE
        to = self._recipients[self._next % len(self._recipients)]
        self.send(send_frame(b"%d" % self.sent, to))


@dataclass(frozen=True)
class WsSends:
    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    manners: Manners
    connections: int = CONNECTIONS

    async def run(self, gate: Gate) -> Outcome:
        senders = self._senders()
        await connect_all(list(senders))
        await self._send_for(senders, self.warm_up)
        await settle(senders)
        good, copies = accepted(senders), entries(senders)
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._send_for(senders, self.seconds)
        ended = watch.started + self.seconds
        await settle(senders)
        total = accepted(senders) - good
        outcome = Outcome(
            *(watch.started, ended, at_end - good, total, watch.cpu(), watch.wall()),
            appends=total + entries(senders) - copies,
            faults=faults(senders),
        )
        for sender in senders:
            sender.leave()
        return outcome

    def _senders(self) -> list[Sender]:
        recipients = [f"{self.tag}-to-{number}".encode() for number in range(RECIPIENTS)]
        return [
            Sender(self.endpoint, f"{self.tag}-from-{number}", self.manners, number, recipients)
            for number in range(self.connections)
        ]

    async def _send_for(self, senders: list[Sender], seconds: float) -> int:
        """How many had been accepted, in all, when the time was up."""
        for sender in senders:
            sender.start()
        await asyncio.sleep(seconds)
        at_end = accepted(senders)
        for sender in senders:
            sender.running = False
        return at_end


def accepted(senders: Sequence[Sender]) -> int:
    return sum(sender.good for sender in senders)


def entries(devices: Sequence[Device]) -> int:
    return sum(device.entries for device in devices)


def faults(devices: Sequence[Device]) -> Counter[str]:
    """Errors of all devices, and holes in what they got."""
    total = sum((device.errors for device in devices), Counter[str]())
    holes = sum(device.holes for device in devices)
    if holes:
        total["holes"] += holes
    return total


async def settle(senders: Sequence[Sender]) -> None:
    """Waits for outstanding answers, then for own copies, if there are any."""
    await until(lambda: all(sender.sent == sender.answers for sender in senders), DRAIN)
    await until(lambda: not 0 < entries(senders) < accepted(senders), COPIES)
    for sender in senders:
        missing = sender.sent - sender.answers
        if missing:
            sender.errors["no answer"] += missing
            sender.answers = sender.sent
