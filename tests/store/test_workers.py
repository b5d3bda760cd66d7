"""beat, reap, pulse, enlist: identities of workers, and who may call one dead."""

import pytest

from service.store.presence import Claim
from service.store.worker_stream import IDENTITY_LIFE
from tests.store.conftest import Store


async def test_an_identity_can_be_entered_once(store: Store) -> None:
    assert await store.presence.enter("w-1")
    assert not await store.presence.enter("w-1")
    assert await store.presence.counters() == {"w-1": "0"}


async def test_each_beat_moves_the_counter(store: Store) -> None:
    await store.presence.enter("w-1")
    assert await store.presence.beat("w-1")
    assert await store.presence.beat("w-1")
    assert await store.presence.counters() == {"w-1": "2"}


async def test_a_worker_nobody_knows_cannot_beat_itself_into_life(store: Store) -> None:
    assert not await store.presence.beat("w-1")
    assert await store.presence.counters() == {}


async def test_a_worker_whose_counter_stands_is_called_dead_for_ever(store: Store) -> None:
    await store.presence.enter("w-1")
    await store.presence.beat("w-1")
    assert await store.presence.reap("w-1", "1")
    assert await store.presence.counters() == {"w-1": "dead"}
    assert not await store.presence.beat("w-1")
    assert not await store.presence.enter("w-1")
    assert await store.presence.counters() == {"w-1": "dead"}


async def test_a_worker_that_has_beaten_meanwhile_is_not_called_dead(store: Store) -> None:
    await store.presence.enter("w-1")
    await store.presence.beat("w-1")
    assert not await store.presence.reap("w-1", "0")
    assert await store.presence.beat("w-1")


async def test_a_worker_called_dead_before_is_dead_for_the_next_reaper_too(store: Store) -> None:
    await store.presence.enter("w-1")
    await store.presence.reap("w-1", "0")
    assert await store.presence.reap("w-1", "0")
    assert await store.presence.reap("w-1", "dead")


async def test_a_forgotten_worker_is_not_called_dead(store: Store) -> None:
    assert not await store.presence.reap("w-1", "5")
    assert await store.presence.counters() == {}


async def test_sweeping_forgets_that_it_was_dead_and_still_it_must_take_a_new_identity(store: Store) -> None:
    await store.presence.enter("w-1")
    await store.presence.reap("w-1", "0")
    await store.presence.sweep("w-1")
    assert await store.presence.counters() == {}
    assert not await store.presence.beat("w-1")


async def test_forgetting_a_worker_deletes_everything_of_it_but_its_row(store: Store) -> None:
    await store.presence.enter("w-1")
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    await store.presence.pulse("w-1", {"host": "h"}, 1)
    await store.presence.forget("w-1")
    keys = store.keys
    assert await store.do("EXISTS", keys.about("w-1"), keys.claims("w-1"), keys.worker("w-1")) == 0
    assert await store.presence.counters() == {"w-1": "0"}


async def test_the_reapers_way_back_lists_every_claim(store: Store) -> None:
    expected = {("bob", f"d{n}", f"s-{n}") for n in range(20)}
    for user, device, session in expected:
        await store.presence.claim(Claim(user, device, "w-1", session))
    assert set(await store.presence.claims_of("w-1")) == expected
    assert await store.presence.claims_of("w-2") == []


async def test_a_refused_claim_can_be_found_and_released_as_well(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1", 9))
    late = Claim("bob", "phone", "w-2", "s-2", 3)
    assert await store.presence.claim(late) is None
    assert await store.presence.claims_of("w-2") == [("bob", "phone", "s-2")]
    assert not await store.presence.release(late)
    assert await store.presence.claims_of("w-2") == []


@pytest.mark.parametrize("name", ("bob@example.org", "a:b", "+1.2_3-4"))
async def test_names_of_the_whole_alphabet_survive_the_note(store: Store, name: str) -> None:
    await store.presence.claim(Claim(name, name, "w-1", "s-1"))
    assert await store.presence.claims_of("w-1") == [(name, name, "s-1")]


# Pulse.


async def test_a_pulse_says_who_the_worker_is_and_when(store: Store) -> None:
    now, _ = await store.presence.pulse("w-1", {"host": "example", "pid": 17}, 1)
    about = await store.hash(store.keys.about("w-1"))
    assert about == {"host": "example", "pid": "17", "beat_at": str(now)}
    seconds, _ = await store.do("TIME")
    assert abs(int(seconds) * 1000 - now) < 60_000


async def test_a_pulse_makes_the_stream_and_puts_a_canary_into_it(store: Store) -> None:
    _, newest = await store.presence.pulse("w-1", {}, 41)
    [(id, fields)] = await store.do("XRANGE", store.keys.worker("w-1"), "-", "+")
    assert (id.decode(), fields) == (newest, {b"!canary": b"41"})
    assert await store.do("EXISTS", store.keys.about("w-1")) == 0


async def test_a_pulse_keeps_the_workers_keys_for_another_hour(store: Store) -> None:
    await store.presence.claim(Claim("bob", "phone", "w-1", "s-1"))
    await store.presence.pulse("w-1", {"host": "h"}, 1)
    for key in (store.keys.about("w-1"), store.keys.worker("w-1")):
        assert 0 < await store.do("TTL", key) <= IDENTITY_LIFE
    assert await store.do("TTL", store.keys.claims("w-1")) == -1, "they wait for the reaper, however late"
