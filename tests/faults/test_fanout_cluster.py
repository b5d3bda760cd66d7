"""Groups in a Cluster of which a node is killed under the traffic: nobody misses anything, all have one order."""

import asyncio
from collections.abc import Iterator

import pytest

from scripts.lab.cluster_group import ClusterGroup
from service.core.groups import GroupResult
from service.delivery.worker import Worker
from tests.delivery.group_rig import change, has, opens, said, submit
from tests.delivery.rig import quick, running, until, until_stored, within

USERS = ("alice", "bob", "carol", "heidi", "erin", "mallory", "trent", "peggy")  # of several slots, on all three nodes
EACH = 40


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    options = ("--appendfsync", "always", "--cluster-require-full-coverage", "no")
    group = ClusterGroup(tmp_path_factory.mktemp("cluster"), *options, primaries=3, replicas=0)
    group.start()
    yield group
    group.stop()


async def test_a_node_that_is_killed_costs_time_but_no_message_and_no_order(cluster: ClusterGroup) -> None:
    settings = quick(cluster.service_url, dead_after=1.0, heartbeat=0.3)
    store = cluster.async_client(decode_responses=True)
    try:
        async with running(settings) as one, running(settings) as other:
            await change(one, "put", *USERS[1:])
            done: list[int] = []
            talks = [
                asyncio.create_task(talk(worker, sender, done)) for worker, sender in ((one, "alice"), (other, "bob"))
            ]
            await until(lambda: len(done) >= EACH // 2, "messages flow")
            for lost in {cluster.node_of("chat:group:{team}"), cluster.node_of("chat:inbox:{bob}")}:
                before = len(done)
                await asyncio.to_thread(cluster.kill, lost)
                await asyncio.sleep(settings.redis_timeout)  # meanwhile nothing can be in everywhere
                assert len(done) <= before + 2, "what was on its way had its answer"
                await asyncio.to_thread(cluster.server(lost).start)
                await asyncio.to_thread(cluster.await_ok)
            refused = sum(await within(asyncio.gather(*talks), "all are in"))
            assert refused > 0, "the fault was felt"
            await until_stored(lambda: nothing_open(store), "nothing is left open")
            seen = await has(store, "alice")
            assert [row.partition(" ")[0] for row in seen] == [str(n) for n in range(1, 2 * EACH + 2)]
            for sender in ("alice", "bob"):
                ids = [row.partition(" ")[2] for row in seen]
                assert [id for id in ids if id.startswith(sender)] == [f"{sender}-{n}" for n in range(EACH)]
            for user in USERS:
                assert await has(store, user) == seen
    finally:
        await store.aclose()


async def talk(worker: Worker, sender: str, done: list[int]) -> int:
    """Sends one after the other, each until it is in; how often it was refused."""
    refused = 0
    for n in range(EACH):
        while not isinstance(result := await submit(worker.fanout, said(f"{sender}-{n}", sender)), GroupResult):
            assert result.code == "unavailable"
            refused += 1
            await asyncio.sleep(0.02)
        done.append(result.number)
        await asyncio.sleep(0.02)
    return refused


async def nothing_open(store: object) -> bool:
    return await opens(store) == []
