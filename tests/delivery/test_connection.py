"""A connection over a real inbox: it moves what the session decides, and survives what the server does."""

import asyncio
from typing import Any

import pytest

from scripts.lab.proxy import RedisProxy
from service.core.cursor import Cursor
from service.core.frames import History
from service.delivery import connection as module
from service.delivery.teller import CARRIED
from service.delivery.worker import Worker
from service.store.worker_stream import BROADCAST, KICK, Control
from service.telemetry import REPLAYED_PAGES
from tests.delivery.conftest import Start
from tests.delivery.rig import (
    NEVER,
    Client,
    a_message,
    connect,
    send,
    store_quietly,
    submit,
    ticks,
    total,
    troubled,
    until,
    until_stored,
    within,
)


async def stored(store: Any, user: str = "bob", device: str = "phone") -> str | None:
    cursor: str | None = await store.hget(f"chat:cursors:{{{user}}}", device)
    return cursor


async def presence_of(store: Any, user: str = "bob") -> dict[str, str]:
    return dict(await store.hgetall(f"chat:presence:{{{user}}}"))


# Opening, receiving, acking.


async def test_what_waits_is_replayed_in_order_then_it_is_live(worker: Worker) -> None:
    cursors = await send(worker, *(a_message(f"m{n}", body=n) for n in range(5)))
    client = Client(worker, "bob", "phone")
    await client.hello()
    assert await client.come(5) == [str(cursor) for cursor in cursors]
    await client.next("live")
    kinds = [frame["type"] for frame in client.frames]
    assert kinds == ["welcome", *["message"] * 5, "live"]
    assert all(frame["replay"] for frame in client.of("message"))
    welcome = client.frames[0]
    assert (welcome["cursor"], welcome["head"], welcome["pending"]) == ("0-0", str(cursors[-1]), 5)
    assert (welcome["worker"], welcome["session"]) == (worker.id, client.claim.session)


async def test_what_comes_then_arrives_live_without_a_look_into_the_inbox(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    client = await connect(worker)
    pages = total(REPLAYED_PAGES)
    await send(worker, *(a_message(f"m{n}") for n in range(3)))
    await client.come(3)
    assert client.ids == ["m0", "m1", "m2"]
    assert not any(frame.get("replay") for frame in client.of("message"))
    assert total(REPLAYED_PAGES) == pages


async def test_an_ack_is_stored_and_the_next_connection_starts_after_it(worker: Worker, store: Any) -> None:
    await send(worker, *(a_message(f"m{n}") for n in range(4)))
    client = await connect(worker)
    client.ack(client.cursors[1])
    client.hang_up()
    await within(worker.releaser.drained(), "the release")
    assert await stored(store) == client.cursors[1]
    again = await connect(worker)
    assert again.ids == ["m2", "m3"]


async def test_a_cursor_in_hello_counts_as_acked_once_it_is_verified(worker: Worker, store: Any) -> None:
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(4)))
    client = await connect(worker, cursor=str(cursors[2]))
    assert client.ids == ["m3"]

    async def acked() -> bool:
        return await stored(store) == str(cursors[2])

    await until_stored(acked, "the ack")


async def test_a_device_that_does_not_ack_gets_no_more_than_its_window(worker: Worker) -> None:
    await send(worker, *(a_message(f"m{n}") for n in range(10)))
    client = Client(worker, "bob", "phone")
    await client.hello(window=4)
    await client.come(4)
    await ticks()
    assert len(client.cursors) == 4
    while len(client.ids) < 10:
        client.ack()
        await client.come(min(10, len(client.cursors) + 1))
    assert client.ids == [f"m{n}" for n in range(10)]
    client.ack()
    await client.next("live")
    assert client.rules.most_in_flight <= 4


async def test_an_ack_makes_room_at_once_and_is_stored_when_the_connection_ends(start: Start, store: Any) -> None:
    worker = await start(ack_delay=NEVER)
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(3)))
    client = Client(worker, "bob", "phone")
    await client.hello(window=1)
    for count in (2, 3):
        await client.come(count - 1)
        client.ack()
        await client.come(count)
    assert await stored(store) == "0-0"
    client.hang_up()
    await within(worker.releaser.drained(), "the release")
    assert await stored(store) == str(cursors[1])


async def test_a_device_that_acks_beyond_what_it_was_sent_is_closed(worker: Worker, store: Any) -> None:
    [cursor] = await send(worker, a_message("m1"))
    client = await connect(worker)
    client.connection.ack(Cursor(cursor.ms + 1, 2))
    assert await client.closed() == 4500
    assert client.frames[-1]["code"] == "ack_beyond_sent"
    await within(worker.releaser.drained(), "the release")
    assert await stored(store) == "0-0"


async def test_history_is_answered_and_a_failing_store_is_an_error_with_the_same_ref(worker: Worker) -> None:
    await send(worker, *(a_message(f"m{n}") for n in range(3)))
    client = await connect(worker)
    trouble = troubled(worker.histories, "read")
    await client.connection.history(History(type="history", ref="r1", limit=2))
    answer = await client.next("history")
    assert [entry["id"] for entry in answer["entries"]] == ["m2", "m1"]
    assert (answer["ref"], answer["more"]) == ("r1", True)
    trouble.before = 1
    await client.connection.history(History(type="history", ref="r2"))
    error = await client.next("error")
    assert (error["ref"], error["code"], error["retryable"]) == ("r2", "unavailable", True)


# Hints that cross, are missing or large.


async def test_hints_that_cross_are_put_in_order_without_a_look_into_the_inbox(start: Start) -> None:
    worker = await start(audit_interval=NEVER, hole_patience=NEVER)
    client = await connect(worker)
    pages = total(REPLAYED_PAGES)
    messages = [a_message(f"m{n}") for n in range(4)]
    results = await store_quietly(worker, *messages)
    for n in (2, 0, 3, 1):
        result = results[n]
        assert result.prev is not None
        assert result.cursor is not None
        client.connection.on_hint(result.prev, result.cursor, messages[n].tail("bob"))
    await client.come(4)
    assert client.ids == ["m0", "m1", "m2", "m3"]
    assert total(REPLAYED_PAGES) == pages


async def test_a_hint_that_does_not_come_is_read_from_the_inbox_when_patience_is_over(start: Start) -> None:
    worker = await start(audit_interval=NEVER, heartbeat=NEVER, dead_after=2 * NEVER)  # nothing else comes, either
    client = await connect(worker)
    pages = total(REPLAYED_PAGES)
    await store_quietly(worker, a_message("lost"))
    await send(worker, a_message("heard"))
    await client.come(2)
    assert client.ids == ["lost", "heard"]
    assert total(REPLAYED_PAGES) > pages


async def test_the_next_batch_of_hints_ends_patience_at_once(start: Start) -> None:
    worker = await start(audit_interval=NEVER, hole_patience=NEVER)
    client = await connect(worker)
    await store_quietly(worker, a_message("lost"))
    await send(worker, a_message("heard"))
    await ticks()
    assert client.ids == [], "not even patience for the missing one"
    await worker.streams.tell(worker.id, KICK, "nobody")
    await client.come(2)
    assert client.ids == ["lost", "heard"]


async def test_a_large_entry_is_announced_by_its_cursor_alone_and_arrives(start: Start, store: Any) -> None:
    here, there = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    client = await connect(here)
    small, large = "s" * 100, "l" * CARRIED
    flights: list[bytes] = []
    announce = there.streams.announce

    async def watched(fields: Any) -> Any:
        flights.extend(value for _, pairs in fields for _, value in pairs)
        return await announce(fields)

    there.streams.announce = watched  # type: ignore[method-assign]
    await send(there, a_message("small", body=small))
    await client.come(1)
    await send(there, a_message("large", body=large))
    await client.come(2)
    assert [frame["body"] for frame in client.of("message")] == [small, large]
    assert [small.encode() in bytes(flight) for flight in flights] == [True, False]
    assert flights[1] == b""


# The server is away, or fails.


async def test_a_page_is_asked_for_again_for_as_long_as_the_server_is_away(worker: Worker) -> None:
    await send(worker, a_message("m1"))
    trouble = troubled(worker.inboxes, "page")
    trouble.before, trouble.after = 2, 1
    client = await connect(worker)
    assert client.ids == ["m1"]
    assert (trouble.failed, client.closes) == (3, [])


async def test_a_device_is_let_in_when_the_server_is_back_within_the_time_for_hello(
    start: Start, proxy: RedisProxy, store: Any
) -> None:
    worker = await start(proxy.url)
    proxy.refusing = True
    proxy.cut()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: proxy.refused >= 3, "it knocks")
    assert not opening.done()
    proxy.refusing = False
    await within(opening, "the opening")
    await client.next("live")
    assert await presence_of(store) == {"phone": client.claim.row}


async def test_a_device_is_sent_away_when_the_server_stays_away(start: Start, proxy: RedisProxy) -> None:
    worker = await start(proxy.url, hello_timeout=0.2)
    proxy.refusing = True
    proxy.cut()
    client = Client(worker, "bob", "phone")
    await client.hello()
    assert await client.closed() == 1013
    assert client.frames == []
    assert proxy.refused


async def test_a_socket_that_is_gone_does_not_claim_when_the_server_is_back(worker: Worker, store: Any) -> None:
    trouble = troubled(worker.presence, "claim")
    trouble.before = 1
    trouble.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: trouble.calls == 1, "the claim to begin")
    client.hang_up()
    trouble.gate.set()
    await within(opening, "the end of the opening")
    await within(worker.releaser.drained(), "the release")
    assert (trouble.calls, trouble.failed) == (1, 1)
    assert await presence_of(store) == {}
    assert len(worker.hub) == 0


async def test_a_page_that_cannot_be_handled_closes_the_connection(worker: Worker) -> None:
    await send(worker, a_message("m1"))
    client = Client(worker, "bob", "phone")

    async def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("as the test wants it")

    worker.inboxes.page = broken  # type: ignore[method-assign]
    await client.hello()
    assert await client.closed() == 1011


async def test_a_peer_that_cannot_be_written_to_is_closed_instead_of_going_on_with_a_hole(
    worker: Worker, store: Any
) -> None:
    client = await connect(worker)
    real = client.send

    def fails_once(lines: list[bytes]) -> None:
        client.send = real  # type: ignore[method-assign]
        raise RuntimeError("as the test wants it")

    client.send = fails_once  # type: ignore[method-assign]
    await send(worker, a_message("m1"))
    await until(lambda: client.send == real, "the failure")
    await send(worker, a_message("m2"))
    assert await client.closed() == 1011
    assert client.ids == []


# The end.


async def test_a_lost_socket_gives_its_claim_back_and_leaves_nothing(worker: Worker, store: Any) -> None:
    client = await connect(worker)
    assert await presence_of(store) == {"phone": client.claim.row}
    client.hang_up()
    await within(worker.releaser.drained(), "the release")
    assert await presence_of(store) == {}
    assert not await store.exists(f"chat:claims:{{{worker.id}}}")
    assert (len(worker.hub), worker.hub.users()) == (0, [])


async def test_a_socket_lost_during_a_read_reads_no_further(worker: Worker) -> None:
    client = await connect(worker)
    trouble = troubled(worker.inboxes, "page")
    trouble.gate.clear()
    await store_quietly(worker, a_message("m1"))
    await until(lambda: trouble.calls == 1, "the audit finds it, the read begins")
    client.hang_up()
    trouble.gate.set()
    await until(lambda: trouble.landed == 1, "the end of the read")
    await ticks()
    assert client.ids == []
    assert trouble.calls == 1


async def test_news_that_come_too_late_make_a_lost_connection_read_nothing(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    client = await connect(worker)
    cursor = client.connection.cursor
    assert cursor is not None
    client.hang_up()
    trouble = troubled(worker.inboxes, "page")
    client.connection.on_audit(Cursor(cursor.ms + 1, cursor.seq + 1), cursor)  # asked before the socket was lost
    assert client.connection not in worker.hub.behind
    await worker.streams.tell(worker.id, KICK, "nobody")  # any batch settles those that are behind
    await asyncio.sleep(5 * worker.settings.hole_patience)
    assert trouble.calls == 0


async def test_a_draining_device_may_still_ack_and_is_then_closed(worker: Worker, store: Any) -> None:
    await send(worker, a_message("m1"))
    client = await connect(worker)
    client.connection.drain("the worker is restarting", 10)
    await client.next("closing")
    await send(worker, a_message("m2"))
    client.ack()
    client.connection.end(1012, "the worker is restarting")
    assert await client.closed() == 1012
    await within(worker.releaser.drained(), "the release")
    assert await stored(store) == client.cursors[-1]
    assert client.ids == ["m1"], "entries after closing"


@pytest.mark.parametrize("what", ("broadcast", "drain"))
async def test_nothing_comes_before_welcome(worker: Worker, what: str) -> None:
    trouble = troubled(worker.inboxes, "page")
    trouble.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: trouble.calls == 1, "the first read")
    if what == "broadcast":
        worker.on_control(Control(BROADCAST, '"to all"'))
    else:
        client.connection.drain("the worker is restarting", 10)
    await ticks()
    before = [frame["type"] for frame in client.frames]
    trouble.gate.set()
    client.connection.end(1012, "the worker is restarting")
    await within(opening, "the end of the opening")
    assert before == []


async def test_whoever_is_removed_while_it_is_let_in_is_closed(worker: Worker, store: Any) -> None:
    trouble = troubled(worker.presence, "claim")
    trouble.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: trouble.calls == 1, "the claim to begin")
    worker.on_control(Control(KICK, "bob/phone"))
    trouble.gate.set()
    await within(opening, "the end of the opening")
    assert await client.closed() == 4510
    await within(worker.releaser.drained(), "the release")
    assert await presence_of(store) == {}


# Frames.


async def test_what_becomes_ready_in_one_tick_leaves_as_one_frame(worker: Worker) -> None:
    client = await connect(worker)
    bundles = len(client.bundles)
    answers = [submit(worker.committer, a_message(f"m{n}")) for n in range(10)]
    await within(asyncio.gather(*answers), "answers")
    await client.come(10)
    assert len(client.bundles) - bundles < 5
    await ticks()
    bundles = len(client.bundles)
    for n in range(10):
        client.connection.tell(b'{"type":"broadcast","body":%d,"ts":1}' % n)
    assert len(client.bundles) == bundles, "written before the tick was over"
    await ticks()
    assert [len(bundle) for bundle in client.bundles[bundles:]] == [10]
    assert [frame["body"] for frame in client.of("broadcast")] == list(range(10))


async def test_a_frame_bundles_at_most_256_kib(worker: Worker) -> None:
    await send(worker, *(a_message(f"m{n}", body="x" * 60_000) for n in range(10)))
    client = await connect(worker)
    await client.come(10)
    sizes = [sum(map(len, bundle)) for bundle in client.bundles]
    assert max(sizes) <= module.FRAME_BYTES
    assert any(len(bundle) > 1 and sum(map(len, bundle)) > 100_000 for bundle in client.bundles), "nothing was bundled"


async def test_a_line_longer_than_a_frame_should_be_travels_alone(worker: Worker) -> None:
    client = await connect(worker)
    bundles = len(client.bundles)
    long = b'{"type":"broadcast","body":"%s","ts":1}' % (b"x" * module.FRAME_BYTES)
    short = b'{"type":"broadcast","body":"short","ts":1}'
    for line in (short, long, short, short):
        client.connection.tell(line)
    await ticks()
    assert client.bundles[bundles:] == [[short], [long], [short, short]]
