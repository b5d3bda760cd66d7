"""Polling: the same entries, gaps and takeovers as over a socket, one answer at a time."""

import asyncio
import json
from typing import Any

import pytest

from scripts.lab.timing import PATIENCE, UNIT
from service.core.cursor import START, Cursor
from service.core.errors import Unavailable
from service.delivery import poll as module
from service.delivery.poll import LongPoll, Polled, poll
from service.delivery.worker import Worker
from tests.delivery.conftest import Start
from tests.delivery.rig import (
    NEVER,
    Frame,
    a_message,
    connect,
    send,
    store_quietly,
    ticks,
    troubled,
    until,
    until_stored,
    within,
)


async def ask(
    worker: Worker, after: Cursor | None = None, *, limit: int = 100, wait: float = 0, device: str = "phone"
) -> Polled:
    return await within(poll(worker, "bob", device, after, limit, wait), "the answer")


def asking(worker: Worker, after: Cursor | None = None, wait: float = PATIENCE) -> "asyncio.Task[Polled]":
    """A long poll in the background."""
    return asyncio.create_task(ask(worker, after, wait=wait))


async def waits(worker: Worker) -> LongPoll:
    """Waits until Bob's one long poll waits for news."""

    def probe() -> LongPoll | None:
        for subscriber in worker.hub.of("bob"):
            if isinstance(subscriber, LongPoll) and subscriber.cursor is not None:
                return subscriber
        return None

    return await until(probe, "a waiting poll")


def frames(polled: Polled) -> list[Frame]:
    return [json.loads(frame) for frame in polled.frames]


def ids(polled: Polled) -> list[str]:
    return [frame["id"] for frame in frames(polled)]


async def presence_of(store: Any) -> dict[str, str]:
    return dict(await store.hgetall("chat:presence:{bob}"))


# Without waiting.


async def test_a_poll_makes_the_device_known_and_answers_at_once(worker: Worker, store: Any) -> None:
    polled = await ask(worker)
    assert (polled.frames, polled.cursor, polled.head) == ([], START, START)
    assert await store.hgetall("chat:cursors:{bob}") == {"phone": "0-0"}
    assert await presence_of(store) == {}, "it is not connected"
    assert len(worker.hub) == 0


async def test_entries_after_the_stored_cursor_or_the_one_named(worker: Worker) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(5)))
    polled = await ask(worker)
    assert ids(polled) == [f"m{n}" for n in range(5)]
    assert (polled.cursor, polled.head) == (cursors[4], cursors[4])
    await worker.relay.ack("bob", "phone", cursors[1])
    assert ids(await ask(worker)) == ["m2", "m3", "m4"]
    assert ids(await ask(worker, cursors[3])) == ["m4"]
    assert ids(await ask(worker, START)) == [f"m{n}" for n in range(5)]


async def test_at_most_limit_frames_and_the_cursor_to_go_on_from(worker: Worker) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(250)))
    polled = await ask(worker, limit=3)
    assert (ids(polled), polled.cursor, polled.head) == (["m0", "m1", "m2"], cursors[2], cursors[-1])
    assert ids(await ask(worker, limit=1000)) == [f"m{n}" for n in range(250)]
    seen, cursor = [], START
    while cursor != cursors[-1]:
        polled = await ask(worker, cursor, limit=70)
        seen += ids(polled)
        cursor = polled.cursor
    assert seen == [f"m{n}" for n in range(250)]


async def test_an_answer_is_bounded_in_bytes_and_nothing_is_left_out(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_BYTES", 10_000)
    cursors = await send(worker, *(a_message(f"m{n}", body="x" * 3000) for n in range(12)))
    seen, cursor, answers = [], START, 0
    while cursor != cursors[-1]:
        polled = await ask(worker, cursor)
        assert sum(map(len, polled.frames)) < 14_000
        seen += ids(polled)
        cursor, answers = polled.cursor, answers + 1
    assert seen == [f"m{n}" for n in range(12)]
    assert answers > 2


async def test_what_was_trimmed_is_a_gap_in_its_place(worker: Worker, store: Any) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(5)))
    await ask(worker)
    await store.xtrim("chat:inbox:{bob}", maxlen=2, approximate=False)
    await store.xdel("chat:inbox:{bob}", str(cursors[4]))
    polled = await ask(worker, START)
    gap, entry, deleted = frames(polled)
    assert (gap["type"], gap["reason"], gap["missing"], gap["after"]) == ("gap", "trimmed", 3, "0-0")
    assert entry["id"] == "m3"
    assert (deleted["reason"], deleted["missing"], deleted["cursor"]) == ("deleted", 1, str(cursors[4]))
    assert polled.cursor == cursors[4]


async def test_history_that_the_server_lost_is_a_rewound_gap_and_goes_on_from_what_is_stored(
    worker: Worker, store: Any
) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(4)))
    await ask(worker)
    await worker.relay.ack("bob", "phone", cursors[0])
    await store.xdel("chat:inbox:{bob}", str(cursors[3]), str(cursors[2]))
    await store.hset("chat:state:{bob}", "last", str(cursors[1]))
    polled = await ask(worker, cursors[3])
    gap, entry = frames(polled)
    assert (gap["reason"], gap["missing"]) == ("rewound", None)
    assert (gap["after"], gap["cursor"]) == (str(cursors[3]), str(cursors[0]))
    assert entry["id"] == "m1"
    assert (polled.cursor, polled.head) == (cursors[1], cursors[1])


async def test_where_the_stored_cursor_was_lost_as_well_it_goes_on_from_the_beginning(
    worker: Worker, store: Any
) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(3)))
    await ask(worker)
    await worker.relay.ack("bob", "phone", cursors[2])
    await store.xdel("chat:inbox:{bob}", str(cursors[2]))
    await store.hset("chat:state:{bob}", "last", str(cursors[1]))
    polled = await ask(worker)
    gap, *entries = frames(polled)
    assert (gap["reason"], gap["after"], gap["cursor"]) == ("rewound", str(cursors[2]), "0-0")
    assert [entry["id"] for entry in entries] == ["m0", "m1"]


async def test_a_store_that_is_away_is_said_so(worker: Worker) -> None:
    pages = troubled(worker.inboxes, "page")
    pages.before = 2
    with pytest.raises(Unavailable):
        await poll(worker, "bob", "phone", None, 100, 0)
    with pytest.raises(Unavailable):
        await poll(worker, "bob", "phone", None, 100, PATIENCE)
    assert len(worker.hub) == 0


# Waiting.


async def test_a_long_poll_answers_at_once_when_something_waits(worker: Worker, store: Any) -> None:
    await send(worker, a_message("m1"))
    assert ids(await ask(worker, wait=PATIENCE)) == ["m1"]
    await within(worker.releaser.drained(), "the release")
    assert await presence_of(store) == {}
    assert len(worker.hub) == 0


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_a_long_poll_is_woken_by_an_append(start: Start, elsewhere: bool) -> None:
    here = await start(audit_interval=NEVER)
    there = await start(audit_interval=NEVER) if elsewhere else here
    answer = asking(here)
    await waits(here)
    [cursor] = await send(there, a_message("m1"))
    polled = await answer
    assert (ids(polled), polled.cursor) == (["m1"], cursor)


async def test_an_append_that_nobody_was_told_of_wakes_it_with_the_next_audit(worker: Worker) -> None:
    answer = asking(worker)
    await waits(worker)
    await store_quietly(worker, a_message("m1"))
    assert ids(await answer) == ["m1"]


async def test_when_its_time_is_over_it_answers_empty_where_it_stands(worker: Worker, store: Any) -> None:
    [cursor] = await send(worker, a_message("m1"))
    polled = await ask(worker, cursor, wait=0.05)
    assert (polled.frames, polled.cursor, polled.head) == ([], cursor, cursor)
    await within(worker.releaser.drained(), "the release")
    assert await presence_of(store) == {}


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_a_second_poll_of_the_device_ends_the_first_with_an_empty_answer(
    start: Start, store: Any, elsewhere: bool
) -> None:
    here = await start(audit_interval=NEVER)
    there = await start(audit_interval=NEVER) if elsewhere else here
    first = asking(here)
    replaced = await waits(here)
    second = asking(there)
    polled = await within(first, "the end of the first")
    assert (polled.frames, polled.cursor) == ([], START)
    assert replaced.ended
    await waits(there)
    [cursor] = await send(here, a_message("m1"))
    polled = await second
    assert (ids(polled), polled.cursor) == (["m1"], cursor)


async def test_a_socket_of_the_device_ends_its_poll_and_the_other_way_round(worker: Worker) -> None:
    first = asking(worker)
    await waits(worker)
    client = await connect(worker)
    assert (await within(first, "the end of the poll")).frames == []
    second = asking(worker)
    assert await client.closed() == 4509
    await waits(worker)
    await send(worker, a_message("m1"))
    assert ids(await second) == ["m1"]


async def test_a_poll_whose_claim_is_lost_takes_it_again(worker: Worker, store: Any) -> None:
    answer = asking(worker)
    waiting = await waits(worker)
    await store.delete("chat:presence:{bob}")

    async def back() -> bool:
        return await presence_of(store) == {"phone": waiting.claim.row}

    await until_stored(back, "the claim")
    await send(worker, a_message("m1"))
    assert ids(await answer) == ["m1"]


async def test_a_poll_that_is_over_takes_no_claim_again(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    answer = asking(worker, wait=0.3 * UNIT)
    waiting = await waits(worker)
    await answer
    await within(worker.releaser.drained(), "the release")
    await waiting.reclaim()  # an audit that began before it was over
    await within(worker.releaser.drained(), "the release")
    assert await presence_of(store) == {}
    assert not await store.exists(f"chat:claims:{{{worker.id}}}")


async def test_a_poll_that_ends_while_its_claim_is_taken_again_leaves_none(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    answer = asking(worker)
    waiting = await waits(worker)
    await store.delete("chat:presence:{bob}")
    claims = troubled(worker.presence, "claim")
    claims.gate.clear()
    again = asyncio.create_task(waiting.reclaim())
    await until(lambda: claims.calls == 1, "the claim to begin")
    await send(worker, a_message("m0", "carol"))
    await store_quietly(worker, a_message("m1"))
    waiting.on_hint(START, Cursor(1, 1), None)
    assert ids(await answer) == ["m1"]
    await within(worker.releaser.drained(), "the release, too early")
    claims.gate.set()
    await within(again, "the claim")
    await within(worker.releaser.drained(), "the second release")
    assert await presence_of(store) == {}


async def test_news_that_come_while_it_reads_are_not_slept_over(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    pages = troubled(worker.inboxes, "page")
    read = worker.inboxes.page
    entered = asyncio.Event()

    async def slow(*args: Any, **more: Any) -> Any:
        page = await read(*args, **more)
        entered.set()
        await pages.gate.wait()
        return page

    worker.inboxes.page = slow  # type: ignore[method-assign]
    pages.gate.set()
    answer = asking(worker)
    await within(entered.wait(), "the first read")
    await ticks()
    await send(worker, a_message("m1"))
    assert ids(await answer) == ["m1"]


async def test_a_draining_worker_ends_its_polls_with_an_empty_answer(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    answer = asking(worker)
    await waits(worker)
    await within(worker.drain(), "the drain")
    assert (await answer).frames == []
    assert await presence_of(store) == {}
