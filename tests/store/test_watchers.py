"""watch.lua, and what claims and releases tell of it: who watches is told of whoever comes or goes after."""

from dataclasses import replace

import pytest

from service.core.errors import Unavailable
from service.store.presence import Claim
from service.store.watchers import HIDDEN, Standing, Watchers
from tests.store.conftest import Store

PHONE = Claim("bob", "phone", "w-1", "s-1", 4)
LAPTOP = Claim("bob", "laptop", "w-2", "s-2")
Told = tuple[str, bool, list[str]]


@pytest.fixture
def watchers(store: Store) -> Watchers:
    return Watchers(store.clients.rest, store.keys)


@pytest.fixture
def told(store: Store) -> list[Told]:
    """What claims and releases have said of whom."""
    said: list[Told] = []
    store.presence.changed = lambda user, online, workers: said.append((user, online, sorted(workers)))
    return said


async def seen(store: Store, device: str = "phone") -> int:
    return int((await store.hash(store.keys.devices("bob")))[device])


async def test_who_watches_is_told_how_a_user_stands(store: Store, watchers: Watchers) -> None:
    assert await watchers.watch("w-9", ["bob", "carol"], 60) == [Standing(False, None), Standing(False, None)]
    await store.presence.claim(PHONE)
    [bob] = await watchers.watch("w-9", ["bob"], 60)
    assert bob == Standing(True, await seen(store))
    await store.presence.release(PHONE)
    [bob] = await watchers.watch("w-9", ["bob"], 60)
    assert bob == Standing(False, await seen(store))


async def test_last_seen_is_of_the_device_that_was_there_last(store: Store, watchers: Watchers) -> None:
    await store.presence.claim(PHONE)
    await store.presence.claim(LAPTOP)
    await store.do("HSET", store.keys.devices("bob"), "phone", 5, "laptop", 7)
    [bob] = await watchers.watch("w-9", ["bob"], 60)
    assert bob == Standing(True, 7)
    assert (await watchers.standings(["bob"], "alice"))[0].last_seen == 7


async def test_the_first_device_and_the_last_one_are_told_and_none_between(
    store: Store, watchers: Watchers, told: list[Told]
) -> None:
    await watchers.watch("w-9", ["bob"], 60)
    await watchers.watch("w-8", ["bob"], 60)
    for claim in (PHONE, LAPTOP, PHONE):
        await store.presence.claim(claim)
    await store.presence.release(PHONE)
    await store.presence.release(PHONE)
    await store.presence.release(LAPTOP)
    assert told == [("bob", True, ["w-8", "w-9"]), ("bob", False, ["w-8", "w-9"])]


async def test_nobody_is_told_of_a_user_whom_nobody_watches(store: Store, watchers: Watchers, told: list[Told]) -> None:
    await watchers.watch("w-9", ["carol"], 60)
    await store.presence.claim(PHONE)
    await store.presence.register("bob", "tablet")
    await store.presence.release(PHONE)
    assert told == []


async def test_registering_a_device_and_claiming_again_bring_nobody_online(
    store: Store, watchers: Watchers, told: list[Told]
) -> None:
    await watchers.watch("w-9", ["bob"], 60)
    await store.presence.register("bob", "tablet")
    assert told == []
    await store.presence.claim(PHONE)
    await store.presence.claim(PHONE, again=True)
    assert len(told) == 1


async def test_a_claim_that_was_lost_and_is_taken_again_is_told(
    store: Store, watchers: Watchers, told: list[Told]
) -> None:
    await watchers.watch("w-9", ["bob"], 60)
    await store.presence.claim(PHONE)
    await store.do("DEL", store.keys.presence("bob"))
    await store.presence.claim(PHONE, again=True)
    assert told == [("bob", True, ["w-9"]), ("bob", True, ["w-9"])]


async def test_rows_that_nobody_renews_go(store: Store, watchers: Watchers) -> None:
    await watchers.watch("w-8", ["bob"], 60)
    await store.do("HSET", store.keys.watchers("bob"), "w-7", 5)
    await watchers.watch("w-9", ["bob"], 60)
    assert sorted(await store.hash(store.keys.watchers("bob"))) == ["w-8", "w-9"]
    assert 0 < await store.do("TTL", store.keys.watchers("bob")) <= 61


async def test_somebody_who_is_blocked_sees_nobody(store: Store, watchers: Watchers) -> None:
    await store.presence.claim(PHONE)
    await store.do("SADD", store.keys.blocks("bob"), "mallory")
    assert await watchers.standings(["bob", "carol"], "mallory") == [HIDDEN, Standing(False, None)]
    assert (await watchers.standings(["bob"], "alice"))[0].online
    online = Standing(True, await seen(store))
    assert await watchers.watch("w-9", ["bob"], 60) == [online]
    await store.do("HSET", store.keys.state("bob"), "blocks", 1)
    assert await watchers.watch("w-9", ["bob"], 60) == [replace(online, guarded=True)]


async def test_a_glance_says_whether_somebody_is_online_and_watches_nobody(store: Store, watchers: Watchers) -> None:
    await store.presence.claim(PHONE)
    await store.do("HSET", store.keys.state("carol"), "blocks", 1)
    assert await watchers.glance(["bob", "carol"]) == [Standing(True, None), Standing(False, None, guarded=True)]
    await store.presence.release(PHONE)
    assert await watchers.glance(["bob"]) == [Standing(False, None)]
    assert await store.do("EXISTS", store.keys.watchers("bob")) == 0


async def test_the_holders_of_a_user_are_the_workers_of_its_devices(store: Store, watchers: Watchers) -> None:
    await store.presence.claim(PHONE)
    await store.presence.claim(LAPTOP)
    assert await watchers.holders(["bob", "carol"]) == [{"w-1", "w-2"}, set()]


async def test_one_who_cannot_be_read_is_nobody_elses_trouble(store: Store, watchers: Watchers) -> None:
    await store.presence.claim(PHONE)
    for key in (store.keys.state("ghost"), store.keys.presence("ghost"), store.keys.devices("ghost")):
        await store.do("SET", key, "x")
    for rows in (
        await watchers.watch("w-9", ["ghost", "bob"], 60),
        await watchers.glance(["ghost", "bob"]),
        await watchers.holders(["ghost", "bob"]),
    ):
        assert isinstance(rows[0], Unavailable)
        assert not isinstance(rows[1], Unavailable)
