"""The group fails over for real, and its members come back as what they should be."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from scripts.lab.sentinel_group import NAME, SentinelGroup


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    group = SentinelGroup(tmp_path_factory.mktemp("group"))
    group.start()
    yield group
    group.stop()


def test_what_the_primary_stores_its_replicas_have(group: SentinelGroup) -> None:
    with group.client() as client:
        client.set("told", "all")
        assert client.wait(2, 5000) == 2
    assert [server.do("GET", "told") for server in group.replicas] == ["all", "all"]
    assert all(server.do("CONFIG", "GET", "appendonly") == {"appendonly": "yes"} for server in group.servers)


def test_a_client_of_the_sentinels_finds_the_primary_by_the_url(group: SentinelGroup) -> None:
    hosts, _, name = group.url.removeprefix("redis+sentinel://").partition("/")
    assert name == NAME
    sentinels = [(host, int(port)) for host, _, port in (pair.partition(":") for pair in hosts.split(","))]
    finder: Any = redis.Sentinel(sentinels)  # type: ignore[no-untyped-call]
    assert finder.discover_master(name) == ("127.0.0.1", group.primary)
    for sentinel in finder.sentinels:
        sentinel.close()


def test_a_killed_primary_is_replaced_and_comes_back_as_a_replica(group: SentinelGroup) -> None:
    with group.client() as client:
        client.set("kept", "yes")
        client.wait(2, 5000)
    old = group.kill_primary()
    assert not group.server(old).is_running
    new = group.await_failover(old)
    assert new != old
    assert group.server(new).do("GET", "kept") == "yes"
    group.restart(old)
    assert group.server(old).do("ROLE")[0] == "slave"
    group.await_replicas()


def test_a_paused_primary_is_deposed_and_learns_of_it_when_it_goes_on(group: SentinelGroup) -> None:
    old = group.pause_primary()
    new = group.await_failover(old)
    group.server(old).resume()
    group.await_replicas()
    assert group.primary == new
    assert group.server(old).do("ROLE")[0] == "slave"
