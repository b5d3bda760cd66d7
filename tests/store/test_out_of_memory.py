"""A server out of memory: sends are refused, and everything that frees memory or lets a device in goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.redis_server import RedisServer
from service.core.errors import Unavailable
from service.core.sending import AppendStatus
from service.store.client import Clients
from service.store.inbox import AckStatus
from service.store.presence import Claim
from tests.store.conftest import Server, Store, message

CLAIM = Claim("bob", "phone", "w-1", "s-1")


@pytest.fixture
async def full(real_store: Store, redis_server: RedisServer) -> AsyncIterator[Store]:
    """A store with 300 entries for Bob, whose server then has no memory left."""
    await real_store.fill(300)
    await real_store.presence.enter("w-1")
    with redis_server.client() as client:
        client.config_set("maxmemory", "1mb")
        yield real_store
        client.config_set("maxmemory", "0")


async def test_a_send_is_unavailable_and_writes_nothing(full: Store) -> None:
    before = await full.entries()
    with pytest.raises(Unavailable, match="OutOfMemory"):
        await full.append([message("m1"), message("m2", "carol")], own_copy=True)
    assert await full.entries() == before
    assert await full.entries("carol") == []


async def test_a_repeat_is_unavailable_too_rather_than_answered_without_a_write(full: Store) -> None:
    with pytest.raises(Unavailable):
        await full.send("f0")


async def test_acks_are_stored_and_trim(full: Store) -> None:
    last = await full.inboxes.last("bob")
    assert await full.limited(history=1).inboxes.ack([("bob", "phone", last)]) == [AckStatus.MOVED]
    assert len(await full.entries()) <= 100


async def test_devices_connect_and_leave(full: Store) -> None:
    assert await full.presence.claim(CLAIM) is not None
    assert await full.presence.claim(CLAIM, again=True) is not None
    assert (await full.presence.register("bob", "laptop")).stored.seq == 0
    assert await full.presence.release(CLAIM)
    assert await full.presence.claims_of("w-1") == []


async def test_workers_live_and_are_called_dead(full: Store) -> None:
    assert await full.presence.beat("w-1")
    await full.presence.pulse("w-1", {"host": "h"}, 1)
    assert await full.streams.position("w-1")
    assert await full.presence.reap("w-1", "1")
    await full.presence.forget("w-1")


async def test_pages_are_read(full: Store) -> None:
    page = await full.inboxes.page("bob", "phone", await full.inboxes.last("bob"), 10, now_ms=0)
    assert page.found


async def test_hints_are_refused_and_said_to_be(full: Store) -> None:
    await full.streams.position("w-1")
    with pytest.raises(Unavailable):
        await full.streams.announce([("w-1", [("!kick", "bob")]), ("w-2", [("!kick", "bob")])])


async def test_in_a_cluster_a_full_node_keeps_no_hint_from_the_others(tmp_path: Path) -> None:
    group = ClusterGroup(tmp_path, primaries=2)
    group.start()
    clients = Clients(Server(group.url))
    try:
        store = Store(clients, real=True)
        home = group.node_of(store.keys.worker("w-1"))
        [near, *_] = [f"w-{n}" for n in range(2, 99) if group.node_of(store.keys.worker(f"w-{n}")) == home]
        [far, *_] = [f"w-{n}" for n in range(2, 99) if group.node_of(store.keys.worker(f"w-{n}")) != home]
        for worker in ("w-1", far):
            await store.streams.position(worker)
        group.server(group.node_of(store.keys.worker(far))).do("CONFIG SET", "maxmemory", "1")
        kick = [("!kick", "bob")]
        assert await store.streams.announce([("w-1", kick), (far, kick), (near, kick)]) == [True, False, None]
        with pytest.raises(Unavailable, match="OutOfMemory"):
            await store.streams.announce([(far, kick)])
    finally:
        await clients.aclose()
        group.stop()


async def test_with_memory_again_the_same_send_is_accepted(full: Store, redis_server: RedisServer) -> None:
    with pytest.raises(Unavailable):
        await full.send("m1")
    with redis_server.client() as client:
        client.config_set("maxmemory", "0")
    assert (await full.send("m1")).status is AppendStatus.APPENDED
