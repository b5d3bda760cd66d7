"""The same device connects again: the last to come wins, unless its attempt says that it is the older one."""

import asyncio
from typing import Any

import pytest

from service.delivery import worker as module
from service.delivery.worker import Worker
from service.telemetry import REPLACED
from tests.delivery.conftest import Start
from tests.delivery.rig import NEVER, Client, a_message, connect, send, total, troubled, until, until_stored, within


async def presence_of(store: Any) -> dict[str, str]:
    return dict(await store.hgetall("chat:presence:{bob}"))


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_the_device_that_connects_again_replaces_its_first_connection(
    start: Start, store: Any, elsewhere: bool
) -> None:
    first_worker = await start(audit_interval=NEVER)
    second_worker = await start(audit_interval=NEVER) if elsewhere else first_worker
    first = await connect(first_worker)
    before = total(REPLACED)
    second = await connect(second_worker)
    assert await first.closed() == 4509
    assert total(REPLACED) == before + 1
    await within(first_worker.releaser.drained(), "the release")
    assert await presence_of(store) == {"phone": second.claim.row}
    await send(first_worker, a_message("m1"))
    assert await second.come(1)
    assert first.ids == []
    assert await store.smembers(f"chat:claims:{{{second_worker.id}}}") == {f"bob/phone/{second.claim.session}"}


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_what_the_first_connection_had_acked_is_not_repeated(
    start: Start, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_worker = await start(audit_interval=NEVER, ack_delay=NEVER)  # it is stored because the first one goes
    second_worker = await start(audit_interval=NEVER, ack_delay=NEVER) if elsewhere else first_worker
    monkeypatch.setattr(module, "SUCCESSION_LOOKS", 1000)  # this machine may be slow
    await send(first_worker, *(a_message(f"m{n}") for n in range(5)))
    first = await connect(first_worker)
    first.ack(first.cursors[2])  # still with the acker when the second one comes
    second = await connect(second_worker)
    assert second.ids == ["m3", "m4"]
    assert await first.closed() == 4509


async def test_a_lower_attempt_is_refused_and_the_holder_goes_on(worker: Worker, other: Worker, store: Any) -> None:
    holder = await connect(worker, attempt=5)
    for late_worker, attempt in ((worker, 4), (other, 1)):
        late = Client(late_worker, "bob", "phone", attempt)
        await late.hello(attempt=attempt)
        assert await late.closed() == 4509
        assert late.frames == []
        await within(late_worker.releaser.drained(), "the release")
    assert await presence_of(store) == {"phone": holder.claim.row}
    assert await store.smembers(f"chat:claims:{{{worker.id}}}") == {f"bob/phone/{holder.claim.session}"}
    assert not await store.exists(f"chat:claims:{{{other.id}}}")
    await send(other, a_message("m1"))
    assert await holder.come(1)
    assert holder.closes == []


@pytest.mark.parametrize("attempt", (5, 6, 0))
async def test_an_equal_or_higher_attempt_or_none_at_all_takes_over(worker: Worker, attempt: int) -> None:
    holder = await connect(worker, attempt=5)
    second = await connect(worker, attempt=attempt)
    assert await holder.closed() == 4509
    assert second.closes == []


async def test_another_device_of_the_user_is_left_alone(worker: Worker, store: Any) -> None:
    phone, laptop = await connect(worker), await connect(worker, device="laptop")
    await send(worker, a_message("m1"))
    await phone.come(1)
    await laptop.come(1)
    assert (phone.closes, laptop.closes) == ([], [])
    assert await presence_of(store) == {"phone": phone.claim.row, "laptop": laptop.claim.row}


async def test_a_notice_of_takeover_that_is_lost_is_made_good_by_the_audit(start: Start, store: Any) -> None:
    first_worker, second_worker = await start(), await start()
    first = await connect(first_worker)
    tell = troubled(second_worker.streams, "tell")
    tell.before = 1
    second = await connect(second_worker)
    assert tell.failed == 1
    assert await first.closed() == 4509
    assert second.closes == []


async def test_a_claim_whose_answer_is_lost_is_made_again_by_the_same_session(worker: Worker, store: Any) -> None:
    first = await connect(worker)
    claims = troubled(worker.presence, "claim")
    claims.after = 1
    second = await connect(worker)
    assert claims.failed == 1
    assert await first.closed() == 4509, "its successor does not know of it; the audit does"
    assert await presence_of(store) == {"phone": second.claim.row}


async def test_a_worker_that_is_renamed_while_a_device_is_let_in_claims_under_its_new_name(
    worker: Worker, store: Any
) -> None:
    claims = troubled(worker.presence, "claim")
    claims.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: claims.calls == 1, "the claim to begin")
    old = worker.id
    await store.hset("chat:workers", old, "dead")
    await until(lambda: worker.id != old, "the new identity")
    claims.gate.set()
    await within(opening, "the opening")
    assert await presence_of(store) == {"phone": client.claim.row}
    assert client.claim.worker == worker.id
    assert (await client.next("welcome"))["worker"] == worker.id


async def test_a_device_on_its_way_in_is_not_thrown_out_by_its_predecessor_when_the_worker_is_renamed(
    worker: Worker, other: Worker, store: Any
) -> None:
    predecessor = await connect(other)
    claims = troubled(worker.presence, "claim")
    claims.gate.clear()
    client = Client(worker, "bob", "phone")
    opening = asyncio.create_task(client.hello())
    await until(lambda: claims.calls == 1, "the claim to begin")
    old = worker.id
    await store.hset("chat:workers", old, "dead")
    await until(lambda: worker.id != old, "the new identity")
    await worker.audit.look(urgent=True)
    claims.gate.set()
    await within(opening, "the opening")
    await client.next("live")
    assert client.closes == []
    assert await predecessor.closed() == 4509


async def test_a_socket_lost_while_its_claim_is_taken_again_leaves_no_claim(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    client = await connect(worker)
    await store.delete("chat:presence:{bob}")
    claims = troubled(worker.presence, "claim")
    claims.gate.clear()
    again = asyncio.create_task(client.connection.reclaim())
    await until(lambda: claims.calls >= 1, "the claim to begin")
    client.hang_up()
    await within(worker.releaser.drained(), "the release, too early")
    claims.gate.set()
    await within(again, "the claim")
    await within(worker.releaser.drained(), "the second release")

    async def nobody() -> bool:
        return await presence_of(store) == {}

    await until_stored(nobody, "nobody is there")
