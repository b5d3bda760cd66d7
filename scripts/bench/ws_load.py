"""Accepted sends over WebSocket: many senders, a few sends in flight on each, recipients offline.

One `send` per frame, as chat clients do it. The senders are live devices: with own copies on, each of their
sends is two appends, and each gets its copy and acks it.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from scripts.bench.content import Sends
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.waiting import until
from scripts.bench.ws_client import Device, Endpoint, Manners, connect_all

CONNECTIONS = 50
IN_FLIGHT = 16  # on each connection
RECIPIENTS = 1000
STRIDE = 7919  # a prime: each sender walks through the recipients in another order
DRAIN = 15.0  # s, for the answers still under way when the time is up
COPIES = 2.0  # s, for the own copies still under way then
ACCEPTED = b'{"type":"accepted"'


class Sender(Device):
    """Keeps `in_flight` sends under way until it is told to stop."""

    def __init__(self, endpoint: Endpoint, user: str, manners: Manners, number: int, recipients: list[Sends]) -> None:
        super().__init__(endpoint, user, manners)
        self.sent = 0
        self.answers = 0
        self.good = 0
        self.running = False
        self._next = number
        self._recipients = recipients

    def start(self) -> None:
        self.running = True
        self._send(IN_FLIGHT)

    def text(self, payload: bytes) -> None:
        """Answers are counted, not parsed: they are most of what comes, and the load must not be the limit."""
        good = 0
        for line in payload.split(b"\n"):
            if line.startswith(ACCEPTED):
                good += 1
            elif line:
                self._object(orjson.loads(line))
        if good:
            self._answered(good, good)

    def refused(self) -> None:
        self._answered(1, 0)

    def _answered(self, count: int, good: int) -> None:
        self.answers += count
        self.good += good
        if self.running:
            self._send(count)

    def _send(self, count: int) -> None:
        frames = []
        for _ in range(count):
            self.sent += 1
            self._next += STRIDE
            frames.append(self._recipients[self._next % len(self._recipients)].frame(self.sent))
        self.write(b"".join(frames))


@dataclass(frozen=True)
class WsSends:
    """`to`: the beginning of the recipients' names; they have `recipients` inboxes."""

    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    manners: Manners
    connections: int = CONNECTIONS
    to: str = ""
    recipients: int = RECIPIENTS

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
        to = self.to or f"{self.tag}-to"
        recipients = [Sends(f"{to}-{number}".encode()) for number in range(self.recipients)]
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
