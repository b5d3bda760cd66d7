"""The audit: whatever hint, notice or claim was lost costs one interval of it, and no message."""

import asyncio
from itertools import chain
from typing import Any

from scripts.lab.proxy import LostHints, RedisProxy, prepare
from scripts.lab.redis_server import RedisServer
from service.core.cursor import START, Cursor
from service.delivery.audit import SLICE, Audit
from service.delivery.hub import Hub
from service.delivery.worker import Worker
from service.store.presence import Claim
from service.telemetry import AUDIT_FOUND, AUDIT_RECLAIMED, REPLACED
from tests.delivery.conftest import Start
from tests.delivery.rig import (
    NEVER,
    Client,
    a_message,
    connect,
    ended,
    send,
    store_quietly,
    ticks,
    total,
    troubled,
    until,
    until_stored,
    within,
)
from tests.delivery.test_hub import Sub

PRESENCE = "chat:presence:{bob}"


async def test_an_entry_that_nobody_was_told_of_is_found(worker: Worker) -> None:
    client = await connect(worker)
    before = total(AUDIT_FOUND)
    await store_quietly(worker, a_message("m1"), a_message("m2"))
    await client.come(2)
    assert client.ids == ["m1", "m2"]
    assert total(AUDIT_FOUND) > before


async def test_hints_that_the_network_loses_cost_no_message(
    start: Start, proxy: RedisProxy, redis_server: RedisServer
) -> None:
    here, there = await start(), await start(proxy.url)
    client = await connect(here)
    with redis_server.client() as blocking:
        prepare(blocking, [here.id])
    lost = proxy.filter = LostHints()
    await send(there, a_message("m1"), a_message("m2"))
    await client.come(2)
    assert lost.count > 0, "no hint was lost"
    assert client.ids == ["m1", "m2"]


async def test_a_claim_that_is_lost_is_taken_again(worker: Worker, other: Worker, store: Any) -> None:
    client = await connect(worker)
    before = total(AUDIT_RECLAIMED)
    await store.delete(PRESENCE)
    await store.hset("chat:state:{bob}", "online", "0")

    async def back() -> bool:
        return bool(await store.hgetall(PRESENCE) == {"phone": client.claim.row})

    await until_stored(back, "the claim")
    assert total(AUDIT_RECLAIMED) == before + 1
    assert await store.hget("chat:state:{bob}", "online") == "1"
    await send(other, a_message("m1"))
    await client.come(1)
    assert client.closes == []


async def test_a_session_whose_device_is_claimed_by_a_newer_one_is_closed(worker: Worker, store: Any) -> None:
    client = await connect(worker)
    before = total(REPLACED)
    newer = Claim("bob", "phone", "w-elsewhere", "s-newer")
    assert await worker.presence.claim(newer)  # nobody tells the older one
    assert await client.closed() == 4509
    assert total(REPLACED) == before + 1
    await within(worker.releaser.drained(), "the release")
    assert await store.hgetall(PRESENCE) == {"phone": newer.row}


async def test_history_that_the_server_lost_is_noticed_and_told(worker: Worker, store: Any) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(3)))
    client = await connect(worker)
    client.ack(cursors[1])
    await within(worker.acker.flush(), "the ack")
    await store.xdel("chat:inbox:{bob}", str(cursors[2]))
    await store.hset("chat:state:{bob}", "last", str(cursors[1]))
    gap = await client.next("gap")
    assert (gap["reason"], gap["after"], gap["cursor"]) == ("rewound", str(cursors[2]), str(cursors[1]))
    assert gap["missing"] is None


async def test_a_device_that_is_being_let_in_is_not_judged(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    claims = troubled(worker.presence, "claim")
    claims.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: claims.calls == 1, "the claim to begin")
    await store.hset(PRESENCE, "phone", "w-elsewhere/s-before/0")
    await worker.audit.look(urgent=True)
    assert client.closes == []
    claims.gate.set()
    await within(opening, "the opening")
    await client.next("live")
    assert client.closes == []


async def test_a_recheck_does_not_wait_for_the_interval(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    client = await connect(worker)
    await store_quietly(worker, a_message("m1"))
    await ticks()
    assert client.ids == []
    worker.recheck()
    await client.come(1)


async def test_when_the_server_fails_everybody_is_looked_at_once_it_does_not(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    client = await connect(worker)
    await store_quietly(worker, a_message("m1"))
    heads = troubled(worker.inboxes, "heads")
    heads.before, heads.after = 2, 1
    worker.recheck()
    await client.come(1)
    assert heads.failed == 3


async def test_a_connected_device_stays_known_without_a_word_from_it(start: Start, store: Any) -> None:
    worker = await start(device_expiry=10)
    await connect(worker)
    first = int(await store.hget("chat:devices:{bob}", "phone"))

    async def seen_again() -> bool:
        return int(await store.hget("chat:devices:{bob}", "phone")) > first

    await until_stored(seen_again, "it is seen again")


class Bench:
    """An audit of its own, over a hub without a server: `slices` are the users asked for in one go."""

    id = "w-1"

    def __init__(self, worker: Worker, interval: float) -> None:
        self.hub = Hub()
        self.slices: list[list[str]] = []
        self.head: tuple[Cursor, dict[str, str]] | None = None
        self.audit = Audit(self, worker.inboxes, worker.presence, self.hub, interval, NEVER)
        worker.inboxes.heads = self.heads  # type: ignore[method-assign]
        worker.inboxes.touch = self.touch  # type: ignore[method-assign]

    def now_ms(self) -> int:
        return 0

    async def heads(self, users: Any) -> list[tuple[Cursor, dict[str, str]]]:
        self.slices.append(list(users))
        return [self.head or (START, {"phone": "w-1/s-1/0"})] * len(users)

    async def touch(self, devices: Any, now_ms: int) -> None:
        return

    def add(self, count: int) -> list[Sub]:
        subs = [Sub(f"user{n}") for n in range(count)]
        for sub in subs:
            self.hub.add(sub)
        return subs


async def test_everybody_is_looked_at_in_slices_of_200_users(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=NEVER)
    subs = bench.add(450)
    await bench.audit.look(urgent=True)
    assert [len(users) for users in bench.slices] == [SLICE, SLICE, 50] == [200, 200, 50]
    assert sorted(chain(*bench.slices)) == sorted(sub.claim.user for sub in subs)
    assert all(len(sub.audits) == 1 for sub in subs)
    assert not any(sub.ends or sub.reclaims for sub in subs)


async def test_the_slices_are_spread_over_the_interval_unless_it_is_urgent(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=NEVER)
    bench.add(450)
    looking = asyncio.create_task(bench.audit.look())
    await until(lambda: len(bench.slices) == 1, "the first slice")
    await ticks()
    assert len(bench.slices) == 1
    bench.audit.recheck()
    await within(looking, "the rest, at once")
    assert len(bench.slices) == 3


async def test_a_claim_under_a_former_name_of_the_worker_is_taken_again(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=NEVER)
    [sub] = bench.add(1)
    sub.claim = Claim(sub.claim.user, "phone", "w-former", "s-1")
    bench.head = (START, {"phone": sub.claim.row})
    await bench.audit.look(urgent=True)
    assert (sub.reclaims, sub.ends) == (1, [])


async def test_whoever_was_claimed_anew_while_the_server_was_asked_is_left_alone(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=NEVER)
    [sub] = bench.add(1)
    bench.head = (START, {"phone": "w-elsewhere/s-2/0"})
    heads = troubled(bench.audit._inboxes, "heads")
    heads.gate.clear()
    looking = asyncio.create_task(bench.audit.look(urgent=True))
    await until(lambda: heads.calls == 1, "the question")
    sub.claim = Claim(sub.claim.user, "phone", "w-1", "s-1", attempt=2)
    heads.gate.set()
    await within(looking, "the look")
    assert (sub.reclaims, sub.ends, sub.audits) == (0, [], [])


async def test_a_session_that_fails_when_it_is_audited_is_ended_and_the_others_are_looked_at(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=NEVER)
    subs = bench.add(3)

    def broken(last: Cursor, before: Cursor) -> None:
        raise RuntimeError("as the test wants it")

    subs[1].on_audit = broken  # type: ignore[method-assign]
    await bench.audit.look(urgent=True)
    assert [sub.ends for sub in subs] == [[], [1011], []]
    assert [len(sub.audits) for sub in subs] == [1, 0, 1]


async def test_running_it_goes_on_from_interval_to_interval(start: Start) -> None:
    bench = Bench(await start(audit_interval=NEVER), interval=0.01)
    bench.add(1)
    task = asyncio.create_task(bench.audit.run())
    await until(lambda: len(bench.slices) >= 5, "five looks")
    assert not task.done()
    await ended(task)
