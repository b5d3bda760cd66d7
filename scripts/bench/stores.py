"""The servers that a setup asks for beside the service: one, one with replicas, a Cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.setups import CLUSTER, EMBEDDED, EVERYSEC, REPLICAS, Setup
from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually


@dataclass(frozen=True)
class Store:
    """`url`: as the service is told it; `primaries`, `replicas`: the servers behind it."""

    url: str
    primaries: tuple[RedisServer, ...]
    replicas: tuple[RedisServer, ...] = ()


@contextmanager
def stored(setup: Setup, folder: Path) -> Iterator[Store | None]:
    """What a setup asks for, ended with the block; None: the service starts its own server."""
    if setup.store == EMBEDDED:
        yield None
    elif setup.store == CLUSTER:
        group = ClusterGroup(folder)
        group.start()
        try:
            yield Store(group.service_url, tuple(group.servers))
        finally:
            group.stop()
    else:
        with _replicated(setup, folder) as store:
            yield store


@contextmanager
def _replicated(setup: Setup, folder: Path) -> Iterator[Store]:
    options = ("--appendfsync", "everysec" if setup.store == EVERYSEC else "always")
    first, *others = servers = [
        RedisServer(folder / f"server-{n}", *options) for n in range(3 if setup.store == REPLICAS else 1)
    ]
    try:
        for server in servers:
            server.start()
        for replica in others:
            replica.do("REPLICAOF", "127.0.0.1", first.port)
        eventually(lambda: first.info("replication")["connected_slaves"] == len(others), "replicas that follow")
        yield Store(first.url, (first,), tuple(others))
    finally:
        for server in servers:
            if server.is_running:
                server.kill()
