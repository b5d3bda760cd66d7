"""claim.lua: where a device's replay begins, and which of its connections holds it."""

from collections.abc import Awaitable, Callable

import pytest

from service.core.cursor import START, Cursor
from service.core.errors import Unavailable
from service.store.presence import Claim, Claimed
from tests.store.conftest import Store

Claims = Callable[..., Awaitable[Claimed | None]]


@pytest.fixture
def claim(store: Store) -> Claims:
    """Bob's phone connects: session and attempt, the worker `w-1` unless said otherwise."""

    async def claim(
        session: str = "s-1", attempt: int = 0, worker: str = "w-1", *, again: bool = False
    ) -> Claimed | None:
        return await store.presence.claim(Claim("bob", "phone", worker, session, attempt), again=again)

    return claim


async def presence(store: Store) -> dict[str, str]:
    return await store.hash(store.keys.presence("bob"))


async def online(store: Store) -> str | None:
    return (await store.state()).get("online")


# Where a device begins.


async def test_a_new_device_of_an_inbox_never_used_begins_at_the_start(store: Store, claim: Claims) -> None:
    assert await claim() == Claimed(START, START, "")
    assert await store.hash(store.keys.cursors("bob")) == {"phone": "0-0"}


async def test_a_new_device_begins_before_the_oldest_entry(store: Store, claim: Claims) -> None:
    last = (await store.fill(3))[-1]
    assert await claim() == Claimed(START, last, "")


async def test_a_new_device_of_a_trimmed_inbox_begins_just_before_the_oldest_entry_kept(
    store: Store, claim: Claims
) -> None:
    cursors = await store.fill(5)
    await store.do("XTRIM", store.keys.inbox("bob"), "MAXLEN", 2)
    claimed = await claim()
    assert claimed is not None
    assert claimed.stored == Cursor(cursors[3].ms, 3)
    page = await store.inboxes.page("bob", "phone", claimed.stored, 10, now_ms=0)
    assert page.trusted
    assert list(page.items()) == list(page.entries), "nothing before its time is missing to it"


async def test_a_new_device_of_an_inbox_that_retention_has_dropped_begins_at_its_end(
    store: Store, claim: Claims
) -> None:
    last = (await store.fill(3))[-1]
    await store.do("DEL", store.keys.inbox("bob"))
    assert await claim() == Claimed(last, last, "")


async def test_a_known_device_begins_where_it_has_acked(store: Store, claim: Claims) -> None:
    cursors = await store.fill(3)
    await store.inboxes.ack([("bob", "phone", cursors[1])])
    assert await claim() == Claimed(cursors[1], cursors[2], "")


async def test_a_state_deleted_by_hand_is_restored_from_the_inbox(store: Store, claim: Claims) -> None:
    last = (await store.fill(3))[-1]
    await store.do("DEL", store.keys.state("bob"))
    claimed = await claim()
    assert claimed is not None
    assert claimed.last == last
    assert (await store.state())["last"] == str(last)


# Which connection holds it.


async def test_a_claim_is_a_presence_row_and_noted_with_its_worker(store: Store, claim: Claims) -> None:
    await claim("s-1", 7)
    assert await presence(store) == {"phone": "w-1/s-1/7"}
    assert await online(store) == "1"
    assert await store.presence.claims_of("w-1") == [("bob", "phone", "s-1")]


async def test_the_next_claim_is_told_whom_it_has_replaced(store: Store, claim: Claims) -> None:
    await claim("s-1", 7)
    replaced = await claim("s-2", 8, "w-2")
    assert replaced is not None
    assert replaced.held == "w-1/s-1/7"
    assert await presence(store) == {"phone": "w-2/s-2/8"}


@pytest.mark.parametrize("attempt", (8, 9, 2**53 - 1))
async def test_an_attempt_as_high_or_higher_takes_over(store: Store, claim: Claims, attempt: int) -> None:
    await claim("s-1", 8)
    assert await claim("s-2", attempt) is not None
    assert await presence(store) == {"phone": f"w-1/s-2/{attempt}"}


@pytest.mark.parametrize(("first", "late"), ((8, 7), (10, 9), (2**53 - 1, 2**53 - 2)))
async def test_a_lower_attempt_is_refused_and_changes_nothing(
    store: Store, claim: Claims, first: int, late: int
) -> None:
    await claim("s-1", first)
    before = await store.state()
    assert await claim("s-2", late) is None
    assert await presence(store) == {"phone": f"w-1/s-1/{first}"}
    assert await store.state() == before


@pytest.mark.parametrize(("first", "next_"), ((0, 5), (5, 0), (0, 0)))
async def test_without_an_attempt_the_last_to_come_wins(store: Store, claim: Claims, first: int, next_: int) -> None:
    await claim("s-1", first)
    assert await claim("s-2", next_) is not None
    assert await presence(store) == {"phone": f"w-1/s-2/{next_}"}


async def test_once_released_a_lower_attempt_may_connect(store: Store, claim: Claims) -> None:
    await claim("s-1", 8)
    await store.presence.release(Claim("bob", "phone", "w-1", "s-1", 8))
    assert await claim("s-2", 3) is not None


async def test_two_devices_hold_their_claims_side_by_side(store: Store, claim: Claims) -> None:
    await claim()
    await store.presence.claim(Claim("bob", "laptop", "w-2", "s-2"))
    assert await presence(store) == {"phone": "w-1/s-1/0", "laptop": "w-2/s-2/0"}


# Again.


async def test_a_session_takes_its_own_claim_again_under_another_worker(store: Store, claim: Claims) -> None:
    await claim("s-1", 4)
    assert await claim("s-1", 4, "w-9", again=True) is not None
    assert await presence(store) == {"phone": "w-9/s-1/4"}


async def test_a_session_takes_a_claim_again_that_was_lost(store: Store, claim: Claims) -> None:
    await claim("s-1", 4)
    await store.do("DEL", store.keys.presence("bob"))
    assert await claim("s-1", 4, again=True) is not None
    assert await presence(store) == {"phone": "w-1/s-1/4"}


@pytest.mark.parametrize("attempt", (0, 4, 9))
async def test_a_session_never_takes_again_what_another_holds(store: Store, claim: Claims, attempt: int) -> None:
    await claim("s-2", 4)
    assert await claim("s-1", attempt, again=True) is None
    assert await presence(store) == {"phone": "w-1/s-2/4"}


# Too late.


async def test_a_claim_that_comes_after_its_deadline_is_unavailable_and_throws_nobody_out(
    store: Store, claim: Claims
) -> None:
    await claim("s-2")
    before = await store.state()
    now = await clock(store)
    with pytest.raises(Unavailable, match="too late"):
        await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"), deadline_ms=now - 1)
    assert await presence(store) == {"phone": "w-1/s-2/0"}
    assert await store.state() == before


async def test_a_claim_within_its_deadline_counts(store: Store) -> None:
    deadline = await clock(store) + 60_000
    assert await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"), deadline_ms=deadline) is not None


async def clock(store: Store) -> int:
    """The server's, in ms."""
    seconds, micros = await store.do("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


# Registering.


async def test_registering_makes_a_device_known_but_not_present(store: Store) -> None:
    cursors = await store.fill(2)
    assert (await store.presence.register("bob", "phone")).stored == START
    assert await presence(store) == {}
    assert await online(store) is None
    assert (await store.state())["devices"] == "1"
    await store.inboxes.ack([("bob", "phone", cursors[0])])
    assert (await store.presence.register("bob", "phone")).stored == cursors[0]


async def test_registering_does_not_disturb_the_connection(store: Store, claim: Claims) -> None:
    await claim("s-1", 5)
    await store.presence.register("bob", "phone")
    assert await presence(store) == {"phone": "w-1/s-1/5"}
    assert await online(store) == "1"


# Who has a say.


async def test_a_claim_counts_the_devices_that_have_a_say_and_finds_the_floor(store: Store, claim: Claims) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "tablet", cursors[3]), ("bob", "laptop", cursors[1])])
    await store.inboxes.ack([("bob", "phone", cursors[2])])
    await claim()
    state = await store.state()
    assert (state["devices"], state["floor"]) == ("3", str(cursors[1]))


async def test_a_claim_finds_best_among_the_devices_that_have_a_say(store: Store, claim: Claims) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "phone", cursors[1]), ("bob", "laptop", cursors[3])])
    await age(store, "laptop", store.limits.device_expiry + 1)
    await claim()
    assert (await store.state())["best"] == str(cursors[1])
    await store.presence.register("bob", "laptop")
    assert (await store.state())["best"] == str(cursors[3]), "never below a device that has a say"


async def test_a_claim_counts_no_device_that_was_silent_for_too_long(store: Store, claim: Claims) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "laptop", cursors[1]), ("bob", "phone", cursors[2])])
    await age(store, "laptop", store.limits.device_expiry + 1)
    await claim()
    state = await store.state()
    assert (state["devices"], state["floor"]) == ("1", str(cursors[2]))
    assert "laptop" in await store.hash(store.keys.cursors("bob")), "it is remembered for as long again"


async def test_a_device_gone_for_twice_the_expiry_is_forgotten(store: Store, claim: Claims) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "laptop", cursors[1]), ("bob", "phone", cursors[2])])
    await age(store, "laptop", 2 * store.limits.device_expiry + 1)
    await claim()
    assert list(await store.hash(store.keys.cursors("bob"))) == ["phone"]
    assert list(await store.hash(store.keys.devices("bob"))) == ["phone"]


async def test_a_device_that_comes_back_after_all_that_time_is_not_forgotten_by_its_own_claim(
    store: Store, claim: Claims
) -> None:
    cursors = await store.fill(5)
    await store.inboxes.ack([("bob", "phone", cursors[1])])
    await age(store, "phone", 3 * store.limits.device_expiry)
    claimed = await claim()
    assert claimed is not None
    assert claimed.stored == cursors[1]


async def test_a_device_too_far_behind_does_not_count(store: Store) -> None:
    small = store.limited(max_pending=3)
    cursors = await store.fill(9)
    await store.inboxes.ack([("bob", "laptop", cursors[1]), ("bob", "phone", cursors[7])])
    await small.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    state = await store.state()
    assert (state["devices"], state["floor"]) == ("1", str(cursors[7]))


async def test_a_claim_renews_what_is_kept_for_the_device(store: Store, claim: Claims) -> None:
    await store.fill(1)
    for key in (store.keys.inbox("bob"), store.keys.cursors("bob"), store.keys.devices("bob")):
        await store.do("EXPIRE", key, 5)
    await claim()
    for key in (store.keys.inbox("bob"), store.keys.cursors("bob"), store.keys.devices("bob")):
        assert await store.do("TTL", key) >= store.limits.retention


async def age(store: Store, device: str, seconds: float) -> None:
    """As if the device had not been seen for so long."""
    seen = int((await store.hash(store.keys.devices("bob")))[device])
    await store.do("HSET", store.keys.devices("bob"), device, seen - int(seconds * 1000))
