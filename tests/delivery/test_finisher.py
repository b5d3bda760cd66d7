"""The finisher: fan-outs whose worker has died are ended by another; the index forgets who has none."""

import asyncio
import zlib
from typing import Any

import pytest

from service.delivery.finisher import GRACE, Finisher
from service.delivery.worker import Worker
from service.store.keys import FANOUT_PARTS
from tests.delivery.conftest import Start
from tests.delivery.group_rig import change, has, opens, said, submit
from tests.delivery.rig import NEVER, ended, troubled, until_stored, within

INDEX = f"chat:fanout:{{{zlib.crc32(b'team') % FANOUT_PARTS}}}"


def finisher(worker: Worker, later: float = 0, interval: float = NEVER, patience: float = 5) -> Finisher:
    """One that looks so many seconds later."""
    return Finisher(worker.groups, worker.fanout, lambda: worker.now_ms() + int(later * 1000), interval, patience)


async def left_open(worker: Worker, store: Any) -> None:
    await change(worker, "put", "bob", "carol")
    troubled(worker.appends, "number").before = 1
    await within(submit(worker.fanout, said("m1")), "an answer")
    assert await opens(store) == [2]


async def test_what_is_old_is_ended_and_what_is_young_is_left_to_its_worker(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    await finisher(worker).look()
    assert await opens(store) == [2]
    await finisher(worker, later=6).look()
    assert await opens(store) == []
    assert await has(store, "carol") == ["1 created", "2 m1"]


async def test_a_group_is_forgotten_only_when_nothing_can_be_committed_any_more(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    until = int(await store.zscore(INDEX, "team"))
    ahead = (until + GRACE - worker.now_ms()) / 1000
    await finisher(worker, later=ahead + 5, patience=NEVER).look()
    assert await store.zscore(INDEX, "team") == until  # something is open
    await worker.fanout.finish("team")
    await finisher(worker, later=ahead - 5).look()
    assert await store.zscore(INDEX, "team") == until
    await finisher(worker, later=ahead + 5).look()
    assert await store.zscore(INDEX, "team") is None


async def test_it_looks_when_a_worker_was_reaped_and_outlives_a_store_that_is_away(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    trouble = troubled(worker.groups, "announced")
    trouble.before = FANOUT_PARTS
    one = finisher(worker, later=6)
    task = asyncio.create_task(one.run())
    try:
        one.wake()
        await until_stored(lambda: _failed(trouble), "it could not look anywhere")
        assert await opens(store) == [2]
        one.wake()
        await until_stored(lambda: _none(store), "it has looked again")
    finally:
        await ended(task)


async def _failed(trouble: Any) -> bool:
    return bool(trouble.failed == FANOUT_PARTS)


async def _none(store: Any) -> bool:
    return await opens(store) == []


async def test_what_cannot_be_ended_yet_is_left_for_the_next_look(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    trouble = troubled(worker.appends, "number")
    trouble.before = 1
    await finisher(worker, later=6).look()
    assert trouble.failed == 1
    assert await opens(store) == [2]
    await finisher(worker, later=6).look()
    assert await opens(store) == []


async def test_a_part_of_the_index_that_is_away_keeps_nobody_from_the_others(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    troubled(worker.groups, "announced").before = 1  # not the part of this group
    await finisher(worker, later=6).look()
    assert await opens(store) == []


async def test_a_group_whose_keys_cannot_be_read_keeps_nobody_from_the_others(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    await left_open(worker, store)
    beside = next(name for n in range(999) if worker.keys.fanout_of(name := f"g{n}") == worker.keys.fanout_of("team"))
    await change(worker, "put", "bob", group=beside)
    await store.delete(f"chat:group:{{{beside}}}:fanout")
    await store.set(f"chat:group:{{{beside}}}:fanout", "not a hash")
    await finisher(worker, later=6).look()
    assert await opens(store) == []


async def test_a_group_that_hangs_holds_up_no_other(start: Start, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await start(audit_interval=NEVER)
    groups = [f"g{n}" for n in range(6)]
    for group in groups:
        await change(worker, "put", "bob", group=group)
        await store.hset(f"chat:group:{{{group}}}:fanout", "1", "1")
    held, ended_groups = asyncio.Event(), asyncio.Queue[str]()

    async def finish(group: str) -> None:
        if group == "g0":
            await held.wait()
        ended_groups.put_nowait(group)

    monkeypatch.setattr(worker.fanout, "finish", finish)
    look = asyncio.create_task(finisher(worker).look())
    try:
        found = {await within(ended_groups.get(), "another group") for _ in groups[1:]}
        assert found == set(groups[1:])
    finally:
        held.set()
        await within(look, "the look")


async def test_a_reaped_worker_wakes_it(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    woken = troubled(worker.groups, "announced")
    await worker.presence.enter("w-gone")
    await worker.presence.reap("w-gone", "0")
    await until_stored(lambda: _looked(woken), "it looks")


async def _looked(woken: Any) -> bool:
    return bool(woken.landed)
