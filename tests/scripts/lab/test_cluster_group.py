"""The Cluster is one: slots lie where they are said to, move, and outlive their primary."""

from collections.abc import Iterator

import pytest
import redis
from redis.crc import key_slot

from scripts.lab.cluster_group import ClusterGroup


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    group = ClusterGroup(tmp_path_factory.mktemp("cluster"), replicas=1)
    group.start()
    yield group
    group.stop()


def another(group: ClusterGroup, port: int) -> int:
    return next(other for other in group.primaries() if other != port)


def test_each_primary_has_a_share_of_the_slots_and_a_replica(group: ClusterGroup) -> None:
    assert len(group.primaries()) == 3
    assert sum(last - first + 1 for first, last, _ in group.ranges()) == 16384
    assert [len(group.replicas_of(port)) for port in group.primaries()] == [1, 1, 1]


def test_a_key_is_at_the_node_that_is_named_and_nowhere_else(group: ClusterGroup) -> None:
    with group.client() as client:
        client.set("where", "here")
    home = group.node_of("where")
    assert group.server(home).do("GET", "where") == "here"
    with pytest.raises(redis.exceptions.MovedError):
        group.server(another(group, home)).do("GET", "where")


def test_while_a_slot_moves_key_by_key_clients_are_asked_and_then_moved(group: ClusterGroup) -> None:
    keys = [f"{n}{{moving}}" for n in range(3)]
    with group.client() as client:
        for key in keys:
            client.set(key, "kept")
    slot, source = key_slot(b"moving"), group.node_of("{moving}")
    target = another(group, source)
    seen: list[str] = []

    def between(step: str) -> None:
        if step == "key":
            with pytest.raises(redis.exceptions.AskError):
                group.server(source).do("GET", "none{moving}")
            with group.client() as client:
                assert [client.get(key) for key in keys] == ["kept"] * 3
        seen.append(step)

    assert group.move_slot(slot, target, between) == 3
    assert seen[:6] == ["importing", "migrating", "key", "key", "key", "emptied"]
    assert group.node_of("{moving}") == target
    with pytest.raises(redis.exceptions.MovedError):
        group.server(source).do("GET", keys[0])
    with group.client() as client:
        assert [client.get(key) for key in keys] == ["kept"] * 3


def test_a_slot_moves_at_once_where_the_server_can(group: ClusterGroup) -> None:
    if not group.can_move_at_once:
        pytest.skip("this server knows no CLUSTER MIGRATESLOTS")
    with group.client() as client:
        client.set("{atomic}", "kept")
    slot, source = key_slot(b"atomic"), group.node_of("{atomic}")
    target = another(group, source)
    group.move_slots_at_once(slot, slot, target)
    group.await_ok()
    assert group.server(target).do("GET", "{atomic}") == "kept"


def test_a_killed_primarys_replica_takes_its_slots_and_data(group: ClusterGroup) -> None:
    with group.client() as client:
        client.set("{lost}", "kept")
    old = group.node_of("{lost}")
    with group.server(old).client() as client:
        client.set("{lost}", "kept")
        assert client.wait(1, 5000) == 1
    [heir] = group.replicas_of(old)
    group.kill(old)
    assert group.await_failover(old, key_slot(b"lost")) == heir
    assert group.server(heir).do("GET", "{lost}") == "kept"
    group.restart(old)
    assert group.server(old).do("ROLE")[0] == "slave"


def test_a_flush_empties_every_node(group: ClusterGroup) -> None:
    with group.client() as client:
        for n in range(30):
            client.set(f"k{n}", "v")
        group.flush()
        assert not client.keys("*")
