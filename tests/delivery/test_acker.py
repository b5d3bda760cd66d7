"""The acker: what devices acked meanwhile is one write, nothing acked is lost, nothing goes back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.lab.timing import UNIT
from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.delivery.acker import Acker
from service.store.appends import Appends
from service.store.client import Clients
from service.store.inbox import Inboxes
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.presence import Presence
from service.telemetry import ACKS_STORED
from tests.delivery.rig import Recorder, Trouble, a_message, ended, quick, total, troubled, until, within
from tests.store.conftest import known


@dataclass
class Bench:
    acker: Acker
    appends: Appends
    inboxes: Recorder
    presence: Presence
    trouble: Trouble

    async def fill(self, user: str, count: int) -> list[Cursor]:
        """So many entries for one user; their cursors."""
        messages = [a_message(f"m{n}", user) for n in range(count)]
        cursors = [results[0].cursor for results in known(await self.appends.append(messages, own_copy=False))]
        return [cursor for cursor in cursors if cursor is not None]


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    clients, keys = Clients(quick(redis_url)), Keys("chat:")
    limits = Limits(10_000, 1000, 3600, 3600, 60)
    inboxes = Recorder.of(Inboxes(clients, keys, limits))
    acker = Acker(inboxes, 0.02 * UNIT)
    trouble = troubled(inboxes, "ack")
    task = asyncio.create_task(acker.run())
    yield Bench(acker, Appends(clients, keys, limits), inboxes, Presence(clients.rest, keys, limits), trouble)
    died = task.done()
    result = await ended(task)
    await clients.aclose()
    assert not died, f"the acker has died: {result}"


async def stored(store: Any, user: str = "bob", device: str = "phone") -> str | None:
    cursor: str | None = await store.hget(f"chat:cursors:{{{user}}}", device)
    return cursor


async def test_acks_of_a_device_that_come_together_are_one_write(bench: Bench, store: Any) -> None:
    cursors = await bench.fill("bob", 10)
    before = total(ACKS_STORED)
    for cursor in cursors:
        bench.acker.add("bob", "phone", cursor)
    bench.acker.add("bob", "laptop", cursors[3])
    await until(lambda: bench.trouble.landed == 1, "the write")
    assert bench.inboxes.acks == [[("bob", "phone", cursors[-1]), ("bob", "laptop", cursors[3])]]
    assert await stored(store) == str(cursors[-1])
    assert await stored(store, device="laptop") == str(cursors[3])
    assert total(ACKS_STORED) == before + 2


async def test_a_lower_ack_changes_nothing(bench: Bench, store: Any) -> None:
    cursors = await bench.fill("bob", 3)
    bench.acker.add("bob", "phone", cursors[2])
    bench.acker.add("bob", "phone", cursors[0])
    await within(bench.acker.flush(), "the write")
    assert bench.inboxes.acks == [[("bob", "phone", cursors[2])]]
    bench.acker.add("bob", "phone", cursors[1])
    await within(bench.acker.flush(), "the write")
    assert await stored(store) == str(cursors[2])


async def test_a_write_carries_at_most_64_devices(bench: Bench, store: Any) -> None:
    [cursor] = await bench.fill("bob", 1)
    for n in range(150):
        bench.acker.add("bob", f"device{n}", cursor)
    await within(bench.acker.flush(), "the writes")
    assert [len(batch) for batch in bench.inboxes.acks] == [64, 64, 22]
    assert await store.hlen("chat:cursors:{bob}") == 150


async def test_acks_are_kept_while_writes_fail_and_written_when_they_do_not(bench: Bench, store: Any) -> None:
    cursors = await bench.fill("bob", 2)
    bench.trouble.before = 3
    bench.acker.add("bob", "phone", cursors[0])
    await until(lambda: bench.trouble.failed >= 1, "a failure")
    bench.acker.add("bob", "phone", cursors[1])
    await until(lambda: len(bench.inboxes.acks) == 1, "the write that does not fail")
    assert bench.trouble.failed == 3
    await within(bench.acker.flush(), "the rest")
    assert await stored(store) == str(cursors[1])


async def test_a_write_that_failed_after_it_ran_is_repeated_without_harm(bench: Bench, store: Any) -> None:
    cursors = await bench.fill("bob", 1)
    bench.trouble.after = 1
    bench.acker.add("bob", "phone", cursors[0])
    await until(lambda: len(bench.inboxes.acks) == 2, "the write and its repetition")
    assert bench.trouble.failed == 1
    assert await stored(store) == str(cursors[0])


async def test_what_is_acked_during_a_write_is_written_next(bench: Bench, store: Any) -> None:
    cursors = await bench.fill("bob", 2)
    bench.trouble.gate.clear()
    bench.acker.add("bob", "phone", cursors[0])
    await until(lambda: bench.trouble.calls == 1, "the write to begin")
    bench.acker.add("bob", "phone", cursors[1])
    bench.trouble.gate.set()
    await until(lambda: len(bench.inboxes.acks) == 2, "both writes")
    await within(bench.acker.flush(), "the rest")
    assert await stored(store) == str(cursors[1])


async def test_flush_writes_at_once_and_says_when_it_cannot(bench: Bench, store: Any) -> None:
    bench.acker._delay = 3600
    [cursor] = await bench.fill("bob", 1)
    bench.acker.add("bob", "phone", cursor)
    bench.trouble.before = 1
    with pytest.raises(Unavailable):
        await bench.acker.flush()
    assert await stored(store) is None
    await within(bench.acker.flush(), "the write")
    assert await stored(store) == str(cursor)
