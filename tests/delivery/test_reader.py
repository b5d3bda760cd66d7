"""The reader: hears its own stream in order, from an explicit place, and finds the place again after any trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from scripts.lab.proxy import RedisProxy
from service.core.cursor import Cursor
from service.delivery import reader as module
from service.delivery.hub import Hub
from service.delivery.reader import Reader
from service.store.client import Clients
from service.store.keys import Keys
from service.store.worker_stream import Control, Hint, WorkerStreams, hint_field
from service.telemetry import HINTS_HEARD, HINTS_UNREADABLE, READER_RESYNCS
from tests.delivery.rig import ended, quick, total, until, until_stored
from tests.delivery.test_hub import Sub

STREAM = "chat:worker:{w-1}"


@dataclass
class Host:
    """A worker as far as its reader knows it."""

    id: str = "w-1"
    controls: list[Control] = field(default_factory=list)
    rechecks: int = 0

    def on_control(self, control: Control) -> None:
        self.controls.append(control)

    def recheck(self) -> None:
        self.rechecks += 1


@dataclass
class Bench:
    """A running reader of the stream of `w-1`; Bob and Carol are there to hear."""

    host: Host
    reader: Reader
    streams: WorkerStreams
    hub: Hub
    bob: Sub
    carol: Sub

    async def tell(self, *hints: Hint) -> None:
        """As another worker does it, in one entry."""
        assert (await self.streams.announce([(self.host.id, [hint_field(hint) for hint in hints])])) == [True]

    async def hears(self, *seqs: int) -> None:
        """Waits until Bob has heard exactly these."""
        await until(lambda: len(self.bob.hints) >= len(seqs), f"hints {seqs}, not {self.bob.hints}")
        assert [cursor.seq for cursor in self.bob.hints] == list(seqs)

    async def reads(self) -> None:
        """Waits until it reads a stream that it has found its place in."""
        await until(lambda: self.host.rechecks > 0, "the first place")


async def running_bench(url: str, **settings: Any) -> AsyncIterator[Bench]:
    chosen = quick(url, **settings)
    clients = Clients(chosen)
    streams = WorkerStreams(clients.rest, clients.read, Keys("chat:"))
    host, hub, bob, carol = Host(), Hub(), Sub("bob"), Sub("carol", session="s-2")
    hub.add(bob)
    hub.add(carol)
    reader = Reader(host, streams, hub, chosen.reader_block)
    await streams.position(host.id)
    await streams.announce([(host.id, [hint_field(hint(99))])])  # written before it reads
    task = asyncio.create_task(reader.run())
    bench = Bench(host, reader, streams, hub, bob, carol)
    await bench.reads()
    yield bench
    died = task.done()
    result = await ended(task)
    await clients.aclose()
    assert not died, f"the reader has died: {result}"


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async for bench in running_bench(redis_url):
        yield bench


@pytest.fixture
async def remote(proxy: RedisProxy) -> AsyncIterator[Bench]:
    """A reader whose server can be cut off."""
    async for bench in running_bench(proxy.url, redis_timeout=0.5, reader_block=0.1):
        yield bench


def hint(seq: int, user: str = "bob") -> Hint:
    return Hint(user, Cursor(1000 + seq - 1, seq - 1), Cursor(1000 + seq, seq), b"{}")


async def changed(value: Callable[[], float], from_: float, what: str) -> None:
    await until(lambda: value() > from_, what)


async def test_it_hears_everything_after_its_place_in_order_and_nothing_before(bench: Bench) -> None:
    before = total(HINTS_HEARD)
    await bench.tell(hint(1), hint(1, "carol"), hint(2))
    for seq in range(3, 30):
        await bench.tell(hint(seq))
    await bench.hears(*range(1, 30))
    assert len(bench.carol.hints) == 1
    assert total(HINTS_HEARD) == before + 30
    assert bench.host.rechecks == 1


async def test_one_field_may_name_several_recipients(bench: Bench, store: Any) -> None:
    await store.xadd(STREAM, {"bob/1000-0/1001-1 carol/2000-4/2005-5": "{}"})
    await bench.hears(1)
    assert bench.carol.hints == [Cursor(2005, 5)]


async def test_controls_reach_the_worker_in_their_place(bench: Bench, store: Any) -> None:
    await store.xadd(STREAM, {"!kick": "bob", "!canary": "7"})
    await bench.tell(hint(1))
    await bench.hears(1)
    assert [c for c in bench.host.controls if c != Control("!canary", "0")] == [
        Control("!kick", "bob"),
        Control("!canary", "7"),
    ]


async def test_after_its_connection_is_killed_it_finds_its_place_and_has_everybody_rechecked(
    bench: Bench, store: Any
) -> None:
    await bench.tell(hint(1))
    await bench.hears(1)
    [own] = [row for row in await store.client_list() if row["name"] == "inboxd-read"]
    resyncs = total(READER_RESYNCS)
    assert await store.client_kill_filter(_id=own["id"]) == 1
    await changed(lambda: total(READER_RESYNCS), resyncs, "another place")
    await changed(lambda: bench.host.rechecks, 1, "the recheck")
    await bench.tell(hint(2))
    await bench.hears(1, 2)
    [new] = [row for row in await store.client_list() if row["name"] == "inboxd-read"]
    assert new["id"] != own["id"]


async def test_a_stream_deleted_under_it_is_made_again_by_the_canary_and_read_on(bench: Bench, store: Any) -> None:
    await bench.tell(hint(1))
    await bench.hears(1)
    await store.delete(STREAM)
    assert await bench.streams.announce([("w-1", [hint_field(hint(2))])]) == [None], "an announcement made it"
    await bench.streams.position("w-1")
    await bench.tell(hint(3))
    await bench.hears(1, 3)


async def test_when_told_so_it_finds_its_place_again_and_skips_what_a_recheck_will_find(bench: Bench) -> None:
    bench.reader.resync()
    await changed(lambda: bench.host.rechecks, 1, "the recheck")
    await bench.tell(hint(5))
    await bench.hears(5)


async def test_with_a_new_identity_it_reads_the_new_stream(bench: Bench, store: Any) -> None:
    bench.host.id = "w-2"
    bench.reader.resync()
    await changed(lambda: bench.host.rechecks, 1, "the recheck")
    assert await store.exists("chat:worker:{w-2}")
    assert await bench.streams.announce([("w-1", [hint_field(hint(1))])]) == [True]
    await bench.tell(hint(2))
    await bench.hears(2)


async def test_a_field_that_is_no_hint_is_counted_and_its_neighbours_are_heard(bench: Bench, store: Any) -> None:
    before = total(HINTS_UNREADABLE)
    junk: dict[Any, Any] = {"bob": "x", "bob/1-1": "", "bob/one/two": "", b"\xff/1-1/2-2": "", "!kick": b"\xff"}
    await store.xadd(STREAM, {**junk, "bob/1000-0/1001-1": "{}"})
    await bench.tell(hint(2))
    await bench.hears(1, 2)
    assert total(HINTS_UNREADABLE) == before + 5


async def test_it_trims_what_it_has_read(bench: Bench, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIM_AFTER", 300)
    for seq in range(1, 1001):
        await store.xadd(STREAM, {f"bob/{1000 + seq - 1}-{seq - 1}/{1000 + seq}-{seq}": "{}"})
    await bench.hears(*range(1, 1001))
    assert await store.xlen(STREAM) < 800, "of 1000"
    await store.xadd(STREAM, {"!canary": "1"})

    async def trimmed() -> bool:
        return bool(await store.xlen(STREAM) <= 200)  # the server trims whole nodes of a hundred

    await until_stored(trimmed, "what was read is trimmed")


async def test_those_that_waited_for_a_hint_are_settled_after_the_next_batch_not_before(bench: Bench) -> None:
    order: list[str] = []
    settle, on_hint = bench.bob.settle, bench.bob.on_hint

    def settling() -> None:
        order.append("settled")
        settle()

    def hearing(prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        order.append("heard")
        on_hint(prev, cursor, tail)

    bench.bob.settle, bench.bob.on_hint = settling, hearing  # type: ignore[method-assign]
    bench.hub.behind.add(bench.bob)
    await bench.tell(hint(1), hint(2))
    await bench.hears(1, 2)
    assert order == ["heard", "heard", "settled"]
    await bench.tell(hint(3))
    await bench.hears(1, 2, 3)
    assert order[-1] == "heard", "settled twice"


async def test_a_session_that_fails_when_it_is_settled_is_ended_and_the_reader_lives(bench: Bench) -> None:
    def broken() -> None:
        raise RuntimeError("as the test wants it")

    bench.bob.settle = broken  # type: ignore[method-assign]
    bench.hub.behind |= {bench.bob, bench.carol}
    await bench.tell(hint(1))
    await until(lambda: bench.carol.settled == 1, "the other one is settled")
    assert bench.bob.ends == [1011]
    await bench.tell(hint(2))
    await bench.hears(1, 2)


async def test_while_the_server_is_away_it_knocks_and_reads_on_when_it_is_back(
    remote: Bench, proxy: RedisProxy
) -> None:
    proxy.refusing = True
    assert proxy.cut() >= 1
    await until(lambda: proxy.refused >= 3, "it knocks")
    rechecks = remote.host.rechecks
    proxy.refusing = False
    await changed(lambda: remote.host.rechecks, rechecks, "the recheck")
    await remote.tell(hint(1))
    await remote.hears(1)


async def test_a_network_that_swallows_every_answer_is_noticed(remote: Bench, proxy: RedisProxy) -> None:
    resyncs = total(READER_RESYNCS)
    proxy.lose_answers = True
    await changed(lambda: total(READER_RESYNCS), resyncs, "it has noticed")
    assert proxy.lost_bytes
    proxy.lose_answers = False
    await changed(lambda: remote.host.rechecks, 1, "the recheck")
    await remote.tell(hint(1))
    await remote.hears(1)
