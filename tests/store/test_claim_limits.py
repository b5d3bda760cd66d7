"""claim.lua: a user has a bounded number of devices, and none that holds entries back makes room for another."""

import pytest

from service.core.cursor import START
from service.core.errors import ClientError
from service.store.presence import Claim
from tests.store.conftest import Store


@pytest.fixture
def small(store: Store) -> Store:
    """Three devices for each user."""
    return store.limited(devices=3)


async def known(store: Store) -> set[str]:
    return set(await store.hash(store.keys.cursors("bob")))


async def silence(store: Store, device: str, seconds: float) -> None:
    """As if the device had been silent for so long."""
    seen = int((await store.hash(store.keys.devices("bob")))[device])
    await store.do("HSET", store.keys.devices("bob"), device, seen - int(seconds * 1000))


async def test_one_device_too_many_is_refused_and_changes_nothing(small: Store) -> None:
    for device in ("a", "b", "c"):
        await small.presence.register("bob", device)
    before = await small.state(), await small.hash(small.keys.devices("bob"))
    with pytest.raises(ClientError) as refused:
        await small.presence.claim(Claim("bob", "d", "w-1", "s-1"))
    assert refused.value.fault.code == "too_many_devices"
    with pytest.raises(ClientError):
        await small.presence.register("bob", "d")
    assert await known(small) == {"a", "b", "c"}
    assert (await small.state(), await small.hash(small.keys.devices("bob"))) == before
    assert await small.hash(small.keys.presence("bob")) == {}


async def test_those_that_are_known_come_and_go(small: Store) -> None:
    for device in ("a", "b", "c"):
        await small.presence.register("bob", device)
    assert await small.presence.claim(Claim("bob", "b", "w-1", "s-1")) is not None
    assert await small.presence.claim(Claim("bob", "b", "w-1", "s-1"), again=True) is not None
    await small.presence.register("eve", "d")


async def test_a_device_that_was_silent_too_long_makes_room(small: Store) -> None:
    await small.fill(2)
    for device in ("a", "b", "c"):
        await small.presence.register("bob", device)
    await silence(small, "b", small.limits.device_expiry + 1)
    assert (await small.presence.register("bob", "d")).stored == START
    assert await known(small) == {"a", "c", "d"}


async def test_one_that_is_silent_but_still_holds_entries_back_makes_no_room(small: Store) -> None:
    await small.fill(2)
    for device in ("a", "b", "c"):
        await small.presence.register("bob", device)
    await silence(small, "b", small.limits.device_expiry - 60)
    with pytest.raises(ClientError):
        await small.presence.register("bob", "d")
    assert await known(small) == {"a", "b", "c"}


async def test_one_that_is_connected_makes_no_room_however_silent(small: Store) -> None:
    for device in ("a", "b", "c"):
        await small.presence.claim(Claim("bob", device, "w-1", f"s-{device}"))
        await silence(small, device, small.limits.device_expiry + 1)
    with pytest.raises(ClientError):
        await small.presence.register("bob", "d")
    assert await known(small) == {"a", "b", "c"}


async def test_a_session_that_renews_its_claim_is_never_one_too_many(small: Store) -> None:
    await small.presence.claim(Claim("bob", "d", "w-1", "s-1"))
    await small.do("DEL", small.keys.cursors("bob"), small.keys.devices("bob"), small.keys.presence("bob"))
    for device in ("a", "b", "c"):
        await small.presence.register("bob", device)
    assert await small.presence.claim(Claim("bob", "d", "w-1", "s-1"), again=True) is not None
