"""The reaper: cleans up after the dead, judges by its own clock alone, and is not in anybody's way."""

from collections.abc import Callable
from typing import Any

import pytest

from scripts.lab.timing import UNIT
from service.delivery import reaper as module
from service.delivery.reaper import Reaper
from service.delivery.worker import Worker
from service.store.presence import Claim
from service.telemetry import REAPED
from tests.delivery.conftest import Start
from tests.delivery.rig import connect, total, troubled, until, until_stored

GHOST = "w-ghost"


async def ghost(worker: Worker, store: Any, *users: str, counter: str = "5") -> list[Claim]:
    """A worker that no longer beats, with a claim for each user; made through a living one."""
    await worker.streams.position(GHOST)
    claims = [Claim(user, "phone", GHOST, f"s-{user}") for user in users]
    for claim in claims:
        assert await worker.presence.claim(claim)
    await store.hset("chat:workers", GHOST, counter)
    return claims


def is_dead(store: Any, name: str = GHOST) -> Callable[[], Any]:
    async def probe() -> bool:
        return bool(await store.hget("chat:workers", name) == "dead")

    return probe


def is_clean(store: Any, name: str = GHOST) -> Callable[[], Any]:
    async def probe() -> bool:
        kinds = ("claims", "worker", "about")
        return not any([await store.exists(f"chat:{kind}:{{{name}}}") for kind in kinds])

    return probe


async def presence_of(store: Any, user: str) -> dict[str, str]:
    return dict(await store.hgetall(f"chat:presence:{{{user}}}"))


class Clock:
    """Takes the place of the module `time` for a reaper."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
async def busy(start: Start) -> Worker:
    """A worker that reaps soon."""
    return await start(heartbeat=0.1 * UNIT, dead_after=0.4 * UNIT)


@pytest.fixture
async def sleepy(start: Start) -> Worker:
    """A worker that reaps nobody within a test: another reaper is judged."""
    return await start(dead_after=3600)


async def test_a_silent_worker_is_called_dead_and_nothing_of_it_stays(busy: Worker, store: Any) -> None:
    before = total(REAPED)
    await ghost(busy, store, "bob", "carol")
    await store.hset(f"chat:about:{{{GHOST}}}", "beat_at", "99999999999999")  # its own clock says nothing
    await until_stored(is_dead(store), "the ghost is dead")
    await until_stored(is_clean(store), "the ghost is gone")
    for user in ("bob", "carol"):
        assert await presence_of(store, user) == {}
        assert await store.hget(f"chat:state:{{{user}}}", "online") == "0"
    await until(lambda: total(REAPED) == before + 1, "the count")


async def test_a_worker_that_beats_lives_whatever_the_clocks_say(start: Start, store: Any) -> None:
    fast = {"heartbeat": 0.1 * UNIT, "dead_after": 0.5 * UNIT}
    one, two = await start(**fast), await start(**fast)
    names = one.id, two.id
    first = int(await store.hget("chat:workers", one.id))

    async def many_beats() -> bool:
        for name in names:
            await store.hset(f"chat:about:{{{name}}}", "beat_at", "0")
        return int(await store.hget("chat:workers", one.id)) >= first + 15

    await until_stored(many_beats, "three times the patience")
    assert (one.id, two.id) == names
    assert set((await store.hgetall("chat:workers")).values()).isdisjoint({"dead"})


async def test_a_reaper_that_was_paused_reaps_nobody_for_it(sleepy: Worker, store: Any, clock: Clock) -> None:
    await ghost(sleepy, store)
    reaper = Reaper(sleepy.presence, patience=10, tick=3, owing=print)
    await reaper.look("w-own")
    clock.now += 3600
    await reaper.look("w-own")
    assert not await is_dead(store)()
    for _ in range(2):
        clock.now += 3
        await reaper.look("w-own")
        assert not await is_dead(store)()
    clock.now += 3
    await reaper.look("w-own")
    assert await is_dead(store)()


async def test_time_in_which_its_own_heartbeat_failed_counts_against_nobody(
    sleepy: Worker, store: Any, clock: Clock
) -> None:
    await ghost(sleepy, store)
    reaper = Reaper(sleepy.presence, patience=10, tick=3, owing=print)
    for _ in range(20):
        await reaper.look("w-own")
        clock.now += 3
        reaper.beaten(False)
    await reaper.look("w-own")
    assert not await is_dead(store)()


async def test_a_beat_seen_too_late_saves_a_worker(sleepy: Worker, store: Any, clock: Clock) -> None:
    await ghost(sleepy, store)
    reaper = Reaper(sleepy.presence, patience=5, tick=3, owing=print)
    await reaper.look("w-own")
    counters = sleepy.presence.counters

    async def stale() -> dict[str, str]:
        seen = await counters()
        await store.hset("chat:workers", GHOST, "6")  # between the look and the verdict
        return {**seen, GHOST: "5"}

    sleepy.presence.counters = stale  # type: ignore[method-assign]
    for _ in range(5):
        clock.now += 3
        await reaper.look("w-own")
    assert await store.hget("chat:workers", GHOST) == "6"


async def test_it_does_not_judge_itself(sleepy: Worker, store: Any, clock: Clock) -> None:
    await ghost(sleepy, store)
    reaper = Reaper(sleepy.presence, patience=5, tick=3, owing=print)
    for _ in range(5):
        await reaper.look(GHOST)
        clock.now += 3
    assert not await is_dead(store)()


async def test_what_another_reaper_began_is_finished(busy: Worker, store: Any) -> None:
    await ghost(busy, store, "bob", "carol", counter="dead")
    await until_stored(is_clean(store), "the ghost is gone")
    assert await presence_of(store, "bob") == {}
    assert await presence_of(store, "carol") == {}
    assert await store.hget("chat:workers", GHOST) == "dead"


async def test_cleaning_that_fails_goes_on_at_the_next_look(busy: Worker, store: Any) -> None:
    releases = troubled(busy.presence, "release")
    releases.before, releases.after = 3, 2
    users = [f"user{n}" for n in range(8)]
    await ghost(busy, store, *users, counter="dead")
    await until_stored(is_clean(store), "the ghost is gone")
    assert releases.failed == 5
    assert [await presence_of(store, user) for user in users] == [{}] * 8


async def test_a_device_that_has_connected_elsewhere_since_keeps_its_claim(busy: Worker, store: Any) -> None:
    await ghost(busy, store, "bob")
    bob = await connect(busy)
    await until_stored(is_dead(store), "the ghost is dead")
    await until_stored(is_clean(store), "the ghost is gone")
    assert await presence_of(store, "bob") == {"phone": bob.claim.row}
    assert await store.hget("chat:state:{bob}", "online") == "1"
    assert bob.closes == []


async def test_a_dead_row_is_swept_in_the_end(busy: Worker, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await ghost(busy, store)
    await until_stored(is_dead(store), "the ghost is dead")
    monkeypatch.setattr(module, "SWEEP_AFTER", 0.0)

    async def swept() -> bool:
        return bool(not await store.hexists("chat:workers", GHOST))

    await until_stored(swept, "the row is swept")


async def test_what_was_claimed_under_a_dead_name_after_the_cleaning_is_released_when_it_is_swept(
    busy: Worker, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was paused, called dead, and killed before it noticed, but not before it let somebody in."""
    before = total(REAPED)
    await ghost(busy, store, counter="dead")
    await until(lambda: total(REAPED) == before + 1, "the cleaning")
    assert await busy.presence.claim(Claim("bob", "phone", GHOST, "s-bob"))
    monkeypatch.setattr(module, "SWEEP_AFTER", 0.0)

    async def swept() -> bool:
        return bool(not await store.hexists("chat:workers", GHOST))

    await until_stored(swept, "the row is swept")
    assert await presence_of(store, "bob") == {}
    assert await is_clean(store)()


async def test_cleaning_up_does_not_hold_up_heartbeats(start: Start, store: Any) -> None:
    fast = {"heartbeat": 0.1 * UNIT, "dead_after": 0.5 * UNIT}
    workers = await start(**fast), await start(**fast)
    releases = {worker: troubled(worker.presence, "release") for worker in workers}
    for trouble in releases.values():
        trouble.gate.clear()
    await ghost(workers[0], store, *(f"user{n}" for n in range(100)), counter="dead")
    worker = await until(lambda: next((w for w in workers if releases[w].calls), None), "one cleans up")
    name = worker.id
    first = int(await store.hget("chat:workers", name))

    async def many_beats() -> bool:
        return int(await store.hget("chat:workers", name)) >= first + 10

    await until_stored(many_beats, "beats")
    assert worker.id == name, "another worker has called it dead"
    for trouble in releases.values():
        trouble.gate.set()


async def test_two_reapers_of_one_ghost_do_no_harm(start: Start, store: Any) -> None:
    fast = {"heartbeat": 0.1 * UNIT, "dead_after": 0.4 * UNIT}
    one, two = await start(**fast), await start(**fast)
    bob = await connect(one)
    users = [f"user{n}" for n in range(50)]
    before = total(REAPED)
    await ghost(two, store, *users)
    await until_stored(is_dead(store), "the ghost is dead")
    await until(lambda: total(REAPED) == before + 2, "both have cleaned up")
    assert [await presence_of(store, user) for user in users] == [{}] * 50
    assert await presence_of(store, "bob") == {"phone": bob.claim.row}
    assert one.id != two.id
