"""The announcer: hints for other workers. None is worth a message, and none is lost without being counted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from service.core.cursor import Cursor
from service.delivery import announcer as module
from service.delivery.announcer import Announcer
from service.store.client import Clients
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.presence import Claim, Presence
from service.store.worker_stream import Hint, WorkerStreams, read_field
from service.telemetry import HINTS_DROPPED, HINTS_SENT, STALE_CLAIMS
from tests.delivery.rig import Trouble, ended, quick, total, troubled, until, until_stored


@dataclass
class Bench:
    """A running announcer. `trouble`: of its flights."""

    announcer: Announcer
    presence: Presence
    streams: WorkerStreams
    trouble: Trouble

    async def hold(self) -> None:
        """A first hint is in flight and stays there."""
        self.trouble.gate.clear()
        self.announcer.add("w-first", hint(1), [])
        await until(lambda: self.trouble.calls == 1, "the first flight")

    async def lands(self) -> None:
        """Lets flights go and waits until nothing gathers or flies."""
        self.trouble.gate.set()
        flights = self.trouble.calls + 1
        await until(lambda: self.trouble.calls >= flights, "a flight")
        await until(lambda: not self.announcer._waiting and self.trouble.landed == self.trouble.calls, "its landing")


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    settings = quick(redis_url)
    clients, keys = Clients(settings), Keys(settings.prefix)
    presence = Presence(clients.rest, keys, Limits(100, 100, 3600, 3600, 60))
    streams = WorkerStreams(clients.rest, clients.read, keys)
    announcer = Announcer(streams, presence)
    trouble = troubled(streams, "announce")
    task = asyncio.create_task(announcer.run())
    yield Bench(announcer, presence, streams, trouble)
    died = task.done()
    result = await ended(task)
    await clients.aclose()
    assert not died, f"the announcer has died: {result}"


def hint(seq: int, user: str = "bob", tail: bytes | None = b"{}") -> Hint:
    return Hint(user, Cursor(1000 + seq - 1, seq - 1), Cursor(1000 + seq, seq), tail)


async def heard(store: Any, worker: str) -> list[list[str]]:
    """Per entry of a worker's stream its fields' names, canaries left out."""
    entries = await store.xrange(f"chat:worker:{{{worker}}}")
    return [list(fields) for _, fields in entries if "!canary" not in fields]


@pytest.mark.parametrize(("members", "fields"), ((1, 1), (300, 1), (301, 2), (1000, 4)))
async def test_an_entry_of_many_inboxes_is_few_fields_that_name_them_all(
    bench: Bench, store: Any, members: int, fields: int
) -> None:
    await bench.streams.position("w-a")
    users = [f"{'u' * 120}{n}" for n in range(members)]
    bench.announcer.add_shared("w-a", [hint(7, user, b'{"type":"message"}') for user in users], [])
    await bench.lands()
    entries = await heard(store, "w-a")
    names = [name for entry in entries for name in entry]
    assert len(names) == fields
    assert max(map(len, names)) < module.ENTRY_BYTES
    events = [event for name in names for event in read_field(name.encode(), b'{"type":"message"}')]
    assert events == [hint(7, user, b'{"type":"message"}') for user in users]


async def test_what_gathers_during_a_flight_is_one_entry_per_worker(bench: Bench, store: Any) -> None:
    for worker in ("w-a", "w-b"):
        await bench.streams.position(worker)
    await bench.hold()
    for seq in range(1, 31):
        bench.announcer.add("w-a", hint(seq), [])
        bench.announcer.add("w-b", hint(seq, "carol", None), [])
    before = total(HINTS_SENT)
    await bench.lands()
    assert bench.trouble.calls == 2, "flights"
    [to_a] = await heard(store, "w-a")
    [to_b] = await heard(store, "w-b")
    assert to_a == [f"bob/{1000 + seq - 1}-{seq - 1}/{1000 + seq}-{seq}" for seq in range(1, 31)]
    assert len(to_b) == 30
    assert to_b[0].startswith("carol/")
    assert total(HINTS_SENT) >= before + 60


async def test_an_entry_holds_about_64_kib_of_hints_and_order_holds(bench: Bench, store: Any) -> None:
    await bench.streams.position("w-a")
    await bench.hold()
    for seq in range(1, 201):
        bench.announcer.add("w-a", hint(seq, tail=b"{%s}" % (b" " * 990)), [])
    await bench.lands()
    entries = await heard(store, "w-a")
    assert bench.trouble.calls == 2, "flights"
    assert [len(fields) for fields in entries] == [65, 65, 65, 5]
    seqs = [int(name.rpartition("-")[2]) for fields in entries for name in fields]
    assert seqs == list(range(1, 201))


async def test_a_worker_that_is_gone_gets_no_stream_and_exactly_the_claims_that_named_it_are_released(
    bench: Bench, store: Any
) -> None:
    gone = Claim("bob", "phone", "w-gone", "s-1", 7)
    stays = Claim("bob", "laptop", "w-here", "s-2")
    for claim in (gone, stays):
        assert await bench.presence.claim(claim)
    await bench.streams.position("w-here")
    before = total(STALE_CLAIMS)
    bench.announcer.add("w-gone", hint(1), [("bob", "phone", gone.row)])
    bench.announcer.add("w-here", hint(1), [("bob", "laptop", stays.row)])
    await bench.lands()
    await until(lambda: total(STALE_CLAIMS) == before + 1, "the stale claim")

    async def only_one_left() -> bool:
        return bool(await store.hgetall("chat:presence:{bob}") == {"laptop": stays.row})

    await until_stored(only_one_left, "the release")
    assert await store.hget("chat:state:{bob}", "online") == "1"
    assert not await store.exists("chat:worker:{w-gone}")
    assert len(await heard(store, "w-here")) == 1


async def test_the_last_claim_released_leaves_the_user_offline(bench: Bench, store: Any) -> None:
    claim = Claim("bob", "phone", "w-gone", "s-1")
    assert await bench.presence.claim(claim)
    assert await store.hget("chat:state:{bob}", "online") == "1"
    bench.announcer.add("w-gone", hint(1), [("bob", "phone", claim.row)])

    async def offline() -> bool:
        return bool(await store.hget("chat:state:{bob}", "online") == "0")

    await until_stored(offline, "offline")


async def test_a_device_that_has_connected_elsewhere_since_keeps_its_claim(bench: Bench, store: Any) -> None:
    old, new = Claim("bob", "phone", "w-gone", "s-1"), Claim("bob", "phone", "w-here", "s-2")
    assert await bench.presence.claim(old)
    assert await bench.presence.claim(new)
    before = total(STALE_CLAIMS)
    bench.announcer.add("w-gone", hint(1), [("bob", "phone", old.row)])
    await bench.lands()
    await until(lambda: total(STALE_CLAIMS) == before + 1, "the attempt to release")
    bench.announcer.add("w-gone", hint(2), [])  # only when this has flown the release before is over
    await bench.lands()
    assert await store.hgetall("chat:presence:{bob}") == {"phone": new.row}


async def test_too_many_hints_for_one_worker_are_dropped_and_counted_and_others_get_theirs(
    bench: Bench, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    for worker in ("w-slow", "w-other"):
        await bench.streams.position(worker)
    await bench.hold()
    before = total(HINTS_DROPPED)
    for seq in range(1, 16):
        bench.announcer.add("w-slow", hint(seq), [])
    bench.announcer.add("w-other", hint(1), [])
    assert total(HINTS_DROPPED) == before + 5
    await bench.lands()
    assert [len(fields) for fields in await heard(store, "w-slow")] == [10]
    assert [len(fields) for fields in await heard(store, "w-other")] == [1]


async def test_hints_that_fail_with_the_server_are_counted_and_the_next_ones_fly(bench: Bench, store: Any) -> None:
    await bench.streams.position("w-a")
    await bench.hold()
    bench.trouble.before = 1
    before = total(HINTS_DROPPED)
    bench.trouble.gate.set()
    await until(lambda: total(HINTS_DROPPED) == before + 1, "the count")
    assert bench.trouble.failed == 1
    bench.announcer.add("w-a", hint(2), [])
    await bench.lands()
    assert [len(fields) for fields in await heard(store, "w-a")] == [1]


async def test_hints_that_the_server_refuses_are_counted_as_dropped_not_as_sent(bench: Bench, store: Any) -> None:
    await bench.streams.position("w-a")
    claim = Claim("bob", "phone", "w-a", "s-1")
    assert await bench.presence.claim(claim)
    before, sent = total(HINTS_DROPPED), total(HINTS_SENT)
    await store.config_set("maxmemory", "1")
    try:
        for seq in (1, 2, 3):
            bench.announcer.add("w-a", hint(seq), [("bob", "phone", claim.row)])
        await bench.lands()
    finally:
        await store.config_set("maxmemory", "0")
    assert await heard(store, "w-a") == [], "the server took them after all"
    assert total(HINTS_DROPPED) == before + 3
    assert total(HINTS_SENT) == sent
    assert await store.hgetall("chat:presence:{bob}") == {"phone": claim.row}, "the worker is there all the same"


async def test_hints_for_a_worker_that_is_gone_are_not_counted_as_sent(bench: Bench) -> None:
    sent = total(HINTS_SENT)
    bench.announcer.add("w-gone", hint(1), [])
    await bench.lands()
    assert total(HINTS_SENT) == sent
