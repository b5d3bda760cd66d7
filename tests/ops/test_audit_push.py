"""What push keeps is no finding, whatever has become of it; of another type it is one."""

from typing import Any

import pytest

from service.config import Settings
from service.core.push import partition_of
from service.ops import audit as module
from service.ops.audit import audit
from service.ops.audit_laws import Asked, Finding
from service.store.client import connect
from service.store.keys import Keys
from service.store.push import Tries

KEYS = Keys("chat:")
ASKED = Asked(KEYS, max_pending=10_000, retention=3600, device_expiry=3600, dead_after=3600)


async def findings(redis_url: str) -> list[Finding]:
    link = connect(Settings(redis_url=redis_url))
    try:
        return (await audit(link, ASKED)).findings
    finally:
        await link.aclose()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", (0.0,))


async def test_rows_tries_pushers_and_the_sweeper_are_known(redis_url: str, real_redis: Any) -> None:
    partition = partition_of("bob")
    await real_redis.zadd(KEYS.push(partition), {"bob": 1_795_350_000_000.5, "carol": 1})
    await real_redis.hset(KEYS.push_tries(partition), "bob", Tries(3, "503", 1_795_350_000_000).row())
    await real_redis.hset(KEYS.pushers("bob"), "phone", "{}")
    await real_redis.set(KEYS.push_sweeper(), "w-7f3a91c2", px=60_000)
    assert await findings(redis_url) == []


async def test_a_row_and_its_tries_are_told_apart(redis_url: str, real_redis: Any) -> None:
    await real_redis.hset(KEYS.push(3), "bob", "1")
    await real_redis.zadd(KEYS.push_tries(3), {"bob": 1})
    assert sorted((finding.key, finding.law) for finding in await findings(redis_url)) == [
        (KEYS.push(3), "type"),
        (KEYS.push_tries(3), "type"),
    ]
