"""Liveness: beats, canaries, and a readiness that does not lie."""

import asyncio
from typing import Any

import pytest

from scripts.lab.ports import free_port
from scripts.lab.proxy import RedisProxy
from service.core.sending import UNAVAILABLE
from service.delivery.liveness import Liveness
from service.delivery.worker import Worker
from service.telemetry import IDENTITIES, READER_RESYNCS
from tests.delivery.conftest import Start
from tests.delivery.rig import (
    NEVER,
    a_message,
    accepted,
    connect,
    ended,
    ready,
    send,
    submit,
    total,
    troubled,
    until,
    until_stored,
    within,
)


async def counter(store: Any, worker: str) -> int:
    return int(await store.hget("chat:workers", worker))


async def test_it_beats_and_says_who_it_is_by_the_servers_clock(worker: Worker, store: Any) -> None:
    first = await counter(store, worker.id)

    async def beaten() -> bool:
        return await counter(store, worker.id) >= first + 3

    await until_stored(beaten, "three beats")
    about = await store.hgetall(f"chat:about:{{{worker.id}}}")
    assert set(about) == {"host", "pid", "version", "started", "connections", "beat_at", "position"}
    seconds, micros = await store.time()
    now = seconds * 1000 + micros // 1000
    assert abs(now - int(about["beat_at"])) < 10_000
    assert abs(now - worker.now_ms()) < 1_000
    await connect(worker)

    async def counted() -> bool:
        return bool(await store.hget(f"chat:about:{{{worker.id}}}", "connections") == "1")

    await until_stored(counted, "the connection in about")
    assert ready(worker)


@pytest.mark.parametrize("how", ("called dead", "forgotten"))
async def test_a_worker_whose_name_no_longer_counts_takes_another_and_all_its_claims_with_it(
    start: Start, store: Any, how: str
) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    clients = [await connect(worker, user) for user in ("bob", "carol")]
    old, identities = worker.id, total(IDENTITIES)
    if how == "called dead":
        await store.hset("chat:workers", old, "dead")
    else:
        await store.hdel("chat:workers", old)
    await until(lambda: total(IDENTITIES) > identities, "the new name")
    assert worker.id != old
    for client in clients:
        row = f"{worker.id}/{client.claim.session}/0"

        async def claimed(user: str = client.user, row: str = row) -> bool:
            return bool(await store.hgetall(f"chat:presence:{{{user}}}") == {"phone": row})

        await until_stored(claimed, "the claim under the new name")
    await until(lambda: ready(worker), "ready under the new name")
    for client in clients:
        for n in range(1, 50):  # the first ones may come while its reader still looks for its place
            await send(other, a_message(f"m{n}", client.user))
            await client.come(n)
            if not client.of("message")[-1].get("replay"):
                break
        assert not client.of("message")[-1].get("replay"), "found again and again, but never told"
        assert client.closes == []
    assert await store.hget("chat:workers", old) in {"dead", None}


async def test_a_reader_that_hears_nothing_makes_the_canary_late_and_the_worker_unready(start: Start) -> None:
    worker = await start()
    await until(lambda: ready(worker), "ready")
    trouble = troubled(worker.streams, "read")
    trouble.gate.clear()
    await until(lambda: any("canary" in problem for problem in worker.problems()), "a late canary")
    assert trouble.calls == 1
    await until(lambda: worker.reader._resync, "its reader is told")
    resyncs = total(READER_RESYNCS)
    trouble.gate.set()
    await until(lambda: ready(worker), "ready again")
    await until(lambda: total(READER_RESYNCS) > resyncs, "it has looked for its place again")


async def test_a_dead_reader_makes_the_worker_unready_by_name(start: Start) -> None:
    worker = await start(may_die=True)
    worker.tasks.get("reader").cancel()
    await until(lambda: worker.tasks.dead == ["reader"], "the death")
    assert "the reader has died" in worker.problems()


async def test_while_the_server_is_away_it_is_unready_and_then_catches_up(start: Start, proxy: RedisProxy) -> None:
    cut_off, other = await start(proxy.url, audit_interval=NEVER), await start()
    client = await connect(cut_off)
    proxy.refusing = True
    assert proxy.cut() >= 1
    await until(lambda: not ready(cut_off), "unready")
    await until(lambda: proxy.refused >= 3, "it knocks")
    assert "the server cannot be reached" in cut_off.problems()
    await send(other, a_message("m1"))
    assert client.ids == []
    proxy.refusing = False
    await until(lambda: ready(cut_off), "ready again")
    await client.come(1)
    assert client.closes == []


@pytest.mark.usefixtures("redis_server")
async def test_a_server_that_has_become_a_replica_makes_the_worker_unready_and_a_new_history_is_noticed(
    worker: Worker, store: Any
) -> None:
    client = await connect(worker)
    await send(worker, a_message("m1"))
    await client.come(1)
    resyncs = total(READER_RESYNCS)
    await store.replicaof("127.0.0.1", free_port())
    try:
        await until(lambda: not ready(worker), "unready")
        answer = await within(submit(worker.committer, a_message("m2")), "an answer")
        assert answer is UNAVAILABLE
    finally:
        await store.replicaof("NO", "ONE")
    await until(lambda: ready(worker), "ready again")
    await until(lambda: total(READER_RESYNCS) > resyncs, "the reader looks for its place")
    await until(lambda: not worker.committer.down, "the server is found again")
    await send(worker, a_message("m2"))
    await client.come(2)


class Host:
    """A worker as far as its liveness knows it; `history` is the server's replication id."""

    connections = 0
    position = ""

    def __init__(self, id: str) -> None:
        self.id = id
        self.history = "h-1"
        self.changes = 0
        self.beats: list[bool] = []

    async def take_identity(self) -> None:
        raise AssertionError("nobody has called it dead")

    def beaten(self, beating: bool) -> None:
        self.beats.append(beating)

    async def inspect(self) -> str:
        return self.history

    def changed(self) -> None:
        self.changes += 1

    def deaf(self) -> None:
        return


async def test_another_history_behind_the_same_address_is_a_change_and_so_is_a_server_that_was_away(
    worker: Worker,
) -> None:
    host = Host(worker.id)
    liveness = Liveness(host, worker.presence, NEVER, "1")
    await liveness.beat()
    await liveness.beat()
    assert host.changes == 0
    host.history = "h-2"
    await liveness.beat()
    await liveness.beat()
    assert host.changes == 1
    beats = troubled(worker.presence, "beat")
    beats.before = 1
    running = asyncio.create_task(liveness.run())
    await until(lambda: not liveness.reachable, "the failed beat")
    await ended(running)
    assert host.beats == [True] * 4 + [False]
    await liveness.beat()
    assert (host.changes, liveness.reachable) == (2, True)


async def test_settings_that_break_the_promise_make_it_unready_until_they_are_repaired(
    worker: Worker, store: Any
) -> None:
    await store.config_set("maxmemory-policy", "allkeys-lru")
    try:
        await until(lambda: any("maxmemory-policy" in problem for problem in worker.problems()), "unready")
    finally:
        await store.config_set("maxmemory-policy", "noeviction")
    await until(lambda: ready(worker), "ready again")


async def test_what_is_no_longer_as_durable_as_asked_for_is_not_accepted(start: Start, store: Any) -> None:
    worker = await start(durability="fsynced")
    assert worker.durability == "fsynced"
    await store.config_set("appendonly", "no")
    try:
        await until(lambda: any("fsynced" in problem for problem in worker.problems()), "unready")
        assert await within(submit(worker.committer, a_message("m1")), "an answer") is UNAVAILABLE
        assert not await store.exists("chat:inbox:{bob}")
    finally:
        await store.config_set("appendonly", "yes")

    async def written() -> bool:
        return not (await store.info("persistence"))["aof_rewrite_in_progress"]

    await until_stored(written, "the file is written anew")
    await until(lambda: ready(worker), "ready again")
    assert accepted(await within(submit(worker.committer, a_message("m1")), "an answer")).seq == 1


@pytest.mark.usefixtures("redis_server")
async def test_where_the_server_answers_before_it_fsyncs_acceptances_wait_for_that(start: Start, store: Any) -> None:
    """From the very change on: no heartbeat has to notice it first."""
    worker = await start(durability="fsynced", heartbeat=NEVER, dead_after=2 * NEVER)
    await store.config_set("appendfsync", "everysec")
    try:
        await store.config_resetstat()
        answers = [submit(worker.committer, a_message(f"m{n}")) for n in range(500)]
        cursors = [accepted(answer).seq for answer in await within(asyncio.gather(*answers), "answers")]
        assert cursors == list(range(1, 501))
        assert (await store.info("commandstats"))["cmdstat_waitaof"]["calls"] <= 2, "one wait for many batches"
    finally:
        await store.config_set("appendfsync", "always")


@pytest.mark.usefixtures("redis_server")
async def test_without_its_replica_nothing_is_accepted_as_replicated(start: Start, store: Any) -> None:
    worker = await start(durability="replicated:1")
    assert worker.problems() == ["replicated:1 was asked for, but 0 replicas are connected"]
    assert await within(submit(worker.committer, a_message("m1")), "an answer") is UNAVAILABLE
    assert not await store.exists("chat:inbox:{bob}")


@pytest.mark.usefixtures("redis_server")
async def test_with_auto_durability_answers_say_what_the_server_gives_now(worker: Worker, store: Any) -> None:
    assert worker.durability == "fsynced"
    await store.config_set("appendfsync", "everysec")
    try:
        await until(lambda: worker.durability == "appended", "the lower level")
        assert ready(worker)
    finally:
        await store.config_set("appendfsync", "always")
    await until(lambda: worker.durability == "fsynced", "the higher level")


async def test_a_stream_that_was_deleted_is_there_again_after_a_beat(worker: Worker, other: Worker, store: Any) -> None:
    client = await connect(worker)
    assert await store.delete(f"chat:worker:{{{worker.id}}}") == 1

    async def there() -> bool:
        return bool(await store.exists(f"chat:worker:{{{worker.id}}}"))

    await until_stored(there, "the stream")
    await until(lambda: ready(worker), "ready")
    await send(other, a_message("m1"))
    await client.come(1)
