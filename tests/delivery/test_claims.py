"""Claims given back: after the acks, in spite of an absent server, and never somebody else's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from service.core.cursor import Cursor
from service.delivery.acker import Acker
from service.delivery.claims import Releaser
from service.store.appends import Appends
from service.store.client import Clients
from service.store.inbox import Inboxes
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.presence import Claim, Presence
from tests.delivery.rig import NEVER, Trouble, a_message, ended, quick, ticks, troubled, until, within
from tests.store.conftest import known

PHONE = Claim("bob", "phone", "w-1", "s-1")


@dataclass
class Bench:
    """A running releaser. The acker writes only when it is told to."""

    releaser: Releaser
    acker: Acker
    appends: Appends
    inboxes: Inboxes
    presence: Presence
    acks: Trouble
    releases: Trouble

    async def claimed(self, claim: Claim = PHONE) -> Claim:
        assert await self.presence.claim(claim)
        return claim

    async def entry(self) -> Cursor:
        """An entry in Bob's inbox."""
        [[result]] = known(await self.appends.append([a_message("m1")], own_copy=False))
        assert result.cursor is not None
        return result.cursor

    async def release(self, claim: Claim = PHONE) -> None:
        self.releaser.add(claim)
        await within(self.releaser.drained(), "the release")


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    clients, keys = Clients(quick(redis_url)), Keys("chat:")
    limits = Limits(100, 100, 3600, 3600, 60)
    inboxes, presence = Inboxes(clients, keys, limits), Presence(clients.rest, keys, limits)
    acker = Acker(inboxes, NEVER)
    releaser = Releaser(presence, acker)
    acks, releases = troubled(inboxes, "ack"), troubled(presence, "release")
    task = asyncio.create_task(releaser.run())
    yield Bench(releaser, acker, Appends(clients, keys, limits), inboxes, presence, acks, releases)
    died = task.done()
    result = await ended(task)
    await clients.aclose()
    assert not died, f"the releaser has died: {result}"


async def presence_of(store: Any, user: str = "bob") -> dict[str, str]:
    return dict(await store.hgetall(f"chat:presence:{{{user}}}"))


async def test_a_released_claim_leaves_nothing_behind(bench: Bench, store: Any) -> None:
    await bench.claimed()
    assert await presence_of(store) == {"phone": PHONE.row}
    assert await store.smembers("chat:claims:{w-1}") == {"bob/phone/s-1"}
    await bench.release()
    assert await presence_of(store) == {}
    assert await store.hget("chat:state:{bob}", "online") == "0"
    assert not await store.exists("chat:claims:{w-1}")


async def test_acks_are_stored_before_the_claim_is_given_back(bench: Bench, store: Any) -> None:
    await bench.claimed()
    cursor = await bench.entry()
    bench.acker.add("bob", "phone", cursor)
    bench.releases.gate.clear()
    bench.releaser.add(PHONE)
    await until(lambda: bench.releases.calls == 1, "the release to begin")
    assert await store.hget("chat:cursors:{bob}", "phone") == str(cursor)
    assert await presence_of(store) == {"phone": PHONE.row}
    bench.releases.gate.set()
    await within(bench.releaser.drained(), "the release")
    assert await presence_of(store) == {}


async def test_an_ack_that_fails_holds_the_release_up_until_it_is_stored(bench: Bench, store: Any) -> None:
    await bench.claimed()
    cursor = await bench.entry()
    bench.acker.add("bob", "phone", cursor)
    bench.acks.before = 2
    await bench.release()
    assert bench.acks.failed == 2
    assert bench.releases.calls == 1
    assert await store.hget("chat:cursors:{bob}", "phone") == str(cursor)


async def test_no_claim_is_forgotten_while_the_server_is_away(bench: Bench, store: Any) -> None:
    claims = [Claim("bob", f"device{n}", "w-1", f"s-{n}") for n in range(5)]
    for claim in claims:
        await bench.claimed(claim)
    bench.releases.before = 2
    bench.releases.after = 1
    for claim in claims:
        bench.releaser.add(claim)
    await within(bench.releaser.drained(), "all releases")
    assert bench.releases.failed == 3
    assert await presence_of(store) == {}
    assert not await store.exists("chat:claims:{w-1}")


async def test_drained_waits_for_the_release_under_way(bench: Bench) -> None:
    await bench.claimed()
    bench.releases.gate.clear()
    bench.releaser.add(PHONE)
    await until(lambda: bench.releases.calls == 1, "the release to begin")
    drained = asyncio.ensure_future(bench.releaser.drained())
    await ticks()
    assert not drained.done()
    bench.releases.gate.set()
    await within(drained, "the release")


async def test_a_newer_claim_of_the_device_stays(bench: Bench, store: Any) -> None:
    await bench.claimed()
    newer = await bench.claimed(Claim("bob", "phone", "w-2", "s-2"))
    await bench.release()
    assert await presence_of(store) == {"phone": newer.row}
    assert await store.hget("chat:state:{bob}", "online") == "1"
    assert not await store.exists("chat:claims:{w-1}")
    assert await store.smembers("chat:claims:{w-2}") == {"bob/phone/s-2"}


async def test_other_devices_and_users_keep_theirs(bench: Bench, store: Any) -> None:
    await bench.claimed()
    laptop = await bench.claimed(Claim("bob", "laptop", "w-1", "s-2"))
    carol = await bench.claimed(Claim("carol", "phone", "w-1", "s-3"))
    await bench.release()
    assert await presence_of(store) == {"laptop": laptop.row}
    assert await presence_of(store, "carol") == {"phone": carol.row}
    assert await store.hget("chat:state:{bob}", "online") == "1"
