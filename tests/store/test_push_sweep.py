"""The sweep: whoever has something that waits and no row gets one."""

import pytest

from service.core.cursor import START
from service.core.push import Told, partition_of
from service.store.push_sweep import Waits, waits
from tests.store.conftest import Store, accepted
from tests.store.push_rig import PushStore


@pytest.fixture
def push(store: Store) -> PushStore:
    return PushStore(store)


async def round_of(push: PushStore) -> int:
    """One walk over everything: how many were found."""
    found = 0
    for _, primary in await push.store.clients.rest.primaries():
        position = ""
        while position != "0":
            step = await push.sweep.step(primary, position or "0")
            position, found = step.position, found + step.reminded
    return found


async def test_whoever_has_something_that_waits_and_no_row_gets_one(push: PushStore) -> None:
    for user in ("bob", "carol"):
        await push.store.send("m1", to=user)
        await push.store.do("UNLINK", push.store.keys.push(partition_of(user)))
    assert await round_of(push) == 2
    assert await push.score("bob") == await push.score("carol") == 0
    assert await round_of(push) == 0


async def test_whoever_has_acked_or_was_told_is_left_alone(push: PushStore) -> None:
    cursor = accepted(await push.store.send("m1"))
    await push.store.presence.register("bob", "phone")
    await push.store.inboxes.ack([("bob", "phone", cursor)])
    await push.rows.told("carol", Told(START, accepted(await push.store.send("m1", to="carol"))))
    for user in ("bob", "carol"):
        await push.store.do("UNLINK", push.store.keys.push(partition_of(user)))
    assert await round_of(push) == 0


async def test_whoever_was_told_and_has_more_is_looked_into_and_not_counted(push: PushStore) -> None:
    await push.rows.told("bob", Told(START, accepted(await push.store.send("m1"))))
    await push.store.send("m2")
    await push.store.do("UNLINK", push.store.keys.push(partition_of("bob")))
    assert await round_of(push) == 0
    assert await push.score("bob") == 0


@pytest.mark.parametrize("state", ([], [b"x", None, None], [b"1-1", b"x", None], ValueError()))
def test_a_state_that_cannot_be_read_is_passed_over(state: object) -> None:
    assert waits(state) is Waits.NOTHING


@pytest.mark.parametrize(
    ("state", "found"),
    (
        ((None, None, None), Waits.NOTHING),
        ((b"9-2", b"9-2", None), Waits.NOTHING),
        ((b"9-2", None, None), Waits.UNTOLD),
        ((b"9-2", b"8-1", b"0-0 9-2"), Waits.UNTOLD),
        ((b"9-2", None, b"x"), Waits.UNTOLD),
        ((b"9-2", b"8-1", b"8-1 9-2"), Waits.NOTHING),
        ((b"9-3", b"8-1", b"8-1 9-2"), Waits.MORE),
    ),
)
def test_who_was_told_is_left_alone_until_there_is_more(state: object, found: Waits) -> None:
    assert waits(state) is found


async def test_many_users_are_found_in_small_steps(push: PushStore) -> None:
    push.store.appends.remind = None
    users = [f"u{n}" for n in range(300)]
    for user in users:
        await push.store.send("m1", to=user)
    assert await round_of(push) == len(users)


async def test_one_worker_sweeps_until_it_is_silent(push: PushStore) -> None:
    other = PushStore(push.store).sweep
    assert await push.sweep.lead("w-1", 60)
    assert not await other.lead("w-2", 60)
    assert await push.sweep.lead("w-1", 60)
    assert 0 < await push.store.do("PTTL", push.store.keys.push_sweeper()) <= 60_000
    await push.store.do("UNLINK", push.store.keys.push_sweeper())  # as time does
    push.sweep._leads_until = 0.0  # here as well
    assert await other.lead("w-2", 60)
    assert not await push.sweep.lead("w-1", 60)


async def test_a_primary_says_about_how_many_keys_it_has(real_store: Store) -> None:
    push = PushStore(real_store)
    [(_, _, none)] = await push.sweep.primaries()
    await real_store.send("m1")
    [(_, _, some)] = await push.sweep.primaries()
    assert none == 0
    assert some >= 4
