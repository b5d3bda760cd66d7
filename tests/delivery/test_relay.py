"""Acks over HTTP: they free the window of the device's connection, on whichever worker; a lost word costs one audit."""

from typing import Any

import pytest

from service.core.cursor import Cursor
from service.delivery import relay as module
from service.delivery.worker import Worker
from service.store.inbox import AckStatus
from service.telemetry import ACKS_RELAYED, HINTS_DROPPED
from tests.delivery.conftest import Start
from tests.delivery.rig import NEVER, Client, a_message, send, ticks, total, troubled, until, until_stored, within


async def waiting(worker: Worker, window: int = 2) -> tuple[Client, list[Cursor]]:
    """Bob's phone, whose window is full, and his inbox."""
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(6)))
    phone = Client(worker, "bob", "phone")
    await phone.hello(window=window)
    await phone.come(window)
    return phone, cursors


async def ack(worker: Worker, phone: Client, cursor: Cursor) -> AckStatus:
    """Over HTTP at this worker."""
    phone.rules.sent({"type": "ack", "cursor": str(cursor)})
    return await within(worker.relay.ack("bob", "phone", cursor), "the ack")


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_it_is_stored_and_frees_the_window(start: Start, elsewhere: bool) -> None:
    holder = await start(audit_interval=NEVER)
    other = await start(audit_interval=NEVER) if elsewhere else holder
    phone, cursors = await waiting(holder)
    before = total(ACKS_RELAYED)
    for seq in (2, 4):
        assert await ack(other, phone, cursors[seq - 1]) is AckStatus.MOVED
        assert await other.presence.stored("bob", "phone") == cursors[seq - 1]
        await phone.come(seq + 2)
    assert phone.ids == [f"m{n}" for n in range(6)]
    assert total(ACKS_RELAYED) - before == (2 if elsewhere else 0)


async def test_a_repeated_one_is_told_too_for_what_was_sent_once_more(start: Start) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(3)))
    await worker.presence.register("bob", "phone")
    assert await other.relay.ack("bob", "phone", cursors[0]) is AckStatus.MOVED
    phone = Client(worker, "bob", "phone")
    await phone.hello(window=1, cursor="0-0")
    await phone.come(1)
    assert await ack(other, phone, cursors[0]) is AckStatus.NOT_NEWER
    await phone.come(2)


async def test_a_word_that_is_lost_is_found_by_the_audit(start: Start) -> None:
    holder, other = await start(), await start(audit_interval=NEVER)
    phone, cursors = await waiting(holder)
    lost = troubled(other.streams, "announce")
    lost.before = 1
    dropped = total(HINTS_DROPPED)
    await ack(other, phone, cursors[1])
    await phone.come(4)
    assert (lost.failed, total(HINTS_DROPPED) - dropped) == (1, 1)


async def test_one_that_was_stored_while_nobody_listened_is_found_by_the_audit(worker: Worker) -> None:
    phone, cursors = await waiting(worker)
    phone.rules.sent({"type": "ack", "cursor": str(cursors[1])})
    await worker.inboxes.ack([("bob", "phone", cursors[1])])
    await phone.come(4)


async def test_what_was_stored_before_frees_nothing_for_a_device_that_asks_for_old_entries(start: Start) -> None:
    worker = await start()
    cursors = await send(worker, *(a_message(f"m{n}") for n in range(6)))
    await worker.presence.register("bob", "phone")
    await worker.relay.ack("bob", "phone", cursors[-1])
    phone = Client(worker, "bob", "phone")
    await phone.hello(window=2, cursor="0-0")
    await phone.come(2)
    looks = troubled(worker.inboxes, "stored")
    await until(lambda: looks.landed >= 2, "two audits")
    assert len(phone.cursors) == 2
    phone.ack()
    await phone.come(4)


async def test_a_peer_that_is_flooded_gets_no_more_for_its_acks_until_it_reads(start: Start) -> None:
    worker = await start()
    phone, cursors = await waiting(worker)
    phone.flooded = True
    await ack(worker, phone, cursors[1])
    looks = troubled(worker.inboxes, "stored")
    await until(lambda: looks.landed >= 2, "two audits")
    assert len(phone.cursors) == 2
    phone.flooded = False
    await phone.come(4)


async def test_beyond_what_was_sent_it_counts_for_that_and_beyond_the_newest_for_nothing(worker: Worker) -> None:
    phone, cursors = await waiting(worker)
    beyond = Cursor(cursors[-1].ms + 1, 7)
    assert await worker.relay.ack("bob", "phone", beyond) is AckStatus.BEYOND_LAST
    await ticks()
    assert len(phone.cursors) == 2
    assert await ack(worker, phone, cursors[-1]) is AckStatus.MOVED
    await phone.come(4)
    assert phone.closes == []


async def test_another_device_of_the_user_is_not_meant(worker: Worker) -> None:
    phone, cursors = await waiting(worker)
    await worker.presence.register("bob", "laptop")
    await worker.relay.ack("bob", "laptop", cursors[-1])
    await ticks()
    assert len(phone.cursors) == 2


async def test_acks_that_gather_go_out_together_the_furthest_of_each_device(start: Start) -> None:
    holder, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    phone, cursors = await waiting(holder, window=4)
    flights = troubled(other.streams, "announce")
    flights.gate.clear()
    await other.relay.ack("bob", "phone", cursors[0])
    await until(lambda: flights.calls == 1, "the first flight")
    for cursor in (cursors[1], cursors[3], cursors[2]):
        await other.relay.ack("bob", "phone", cursor)
    assert list(other.relay._waiting.values()) == [cursors[3]]
    phone.rules.sent({"type": "ack", "cursor": str(cursors[3])})
    flights.gate.set()
    await phone.come(6)
    assert flights.calls == 2


async def test_what_waits_is_bounded_and_the_rest_is_left_to_the_audit(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    holder, other = await start(), await start(audit_interval=NEVER)
    phone, cursors = await waiting(holder)
    other.relay._waiting["w-gone", ("carol", "phone")] = cursors[0]
    before = total(HINTS_DROPPED)
    await ack(other, phone, cursors[1])
    assert total(HINTS_DROPPED) == before + 1
    await phone.come(4)


async def test_what_one_worker_cannot_be_told_is_dropped_and_the_others_are_told(worker: Worker, store: Any) -> None:
    await store.set("chat:worker:{w-broken}", "not a stream")
    relayed, dropped = total(ACKS_RELAYED), total(HINTS_DROPPED)
    for holder, users in (("w-broken", ("bob", "carol")), (worker.id, ("dave",))):
        for user in users:
            worker.relay._add(holder, (user, "phone"), Cursor(1, 1))
    await until(lambda: total(ACKS_RELAYED) + total(HINTS_DROPPED) - relayed - dropped >= 3, "three words")
    assert (total(ACKS_RELAYED) - relayed, total(HINTS_DROPPED) - dropped) == (1, 2)


async def test_a_control_that_is_not_understood_is_refused_and_does_no_harm(worker: Worker) -> None:
    for value in ("", "bob", "bob/phone", "bob/phone/x", "a/b/1-1/2"):
        with pytest.raises(ValueError, match=r".*"):
            worker.relay.on_control(value)
    worker.relay.on_control("nobody/phone/1-1 bob/phone/2-2")


async def test_a_stream_that_another_replaced_is_noted_before_it_is_told(start: Start) -> None:
    one, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    first = Client(one, "bob", "phone", session="e-1:tab-1")
    await first.hello()
    noted = troubled(other.presence, "end_stream")
    second = Client(other, "bob", "phone", session="e-2:tab-1")
    await second.hello()
    assert await first.closed() == 4509
    assert noted.calls == 0, "a stream that comes back by itself does not end itself"
    third = Client(one, "bob", "phone", session="e-3:tab-2")
    await third.hello()
    assert await second.closed() == 4509
    assert noted.calls == 0
    assert await one.presence.stream_ended(second.claim)
    assert not await one.presence.stream_ended(third.claim)


async def test_a_note_that_cannot_be_written_keeps_nobody_out(start: Start) -> None:
    worker = await start()
    first = Client(worker, "bob", "phone", session="e-1:tab-1")
    await first.hello()
    troubled(worker.presence, "end_stream").before = 1
    second = Client(worker, "bob", "phone", session="e-2:tab-2")
    await second.hello()
    assert await second.next("welcome")
    assert await first.closed() == 4509, "the audit finds it"

    async def held() -> bool:
        return (await worker.inboxes.heads(["bob"]))[0][1] == {"phone": second.claim.row}

    await until_stored(held, "the claim of the second")
