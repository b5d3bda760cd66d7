"""release.lua: only the claim named is taken back, never its successor's."""

import pytest

from service.core.errors import Unavailable
from service.store.presence import Claim
from tests.store.conftest import Store, accepted

PHONE = Claim("bob", "phone", "w-1", "s-1", 4)
LAPTOP = Claim("bob", "laptop", "w-1", "s-2")


async def test_a_claim_is_released_whatever_its_attempt(store: Store) -> None:
    await store.presence.claim(PHONE)
    assert await store.presence.release(Claim("bob", "phone", "w-1", "s-1"))
    assert await store.hash(store.keys.presence("bob")) == {}
    assert await store.presence.claims_of("w-1") == []
    assert (await store.state())["online"] == "0"


@pytest.mark.parametrize(
    "other",
    (
        Claim("bob", "phone", "w-1", "s-9", 4),
        Claim("bob", "phone", "w-9", "s-1", 4),
        Claim("bob", "phone", "w-1", "s-", 4),
        Claim("bob", "laptop", "w-1", "s-1", 4),
    ),
)
async def test_another_claim_is_left_alone(store: Store, other: Claim) -> None:
    await store.presence.claim(PHONE)
    assert not await store.presence.release(other)
    assert await store.hash(store.keys.presence("bob")) == {"phone": PHONE.row}
    assert (await store.state())["online"] == "1"


async def test_releasing_twice_changes_nothing_more(store: Store) -> None:
    await store.presence.claim(PHONE)
    assert await store.presence.release(PHONE)
    assert not await store.presence.release(PHONE)


async def test_releasing_what_was_never_claimed_writes_nothing(store: Store) -> None:
    assert not await store.presence.release(PHONE)
    assert await store.do("EXISTS", store.keys.state("bob"), store.keys.devices("bob")) == 0


async def test_who_leaves_without_having_acked_everything_is_named_until_that_was_noted(store: Store) -> None:
    left: list[str] = []
    away = [Unavailable("away")]

    async def leave(user: str) -> None:
        left.append(user)
        if away:
            raise away.pop()

    store.presence.left = leave
    cursor = accepted(await store.send("m1"))
    await store.presence.claim(PHONE)
    await store.presence.claim(LAPTOP)
    await store.presence.release(PHONE)
    assert left == [], "the laptop is there"
    with pytest.raises(Unavailable):
        await store.presence.release(LAPTOP)
    assert await store.presence.claims_of("w-1") != [], "whoever reaps finds it"
    await store.presence.release(LAPTOP)
    assert left == ["bob", "bob"]
    await store.presence.claim(PHONE)
    await store.inboxes.ack([("bob", "phone", cursor)])
    await store.presence.release(PHONE)
    assert left == ["bob", "bob"], "nothing waits"


async def test_the_user_stays_online_while_another_device_is(store: Store) -> None:
    await store.presence.claim(PHONE)
    await store.presence.claim(LAPTOP)
    await store.presence.release(PHONE)
    assert (await store.state())["online"] == "1"
    assert await store.hash(store.keys.presence("bob")) == {"laptop": LAPTOP.row}


async def test_a_row_can_be_released_by_its_full_text_alone(store: Store) -> None:
    await store.presence.claim(PHONE)
    assert not await store.presence.release_row("bob", "phone", "w-1/s-1/44")
    assert await store.presence.release_row("bob", "phone", "w-1/s-1/4")


async def test_a_release_shows_when_the_device_was_last_there(store: Store) -> None:
    await store.presence.claim(PHONE)
    await store.do("HSET", store.keys.devices("bob"), "phone", 5)
    await store.presence.release(PHONE)
    assert int((await store.hash(store.keys.devices("bob")))["phone"]) > 5


async def test_a_replaced_session_removes_its_note_but_not_the_claim(store: Store) -> None:
    await store.presence.claim(PHONE)
    successor = Claim("bob", "phone", "w-2", "s-3", 5)
    await store.presence.claim(successor)
    assert await store.presence.lingers(PHONE)
    assert not await store.presence.release(PHONE)
    assert not await store.presence.lingers(PHONE)
    assert await store.hash(store.keys.presence("bob")) == {"phone": successor.row}
    assert await store.presence.claims_of("w-2") == [("bob", "phone", "s-3")]
