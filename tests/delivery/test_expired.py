"""Entries that expire before a device has seen them: told as a gap wherever they stood, and counted once."""

import json
from dataclasses import replace
from typing import Any

import pytest

from scripts.lab.redis_server import RedisServer
from service.core.cursor import START
from service.core.entries import Fields
from service.delivery.poll import poll
from service.delivery.worker import Worker
from service.store.appends import Numbered
from service.store.history import Asked
from service.telemetry import ENTRIES_EXPIRED
from tests.delivery.rig import Client, a_message, store_quietly, ticks, total, within

HOUR = 3600


@pytest.fixture
async def later(redis_server: RedisServer, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Bob's inbox holds `stays`, two that have expired, one of a group that has, `too`; two hours later."""
    now = worker.now_ms()
    fields: Fields = ["kind", "message", "id", "g1", "from", "alice", "group", "team", "seq", "1", "body", b"1"]
    for message in (a_message("stays"), *(replace(a_message(id), expires_in=HOUR) for id in ("a", "b"))):
        await store_quietly(worker, message)
    await worker.appends.number([Numbered("bob", "team", 1, 1, ["expires", str(now + HOUR * 1000), *fields])])
    await store_quietly(worker, a_message("too"))
    monkeypatch.setattr(worker, "now_ms", lambda: now + 2 * HOUR * 1000)
    return worker


def shown(frames: list[Any]) -> list[str]:
    return [f"{frame['reason']} {frame['missing']}" if "reason" in frame else frame["id"] for frame in frames]


async def test_a_connection_tells_a_gap_and_counts_it_once(later: Worker) -> None:
    before = total(ENTRIES_EXPIRED)
    bob = Client(later, "bob", "phone")
    await bob.hello(window=1)
    while bob.ids[-1:] != ["too"]:  # the page is read again for each of them
        await bob.come(len(bob.cursors) + (not bob.cursors))
        bob.ack()
        await ticks()
    gaps = bob.of("gap")
    assert {gap["reason"] for gap in gaps} == {"expired"}
    assert total(ENTRIES_EXPIRED) - before == sum(gap["missing"] for gap in gaps) == 3


async def test_a_poll_tells_a_gap_and_counts_it(later: Worker) -> None:
    before = total(ENTRIES_EXPIRED)
    polled = await within(poll(later, "bob", "phone", START, 10, 0), "the answer")
    assert shown([json.loads(frame) for frame in polled.frames]) == ["stays", "expired 3", "too"]
    assert total(ENTRIES_EXPIRED) == before + 3


async def test_history_leaves_them_out(later: Worker) -> None:
    entries, more = await later.histories.read("bob", Asked(), later.now_ms())
    assert (len(entries), more) == (2, False)
