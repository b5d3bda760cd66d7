"""A Sentinel group: the service follows the primary, by itself, whatever happened to the old one."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from scripts.lab.ports import free_port
from scripts.lab.sentinel_group import SentinelGroup
from scripts.lab.timing import PATIENCE, POLL, UNIT
from service.core.errors import Unavailable
from service.core.sending import AppendStatus
from service.store.address import parse
from service.store.client import REST_CONNECTIONS, Clients
from service.store.link import Link, Wait
from service.store.sentinel import Sentinels
from tests.store.conftest import Server, Store

SHORT = 2 * UNIT
"""Seconds of the socket time-out: a paused primary is noticed soon."""


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    group = SentinelGroup(tmp_path_factory.mktemp("sentinel"))
    group.start()
    yield group
    group.stop()


@pytest.fixture
async def store(group: SentinelGroup) -> AsyncIterator[Store]:
    await asyncio.to_thread(group.flush)
    clients = Clients(Server(group.url, SHORT))
    yield Store(clients, real=True)
    await clients.aclose()


async def sent_at_last(store: Store, id: str) -> AppendStatus:
    """Sends with the same id until it is accepted, as clients do."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            try:
                return (await store.send(id)).status
            except Unavailable:
                await asyncio.sleep(POLL)


async def test_the_primary_is_found_and_named(store: Store, group: SentinelGroup) -> None:
    assert (await store.send("m1")).status is AppendStatus.APPENDED
    [(address, link)] = await store.clients.beat.primaries()
    assert address == f"127.0.0.1:{group.primary}"
    assert (await link.run("ROLE"))[0] in (b"master", "master")


async def test_all_connections_of_a_link_can_look_for_the_primary_at_once(store: Store) -> None:
    await asyncio.gather(*(store.clients.rest.run("PING") for _ in range(REST_CONNECTIONS)))


async def test_after_the_loss_of_the_primary_what_two_replicas_had_is_still_there(
    store: Store, group: SentinelGroup
) -> None:
    store.appends.wait = Wait(("WAIT", 2, int(SHORT * 800)), 2)
    assert await sent_at_last(store, "m1") is AppendStatus.APPENDED
    old = await asyncio.to_thread(group.kill_primary)
    with pytest.raises(Unavailable):
        await store.send("m2")
    store.appends.wait = Wait(("WAIT", 1, int(SHORT * 800)), 1)  # one replica is left
    assert await sent_at_last(store, "m2") in (AppendStatus.APPENDED, AppendStatus.DUPLICATE)
    new = await asyncio.to_thread(group.await_failover, old)
    rows = await store.clients.rest.run("XRANGE", "chat:inbox:{bob}", "-", "+")
    assert [id.partition(b"-")[2] for id, _ in rows] == [b"1", b"2"]
    [(address, _)] = await store.clients.beat.primaries()
    assert address == f"127.0.0.1:{new}"
    await asyncio.to_thread(group.restart, old)
    await asyncio.to_thread(group.await_replicas)


async def test_an_old_primary_that_only_paused_is_left_when_the_sentinels_name_another(
    store: Store, group: SentinelGroup
) -> None:
    assert await sent_at_last(store, "m1") is AppendStatus.APPENDED
    await store.clients.beat.primaries()
    old = await asyncio.to_thread(group.pause_primary)
    new = await asyncio.to_thread(group.await_failover, old)
    group.server(old).resume()
    # Connections to the old one may still answer as long as it has not been told: the look at the sentinels ends that.
    [(address, _)] = await store.clients.beat.primaries()
    assert address == f"127.0.0.1:{new}"
    assert await sent_at_last(store, "m2") in (AppendStatus.APPENDED, AppendStatus.DUPLICATE)
    info = await store.clients.write.run("INFO", "server")
    assert info["tcp_port"] == new
    await asyncio.to_thread(group.await_replicas)


async def ports_of_both(link: Link) -> list[int]:
    """Where the two connections of a link lead."""
    answers = await asyncio.gather(*(link.exchange([("INFO", "server")]) for _ in range(2)))
    return [int(answer.partition(b"tcp_port:")[2].split()[0]) for [answer] in answers]


async def test_after_a_time_out_no_connection_leads_to_the_old_primary(store: Store, group: SentinelGroup) -> None:
    """Or one worker would write to two servers, once the old one goes on."""
    write = store.clients.write
    assert await sent_at_last(store, "m1") is AppendStatus.APPENDED
    old = group.primary
    assert await ports_of_both(write) == [old, old]
    group.pause_primary()
    try:
        new = await asyncio.to_thread(group.await_failover, old)
        with pytest.raises(Unavailable):
            await write.exchange([("PING",)])  # the other connection has heard of nothing
        assert await ports_of_both(write) == [new, new]
    finally:
        group.server(old).resume()
    await asyncio.to_thread(group.await_replicas)


@pytest.mark.parametrize("scheme", ("redis", "rediss"))
async def test_without_a_sentinel_it_is_unavailable(scheme: str) -> None:
    clients = Clients(Server(f"{scheme}+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/mine"))
    with pytest.raises(Unavailable, match="no sentinel names a primary of mine"):
        await clients.rest.run("PING")
    with pytest.raises(Unavailable):
        await clients.beat.primaries()
    await clients.aclose()


async def test_one_sentinel_that_is_gone_changes_nothing(group: SentinelGroup) -> None:
    sentinels = Sentinels(parse(group.url.replace("redis+sentinel://", f"redis+sentinel://127.0.0.1:{free_port()},")))
    assert await sentinels.primary() == ("127.0.0.1", group.primary)
    await sentinels.aclose()


async def test_a_group_nobody_knows_has_no_primary(group: SentinelGroup) -> None:
    clients = Clients(Server(group.url.rpartition("/")[0] + "/other"))
    with pytest.raises(Unavailable, match="primary of other"):
        await clients.rest.run("PING")
    await clients.aclose()
