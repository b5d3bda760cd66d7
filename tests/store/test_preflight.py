"""Preflight: what a server's settings promise, and what contradicts the promise asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually
from service.core.errors import Refused, Unavailable
from service.store import client as store
from service.store.address import Kind
from service.store.durability import ServerFacts
from service.store.link import Command
from service.store.preflight import contradictions, inspect, preflight
from service.store.single import Single
from tests.store.conftest import Server

GOOD = ServerFacts(
    flavour="valkey",
    version="9.1.2",
    role="master",
    history="f" * 40,
    mode="standalone",
    readable=True,
    append_only=True,
    fsync="always",
    rewrite_without_fsync=False,
    policy="noeviction",
)


@dataclass(frozen=True)
class Wanted(Server):
    """Settings that preflight judges by."""

    durability: str = "auto"


# Judging.


@pytest.mark.parametrize("durability", ("auto", "appended", "fsynced"))
def test_nothing_contradicts_a_server_as_it_should_be(durability: str) -> None:
    assert contradictions([GOOD], durability) == []


@pytest.mark.parametrize(
    ("change", "words"),
    (
        ({"version": "6.2.14"}, "7.0 or newer"),
        ({"version": "5.0"}, "7.0 or newer"),
        ({"role": "slave"}, "not a primary"),
        ({"mode": "cluster"}, "redis+cluster://"),
        ({"mode": "sentinel", "role": "", "policy": ""}, "redis+sentinel://"),
        ({"policy": "allkeys-lru"}, "CONFIG SET maxmemory-policy noeviction"),
        ({"policy": "volatile-ttl"}, "CONFIG SET maxmemory-policy noeviction"),
        ({"policy": ""}, "unknown"),
    ),
)
def test_what_breaks_the_promise_is_said_with_its_remedy(change: dict[str, Any], words: str) -> None:
    [found] = contradictions([replace(GOOD, **change)], "auto")
    assert words in found


@pytest.mark.parametrize("version", ("7.0.0", "7.0", "7.2.4", "8.0.1", "10.0.0", "255.255.255"))
def test_versions_compare_as_numbers(version: str) -> None:
    assert contradictions([replace(GOOD, version=version)], "auto") == []


def test_a_single_server_is_no_cluster() -> None:
    [found] = contradictions([GOOD], "auto", Kind.CLUSTER)
    assert "redis://host:port" in found
    assert contradictions([replace(GOOD, mode="cluster")] * 3, "auto", Kind.CLUSTER) == []


def test_several_contradictions_are_all_said() -> None:
    servers = [GOOD, replace(GOOD, role="slave", policy="allkeys-lru", fsync="no", version="7.0.15", flavour="redis")]
    assert len(contradictions(servers, "fsynced")) == 3


# Asking a real server.


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server whose settings these tests may change."""
    server = RedisServer(tmp_path_factory.mktemp("preflight"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(own_server: RedisServer) -> Iterator[Any]:
    """CONFIG SET on it, undone afterwards."""
    with own_server.client() as client:
        yield client
        client.config_set("appendonly", "yes")
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the file is written anew")
        client.config_set("appendfsync", "always")
        client.config_set("no-appendfsync-on-rewrite", "no")
        client.config_set("maxmemory-policy", "noeviction")
        client.replicaof("NO", "ONE")
        client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], keys=["*"])


async def test_a_server_started_as_the_embedded_one_promises_fsynced(own_server: RedisServer) -> None:
    assert await preflight(Wanted(own_server.url)) == "fsynced"


class CutOff(Single):
    """A link whose connection breaks when the settings are asked for."""

    async def raw(self, *command: Any) -> Any:
        if command[0] == "CONFIG":
            raise ConnectionResetError
        return await super().raw(*command)

    async def raw_pipeline(self, commands: Sequence[Command]) -> list[Any]:
        assert any(command[0] == "CONFIG" for command in commands)
        raise ConnectionResetError


async def test_settings_that_nobody_answers_for_are_not_taken_for_denied(own_server: RedisServer) -> None:
    client = store.connect(Wanted(own_server.url))
    assert isinstance(client, Single)
    with pytest.raises(Unavailable):
        await inspect(CutOff(client.redis))
    await client.aclose()


async def test_the_facts_are_the_servers_own(own_server: RedisServer) -> None:
    client = store.connect(Wanted(own_server.url))
    facts = await inspect(client)
    await client.aclose()
    assert facts.flavour in ("valkey", "redis")
    assert int(facts.version.split(".")[0]) >= 7
    assert (facts.role, facts.mode, facts.readable) == ("master", "standalone", True)
    assert (facts.append_only, facts.fsync, facts.policy) == (True, "always", "noeviction")
    assert len(facts.history) == 40


async def test_live_settings_count_not_those_of_the_start(own_server: RedisServer, settings: Any) -> None:
    settings.config_set("appendfsync", "everysec")
    assert await preflight(Wanted(own_server.url)) == "appended"
    settings.config_set("appendonly", "no")
    with pytest.raises(Refused, match="appendfsync always"):
        await preflight(Wanted(own_server.url, durability="fsynced"))
    settings.config_set("appendonly", "yes")
    settings.config_set("appendfsync", "always")
    settings.config_set("no-appendfsync-on-rewrite", "yes")
    assert await preflight(Wanted(own_server.url)) == "appended"


async def test_a_server_that_evicts_is_refused(own_server: RedisServer, settings: Any) -> None:
    settings.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(Refused, match="noeviction"):
        await preflight(Wanted(own_server.url))


async def test_a_replica_is_refused(own_server: RedisServer, settings: Any) -> None:
    settings.replicaof("127.0.0.1", free_port())
    with pytest.raises(Refused, match="not a primary"):
        await preflight(Wanted(own_server.url))


async def test_settings_that_may_not_be_read_promise_no_more_than_appended(
    own_server: RedisServer, settings: Any
) -> None:
    settings.acl_setuser("guest", enabled=True, passwords=["+word"], commands=["+@all", "-config"], keys=["*"])
    url = own_server.url.replace("127.0.0.1", "guest:word@127.0.0.1")
    assert await preflight(Wanted(url)) == "appended"
    settings.config_set("appendonly", "no")
    with pytest.raises(Refused, match="fsynced was asked for"):
        await preflight(Wanted(url, durability="fsynced"))


async def test_a_server_that_cannot_be_reached_is_refused_with_what_to_check() -> None:
    with pytest.raises(Refused, match="INBOXD_REDIS_URL"):
        await preflight(Wanted(f"redis://127.0.0.1:{free_port()}/0"))
