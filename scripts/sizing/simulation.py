"""A service in motion: workers and servers as queues, people who send, connect, and try again. Seeded.

A large service is one small one many times over, so what runs is a slice of it: some workers and their share of the
servers, each under the load that it has in the whole.
"""

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from scripts.bench.stats import percentile
from scripts.sizing.queues import Clock, Cores, Process
from scripts.sizing.slices import Slice

# Messages of one batch of a worker; one batch at a time, whatever servers it is for. The service has had two of 128
# appends since, the second once it is full: with more than a batch waiting it gets further than this.
FLIGHT = 64
RUNNERS = 16  # sends to groups that a worker has under way
TIMEOUT = 5.0  # s: INBOXD_REDIS_TIMEOUT
GIVE_UP = 10.0  # s: a client that is not live by then closes and tries again
BACKOFF, LONGEST = 0.5, 20.0  # s: docs/clients.md
READ_AT_ONCE = 64  # jobs that a server takes from its sockets before it fsyncs
PARTS = 0.6  # of the relay's server cost: before delivery; the rest is the ack

Fault = Literal["none", "burst", "worker", "zone", "shard killed", "shard frozen"]
FAULTS: tuple[Fault, ...] = ("none", "burst", "worker", "zone", "shard killed", "shard frozen")


@dataclass
class Told:
    """What came of it. Seconds."""

    accepted: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)  # of those that a fault threw out, until live again
    counts: Counter[str] = field(default_factory=Counter)
    out: int = 0  # of them, who is not back yet
    back: float = 0.0  # from the fault until the last of them is live, and the last failed send accepted
    worker_queue: float = 0.0
    shard_queue: float = 0.0
    worker_busy: float = 0.0
    shard_busy: float = 0.0
    others: list[float] = field(default_factory=list)  # accepted, of sends that the lost server has no part in

    def p(self, what: str, share: float) -> float:
        return percentile(getattr(self, what), share)


class Committer:
    """One worker's way to the servers: one flight at a time, back when its last part is."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._waiting: deque[tuple[int, Callable[[bool], None]]] = deque()
        self._flying = False

    def add(self, shard: int, done: Callable[[bool], None]) -> None:
        self._waiting.append((shard, done))
        if not self._flying:
            self._fly()

    def _fly(self) -> None:
        flight = [self._waiting.popleft() for _ in range(min(FLIGHT, len(self._waiting)))]
        self._flying = True
        shards = Counter(shard for shard, _ in flight)
        answers: dict[int, bool] = {}

        def answered(shard: int, fine: bool) -> None:
            answers[shard] = fine
            if len(answers) == len(shards):
                self._land([(answers[to], done) for to, done in flight])

        for shard, number in shards.items():
            cost = number * self._world.slice.send.server
            self._world.ask(shard, cost, lambda fine, shard=shard: answered(shard, fine))  # type: ignore[misc]

    def _land(self, flight: list[tuple[bool, Callable[[bool], None]]]) -> None:
        self._flying = False
        if self._waiting:
            self._fly()
        for fine, done in flight:
            done(fine)


class Runners:
    """Who sends to groups, in one worker: so many at a time, the others wait."""

    def __init__(self) -> None:
        self._free = RUNNERS
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, do: Callable[[], None]) -> None:
        if self._free:
            self._free -= 1
            do()
        else:
            self._waiting.append(do)

    def give_back(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1


class World:
    """The slice, its people, and what befalls it."""

    def __init__(self, slice_: Slice, seed: int) -> None:
        self.slice = slice_
        self.random = random.Random(seed)
        self.clock = Clock()
        self.cores = Cores(slice_.cores)
        self.workers = [Process(self.clock, self.cores) for _ in range(slice_.workers)]
        self.shards = [Process(self.clock, self.cores, READ_AT_ONCE, slice_.sync) for _ in range(slice_.shards)]
        self.committers = [Committer(self) for _ in self.workers]
        self.runners = [Runners() for _ in self.workers]
        self.frozen: set[int] = set()
        self.gone: set[int] = set()
        self.told = Told()
        self.began = 0.0  # of the fault
        self.rate = 1.0

    # Between workers and servers.

    def ask(self, shard: int, cost: float, answered: Callable[[bool], None]) -> None:
        """A call to one server: refused at once where it is gone, by the clock where it is frozen."""
        if shard in self.gone:
            self.clock.after(2 * self.slice.net, lambda: answered(False))
        elif shard in self.frozen:
            self.clock.after(TIMEOUT, lambda: answered(False))
        else:
            net = self.slice.net  # there and back in one: an event less
            self.shards[shard].give(cost, lambda: self.clock.after(2 * net, lambda: answered(True)))

    def a_shard(self) -> int:
        return self.random.randrange(len(self.shards))

    def a_worker(self) -> int:
        return self.random.choice([n for n, worker in enumerate(self.workers) if worker.alive])

    # People.

    def every(self, rate: float, do: Callable[[], None]) -> None:
        """At random, so often a second."""
        if rate <= 0:
            return

        def again() -> None:
            do()
            self.clock.after(self.random.expovariate(rate * self.rate), again)

        self.clock.after(self.random.expovariate(rate * self.rate), again)

    def send(self) -> None:
        self._send(self.clock.now, self.a_shard(), 0)

    def _send(self, since: float, shard: int, tries: int) -> None:
        """One entry for one user, again and again under one id until it is accepted."""
        worker = self.a_worker()

        def done(fine: bool) -> None:
            if fine:
                self._accepted(since, tries)
                if shard:
                    self.told.others.append(self.clock.now - since)
                self.announce(since)
                return
            self.told.counts["unavailable"] += 1
            wait = self.random.uniform(0, min(LONGEST, BACKOFF * 2 ** (tries + 1)))
            self.clock.after(wait, lambda: self._send(since, shard, tries + 1))

        self.workers[worker].give(self.slice.send.worker, lambda: self.committers[worker].add(shard, done))

    def _accepted(self, since: float, tries: int) -> None:
        self.told.accepted.append(self.clock.now - since)
        if tries:
            self.told.back = max(self.told.back, self.clock.now - self.began)

    def announce(self, since: float) -> None:
        """To whoever is connected: through its worker's stream, to its socket; then the ack."""
        times = int(self.slice.reached) + (self.random.random() < self.slice.reached % 1)
        for _ in range(times):
            worker, stream, inbox = self.a_worker(), self.a_shard(), self.a_shard()

            def deliver(worker: int = worker, inbox: int = inbox) -> None:
                self.workers[worker].give(self.slice.relay.worker, lambda: delivered(inbox))

            def delivered(inbox: int) -> None:
                self.told.delivered.append(self.clock.now - since)
                self.arrived()
                self.ask(inbox, self.slice.relay.server * (1 - PARTS), lambda _: None)

            def told(fine: bool, go: Callable[[], None] = deliver) -> None:
                if fine:
                    go()

            self.ask(stream, self.slice.relay.server * PARTS, told)

    def arrived(self) -> None:
        """Somebody has got something."""

    def send_to_group(self) -> None:
        """Not by the committer: a runner has it, of which a worker has a few, until every server has answered."""
        members = Counter(self.a_shard() for _ in range(self.slice.members))
        self._send_to_group(self.clock.now, self.a_worker(), members, 0)

    def _send_to_group(self, since: float, worker: int, open_: Counter[int], tries: int) -> None:
        """To those that do not have it yet; what fails, the sender tries again."""
        left = [0]

        def spread() -> None:
            left[0] = len(open_)
            for shard, number in list(open_.items()):
                self.ask(shard, number * self.slice.member.server, partial(answered, shard, number))

        def answered(shard: int, number: int, fine: bool) -> None:
            left[0] -= 1
            if fine:
                del open_[shard]
                for _ in range(number):
                    self.announce(since)
            if not left[0]:
                self.runners[worker].give_back()
                ended()

        def ended() -> None:
            if not open_:
                self._accepted(since, tries)
                return
            self.told.counts["unavailable"] += 1
            wait = self.random.uniform(0, min(LONGEST, BACKOFF * 2 ** (tries + 1)))
            self.clock.after(wait, lambda: self._send_to_group(since, self.a_worker(), open_, tries + 1))

        cost = open_.total() * self.slice.member.worker
        self.workers[worker].give(cost, lambda: self.runners[worker].take(spread))

    def connect(self, since: float | None = None, tries: int = 0, thrown: bool = False) -> None:
        """`since`: when it was thrown out, or first tried in vain. A device that is not live in time gives up and comes
        again; what the worker does for it then is done in vain.
        """
        begun, over = self.clock.now, [False]

        def live(fine: bool) -> None:
            if over[0]:
                return
            over[0] = True
            if not fine:
                retry()
            elif since is not None:
                self.told.away.append(self.clock.now - since)
                self.told.out -= thrown
                self.told.back = max(self.told.back, self.clock.now - self.began)

        def give_up() -> None:
            if not over[0]:
                over[0] = True
                self.told.counts["gave up connecting"] += 1
                retry()

        def retry() -> None:
            wait = self.random.uniform(0, min(LONGEST, BACKOFF * 2 ** (tries + 1)))
            self.clock.after(wait, lambda: self.connect(begun if since is None else since, tries + 1, thrown))

        def served() -> None:
            if over[0]:
                return
            self.ask(self.a_shard(), self.slice.connect.server, live)

        self.workers[self.a_worker()].give(self.slice.connect.worker, served)
        self.clock.after(GIVE_UP, give_up)

    # What befalls it.

    def kill_workers(self, number: int, share: float) -> None:
        """Their connections come again, each at its own moment; so many of them to this slice."""
        self.began = now = self.clock.now
        for worker in self.workers[:number]:
            worker.die()
        self.told.out = round(number * self.slice.connections * share)
        for _ in range(self.told.out):
            self.clock.after(self.random.uniform(0, BACKOFF), lambda: self.connect(now, thrown=True))

    def lose_shard(self, how: set[int]) -> None:
        self.began = self.clock.now
        how.add(0)
        if how is self.gone:
            self.shards[0].die()
        self.clock.after(self.slice.failover, self.take_over)

    def take_over(self) -> None:
        """Its replica has become the primary, and every session looks at its inbox."""
        self.gone.clear()
        self.frozen.clear()
        self.shards[0].revive()
        for worker in self.workers:
            for _ in range(0, self.slice.connections, 200):
                worker.give(200 * self.slice.look, lambda: None)

    def befall(self, fault: Fault, zones: int) -> None:
        if fault == "worker":
            self.kill_workers(1, self.slice.storm)
        elif fault == "zone":
            self.kill_workers(max(1, round(len(self.workers) / zones)), 1.0)
        elif fault == "shard killed":
            self.lose_shard(self.gone)
        elif fault == "shard frozen":
            self.lose_shard(self.frozen)


def simulated(slice_: Slice, fault: Fault = "none", *, seconds: float = 60.0, seed: int = 1, zones: int = 3) -> Told:
    """So many seconds from the fault on, after a few calm ones that do not count. `burst`: three times the sends."""
    world = World(replace(slice_), seed)
    busier = 3.0 if fault == "burst" else 1.0
    world.every(slice_.singles * busier, world.send)
    world.every(slice_.groups * busier, world.send_to_group)
    world.every(slice_.connects, world.connect)
    calm = 3.0
    world.clock.run(calm)
    for process in (*world.workers, *world.shards):
        process.deepest = process.worked = 0.0
    world.told.accepted.clear()
    world.told.delivered.clear()
    world.befall(fault, zones)
    world.clock.run(calm + seconds)
    told = world.told
    told.worker_queue = max(worker.deepest for worker in world.workers)
    told.shard_queue = max(shard.deepest for shard in world.shards)
    told.worker_busy = max(worker.worked for worker in world.workers) / seconds
    told.shard_busy = max(shard.worked for shard in world.shards) / seconds
    return told
