"""Accepted but lost: one process is killed with SIGKILL in the middle of a load, and everybody comes back.

Lost is what the sender was told is accepted and what never reached its recipient, although both came back. A pair
sends only while both its ends are connected: what a system does not keep for the absent is no loss by the kill.
What nobody confirmed may arrive or not.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from scripts.bench.crew import Crew, Gate, Outcome, Stopwatch
from scripts.bench.measure import together
from scripts.bench.peers.peer import Client
from scripts.bench.peers.reading import Found, Stage, shares
from scripts.bench.peers.traffic import Couple, Pair, accepted, connect_all, couples, delivered, part
from scripts.bench.waiting import until

RETRY = 0.2  # s, between two tries to connect again
COMEBACK = 60.0  # s, for everybody to be connected again
CUT, NEVER_BACK = "connection lost", "never came back"


@dataclass(frozen=True)
class Aftermath(Outcome):
    """`done`: accepted; `total`: sent."""

    lost: int = 0
    cut: int = 0  # pairs that were cut off
    caught: int = 0  # messages of theirs that were under way then


class Survivor(Pair):
    """A pair that sends without end until `finish`, and whose ends connect again when they are cut off."""

    def __init__(self, couple: Couple, each: int, on_cut: Callable[[], None]) -> None:
        super().__init__(couple)
        self.confirmed: set[str] = set()
        self.caught: int | None = None  # under way at the first cut
        self._each = each
        self._on_cut = on_cut
        self._last: float = math.inf  # the number of the last message to be sent
        self._given_up: set[str] = set()  # no longer waited for before the next is sent
        self._returning: set[asyncio.Task[None]] = set()
        for client in self.clients:
            client.on_lost = partial(self._cut, client)

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def is_whole(self) -> bool:
        return not self._returning

    @property
    def is_settled(self) -> bool:
        """All is sent; all that was accepted, or sent since the comeback, has arrived."""
        return self._sent >= self._last and not self.lost() and self.under_way.keys() <= self._given_up

    def lost(self) -> set[str]:
        return self.confirmed & self.under_way.keys()

    def top_up(self) -> None:
        """Sends while there is room: `each` under way."""
        while self.is_whole and self._sent < self._last and len(self.under_way) - len(self._given_up) < self._each:
            self.send()

    def finish(self, after: int) -> None:
        """So many more, and no further; the first word counts."""
        self._last = min(self._last, self._sent + after)
        self.top_up()

    def go_on(self) -> None:
        """What is under way now may be lost: nothing waits for it any more, except the count at the end."""
        self._given_up = set(self.under_way)
        self.top_up()

    def end(self) -> None:
        for task in tuple(self._returning):
            self.faults[NEVER_BACK] += 1
            task.cancel()

    def _arrived(self, id: str, text: str) -> None:
        super()._arrived(id, text)
        self._given_up.discard(id)
        self.top_up()

    def _accepted(self, id: str) -> None:
        super()._accepted(id)
        self.confirmed.add(id)

    def _cut(self, client: Client) -> None:
        self.faults[CUT] += 1
        if self.caught is None:
            self.caught = len(self.under_way)
        task = asyncio.get_running_loop().create_task(come_back(client))
        self._returning.add(task)
        task.add_done_callback(self._back)
        self._on_cut()

    def _back(self, task: asyncio.Task[None]) -> None:
        self._returning.discard(task)
        if self.is_whole and not task.cancelled():
            self.go_on()


async def come_back(client: Client) -> None:
    """Tries until it is connected, as clients do."""
    while True:
        await asyncio.sleep(RETRY)
        try:
            await client.connect()
        except Exception:  # noqa: BLE001, S112 - a system that starts refuses in its own words
            continue
        return


@dataclass(frozen=True)
class KillLoad:
    """Waits at a first gate to begin, and at a second one, under load, until the kill is done.

    As many messages before the kill as after it. It may come late: until somebody is cut off, all go on sending.
    """

    couples: tuple[Couple, ...]
    half: int  # messages of each pair
    each: int  # under way in each pair
    drain: float  # s

    async def run(self, gate: Gate) -> Aftermath:
        pairs: list[Survivor] = []
        for couple in self.couples:
            pairs.append(Survivor(couple, self.each, partial(self._finish, pairs)))
        await connect_all([client for pair in pairs for client in pair.clients])
        await gate.wait()
        watch = Stopwatch()
        for pair in pairs:
            pair.top_up()
        await until(lambda: delivered(pairs) >= self.half * len(pairs), self.drain)
        await gate.wait()  # the traffic goes on meanwhile
        self._finish(pairs)
        await until(lambda: all(pair.is_whole for pair in pairs), COMEBACK)
        for pair in pairs:
            pair.go_on()  # also where nobody was cut off: the process may have stood between them
        await until(lambda: all(pair.is_settled for pair in pairs), self.drain)
        return await self._aftermath(pairs, watch)

    def _finish(self, pairs: Sequence[Survivor]) -> None:
        for pair in pairs:
            pair.finish(self.half)

    async def _aftermath(self, pairs: Sequence[Survivor], watch: Stopwatch) -> Aftermath:
        caught = [pair.caught for pair in pairs if pair.caught is not None]
        lost = sum(len(pair.lost()) for pair in pairs)
        done, total = accepted(pairs), sum(pair.sent for pair in pairs)
        cost = watch.cpu(), watch.wall()
        for pair in pairs:
            pair.end()
        faults = await part(pairs)
        del faults[CUT]  # that was the point
        return Aftermath(
            *(watch.started, watch.started + cost[1], done, total, *cost),
            faults=faults,
            lost=lost,
            cut=len(caught),
            caught=sum(caught),
        )


def measure(stage: Stage) -> Found:
    """`lost`: messages; nan where the kill did not fall into the load. `lost_of`: accepted messages."""
    sizes = stage.sizes
    everybody = couples(stage.peer, f"{stage.tag}kill", sizes.pairs)
    loads = [
        KillLoad(
            tuple(everybody[number] for number in share),
            *(sizes.killed // sizes.pairs // 2, sizes.in_flight // sizes.pairs, sizes.drain),
        )
        for share in shares(sizes.pairs, stage.loads)
    ]
    with Crew(loads) as crew:
        crew.arrived()
        crew.go()
        crew.arrived()
        stage.peer.kill_one()
        crew.go()
        return found([outcome for outcome in crew.finished() if isinstance(outcome, Aftermath)])


def found(outcomes: Sequence[Aftermath]) -> Found:
    """The verdict over all load processes."""
    whole = together(outcomes)
    cut, caught = sum(one.cut for one in outcomes), sum(one.caught for one in outcomes)
    lost = float(sum(one.lost for one in outcomes))
    words = f"of {whole.done:,} accepted; {cut} pairs were cut off with {caught} messages under way"
    if not caught:
        lost, words = math.nan, "the kill did not fall into the load"
    return Found({"lost": lost, "lost_of": float(whole.done)}, faults=dict(whole.faults), remarks=(words,))
