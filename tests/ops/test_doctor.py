from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.redis_server import RedisServer
from service.config import Settings
from service.ops import doctor
from service.ops.doctor import Asked, Finding, examine, judge
from service.ops.facts import Facts
from service.ops.queries import WorkerView
from service.store.client import connect
from service.store.keys import Keys
from service.store.preflight import contradictions, inspect

KEYS = Keys("chat:")
ASKED = Asked(KEYS, "redis-cli -p 7000", "auto", 10.0)
WORKER = WorkerView("w-1", "chat-1", 4711, "0.1.0", 3, 1200, 0)
CONFIG = {"appendfsync": "always", "no-appendfsync-on-rewrite": "no", "maxmemory-policy": "noeviction"}
INFO: dict[str, Any] = {
    "redis_version": "7.2.4",
    "server_name": "valkey",
    "valkey_version": "9.1.2",
    "server_mode": "standalone",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "used_memory": 2_000_000,
    "maxmemory": 0,
}
GOOD = Facts(INFO, CONFIG, 3, 2, "default", {"append": "present"}, [WORKER])


def with_info(**changed: Any) -> Facts:
    return replace(GOOD, info=INFO | changed)


def with_config(**changed: str) -> Facts:
    return replace(GOOD, config=CONFIG | {name.replace("_", "-"): value for name, value in changed.items()})


def bad(facts: Facts, asked: Asked = ASKED) -> Finding:
    """The one finding that is not ok."""
    (finding,) = [finding for finding in judge(facts, asked) if finding.level != "ok"]
    return finding


def now_and_later(setting: str) -> str:
    """The command for a server without a configuration file."""
    return f"redis-cli -p 7000 CONFIG SET {setting}  # and start the server with --{setting}"


def test_nothing_is_wrong_with_a_good_server() -> None:
    findings = judge(GOOD, ASKED)
    assert {finding.level for finding in findings} == {"ok"}
    assert not any(finding.change for finding in findings)
    assert findings[0].found == "valkey 9.1.2"


@pytest.mark.parametrize(
    ("facts", "check", "level", "change"),
    (
        (
            replace(GOOD, info={**INFO, "valkey_version": None, "server_name": "redis", "redis_version": "6.2.1"}),
            "server",
            "fail",
            "install valkey 9, or redis 7 or newer",
        ),
        (
            with_info(role="slave", master_host="db-1", master_port=6379),
            "role",
            "fail",
            "INBOXD_REDIS_URL=redis://db-1:6379/0",
        ),
        (with_info(server_mode="sentinel"), "mode", "fail", "INBOXD_REDIS_URL=redis+sentinel://HOST:PORT/NAME"),
        (
            with_info(aof_enabled=0),
            "appendonly",
            "fail",
            now_and_later("appendonly yes"),
        ),
        (
            replace(with_info(config_file="/etc/valkey.conf"), config={**CONFIG, "appendfsync": "everysec"}),
            "appendfsync",
            "warn",
            "redis-cli -p 7000 CONFIG SET appendfsync always && redis-cli -p 7000 CONFIG REWRITE",
        ),
        (
            with_config(no_appendfsync_on_rewrite="yes"),
            "no-appendfsync-on-rewrite",
            "warn",
            now_and_later("no-appendfsync-on-rewrite no"),
        ),
        (
            with_config(maxmemory_policy="allkeys-lru"),
            "maxmemory-policy",
            "fail",
            now_and_later("maxmemory-policy noeviction"),
        ),
        (with_info(aof_last_write_status="err"), "aof writes", "fail", "df -h"),
        (with_info(aof_last_bgrewrite_status="err"), "aof writes", "warn", "redis-cli -p 7000 BGREWRITEAOF"),
        (
            with_info(used_memory=85, maxmemory=100),
            "memory",
            "warn",
            now_and_later("maxmemory 200"),
        ),
        (
            with_info(used_memory=96, maxmemory=100),
            "memory",
            "fail",
            now_and_later("maxmemory 200"),
        ),
        (replace(GOOD, skew=-5000), "clock", "warn", "timedatectl set-ntp true"),
        (
            replace(GOOD, login="chat", scripts={"append": "present", "ack": "NOPERM no"}),
            "scripts",
            "fail",
            "redis-cli -p 7000 ACL SETUSER chat +@scripting",
        ),
        (replace(GOOD, workers=[]), "workers", "warn", "inboxd serve"),
        (
            replace(GOOD, workers=[replace(WORKER, heartbeat_age_ms=10_001)]),
            "worker w-1",
            "warn",
            "ps -fp 4711  # on chat-1",
        ),
        (
            replace(GOOD, workers=[replace(WORKER, heartbeat_age_ms=None)]),
            "worker w-1",
            "warn",
            "redis-cli -p 7000 HGETALL 'chat:about:{w-1}'",
        ),
    ),
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_each_thing_that_is_wrong_is_found_with_the_command_that_changes_it(
    facts: Facts, check: str, level: str, change: str
) -> None:
    finding = bad(facts)
    assert (finding.check, finding.level, finding.change) == (check, level, change)


def test_where_fsynced_was_asked_for_a_rewrite_without_it_is_a_failure() -> None:
    assert bad(with_config(no_appendfsync_on_rewrite="yes"), replace(ASKED, durability="fsynced")).level == "fail"


@pytest.mark.parametrize(("version", "level"), (("9.1.2", "warn"), ("7.2.5", "fail")))
def test_where_fsynced_was_asked_for_a_server_that_fsyncs_later_must_be_one_to_wait_for(
    version: str, level: str
) -> None:
    config = with_config(appendfsync="everysec")
    facts = replace(config, info={**config.info, "valkey_version": version})
    assert bad(facts, replace(ASKED, durability="fsynced")).level == level


def test_settings_that_cannot_be_read_are_a_warning_with_what_to_ask_the_provider_for() -> None:
    facts = replace(GOOD, config={}, info={**INFO, "maxmemory_policy": "noeviction"})
    found = [finding for finding in judge(facts, ASKED) if finding.level != "ok"]
    assert [(finding.check, finding.level) for finding in found] == [
        ("appendfsync", "warn"),
        ("no-appendfsync-on-rewrite", "warn"),
    ]
    assert found[0].change == "set appendfsync always at your provider"


def test_skew_within_the_doubt_of_the_measurement_is_none() -> None:
    assert not [f for f in judge(replace(GOOD, skew=1500, doubt=600), ASKED) if f.level != "ok"]


@pytest.mark.parametrize(
    ("count", "shown"), ((1000, "1000 bytes"), (1536, "1.5 KiB"), (2**31, "2 GiB"), (2**51, "2048 TiB"))
)
def test_sizes_are_readable(count: int, shown: str) -> None:
    assert doctor._size(count) == shown


# On real servers.


@pytest.fixture
def poor_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One whose settings keep no promise."""
    server = RedisServer(
        tmp_path,
        *("--appendonly", "no"),
        *("--appendfsync", "everysec"),
        *("--maxmemory-policy", "allkeys-lru"),
        *("--no-appendfsync-on-rewrite", "yes"),
    )
    server.start()
    yield server
    server.kill()  # SIGTERM is refused while the first AOF is written


async def test_a_poor_server_fails_and_what_the_doctor_says_mends_it(poor_server: RedisServer) -> None:
    client = connect(Settings(redis_url=poor_server.url))
    try:
        before = {f.check: f for f in await examine(client, ASKED) if f.level == "fail"}
        assert set(before) == {"appendonly", "maxmemory-policy"}
        for finding in await examine(client, ASKED):
            if "CONFIG SET" in finding.change:
                words = finding.change.partition("  #")[0].partition(" && ")[0].removeprefix(ASKED.cli).split()
                await client.run(*words)
        assert [f.check for f in await examine(client, ASKED) if f.level != "ok"] == ["workers"]
    finally:
        await client.aclose()


@pytest.mark.parametrize("durability", ("auto", "fsynced"))
async def test_what_keeps_the_service_from_starting_is_a_failure_here_too(
    poor_server: RedisServer, durability: str
) -> None:
    client = connect(Settings(redis_url=poor_server.url))
    try:
        refused = contradictions([await inspect(client)], durability)
        failed = [f for f in await examine(client, replace(ASKED, durability=durability)) if f.level == "fail"]
    finally:
        await client.aclose()
    assert refused
    assert failed


async def test_a_login_that_may_do_little_is_told_what_it_lacks(redis_server: RedisServer, redis_url: str) -> None:
    with redis_server.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-config", "-script", "-acl|setuser"
        )
    url = redis_url.replace("//", "//narrow:pw@")
    client = connect(Settings(redis_url=url))
    try:
        findings = {f.check: f for f in await examine(client, ASKED)}
    finally:
        await client.aclose()
        with redis_server.client() as admin:
            admin.execute_command("ACL", "DELUSER", "narrow")
    assert findings["appendfsync"].found == "CONFIG is not allowed here"
    assert findings["scripts"].level == "fail"
    assert findings["scripts"].change == "redis-cli -p 7000 ACL SETUSER narrow +@scripting"
