"""How fast one user gets what came while it was away, from connecting to the last message."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.peers.peer import Client, Peer
from scripts.bench.peers.reading import Found, Stage, none, under_load
from scripts.bench.peers.traffic import TEXT, close_all, connect_all
from scripts.bench.stats import percentile
from scripts.bench.waiting import until

SENDERS = 8  # to each recipient, while its backlog is filled
UNCONFIRMED = 50  # of each sender
FILL_RATE = 500  # messages/s: whoever is slower is given up
FILL_PATIENCE = 60.0  # s
WARM = 5  # a backlog for the warm-up is so many times shorter


@dataclass(frozen=True)
class Absentee:
    """A recipient, and who writes to it while it is away."""

    name: str
    recipient: Client
    senders: tuple[Client, ...]


class Backlog:
    """Fills one, then gets it, as often as is asked for; counts what comes, twice or never."""

    def __init__(self, absentee: Absentee, size: int, patience: float) -> None:
        self.absentee = absentee
        self.size = size
        self._wanted = 0  # of all fillings
        self.patience = patience
        self.faults: Counter[str] = Counter()
        self._sent = 0
        self._accepted = 0
        self._missing: set[str] = set()
        self._latest = 0.0  # when something came, time.monotonic()
        absentee.recipient.on_message = self._arrived

    async def fill(self) -> None:
        """TimeoutError where the system takes it too slowly."""
        absentee = self.absentee
        self._wanted += self.size
        await absentee.recipient.connect()  # the system gets to know it
        await close_all([absentee.recipient])
        await connect_all(absentee.senders)
        for sender in absentee.senders:
            sender.on_accepted = self._next(sender)
            for _ in range(UNCONFIRMED):
                self._send(sender)
        if not await until(lambda: self._accepted >= self._wanted, FILL_PATIENCE + self.size / FILL_RATE):
            raise TimeoutError(f"{self._accepted} of {self._wanted} were stored")
        await close_all(absentee.senders)

    def _next(self, sender: Client) -> Callable[[str], None]:
        def accepted(id: str) -> None:
            self._accepted += 1
            self._send(sender)

        return accepted

    def _send(self, sender: Client) -> None:
        if self._sent < self._wanted:
            self._sent += 1
            id = f"{self.absentee.name}-{self._sent}"
            self._missing.add(id)
            sender.send(self.absentee.name, id, TEXT)

    async def replay(self) -> float:
        """Seconds until the last of it came; nan where not all of it did, and nothing came for `patience`."""
        began = self._latest = time.monotonic()
        await self.absentee.recipient.connect()
        await until(lambda: not self._missing or time.monotonic() - self._latest > self.patience, math.inf)
        if self._missing:
            self.faults["undelivered"] += len(self._missing)
        await close_all([self.absentee.recipient])
        return math.nan if self._missing else self._latest - began

    def _arrived(self, id: str, text: str) -> None:
        if id not in self._missing:
            self.faults["repeated"] += 1
            return
        self._missing.remove(id)
        self._latest = time.monotonic()


@dataclass(frozen=True)
class ReplayLoad:
    """`samples`: the seconds of each replay."""

    absentees: tuple[Absentee, ...]
    warm: Absentee
    size: int
    patience: float  # s, for the next message
    warm_up: float  # s

    async def run(self, gate: Gate) -> Outcome:
        backlogs = [Backlog(absentee, self.size, self.patience) for absentee in self.absentees]
        began = time.monotonic()
        for backlog in backlogs:
            await backlog.fill()
        await self._warm(began + self.warm_up)
        await gate.wait()
        watch = Stopwatch()
        samples = [await backlog.replay() for backlog in backlogs]
        done = self.size * len(backlogs)
        return Outcome(
            *(watch.started, watch.started + watch.wall(), done, done, watch.cpu(), watch.wall()),
            faults=sum((backlog.faults for backlog in backlogs), Counter[str]()),
            samples=samples,
        )

    async def _warm(self, until: float) -> None:
        """At least one shorter backlog, filled and got; more while there is time."""
        backlog = Backlog(self.warm, self.size // WARM, self.patience)
        again = True
        while again:
            await backlog.fill()
            await backlog.replay()
            again = time.monotonic() < until


def measure(stage: Stage, size: int) -> Found:
    """`replay_{size}`: messages/s."""
    name, sizes = f"replay_{size}", stage.sizes
    if stage.peer.keeps < size:
        return none(name)
    count = sizes.replays if size == sizes.backlogs[0] else 1
    absentees = tuple(absentee(stage.peer, f"{stage.tag}r{size}-{number}") for number in range(count))
    warm = absentee(stage.peer, f"{stage.tag}w{size}")
    done = under_load(stage, [ReplayLoad(absentees, warm, size, sizes.drain, sizes.warm_up)])
    return done.found(**{name: size / percentile(done.outcome.samples, 0.5)})


def absentee(peer: Peer, name: str) -> Absentee:
    return Absentee(name, peer.client(name), tuple(peer.client(f"{name}-from{number}") for number in range(SENDERS)))
