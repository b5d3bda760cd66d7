"""Whoever does not ack is told: once for each burst, by one worker, until the receiver has it."""

import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import standardwebhooks

from scripts.lab.proxy import RedisProxy
from scripts.lab.timing import PATIENCE, UNIT
from service.core.cursor import START, Cursor
from service.core.push import partition_of, push_id
from service.delivery.worker import Worker
from service.store.push import PushRows
from service.store.pushers import Pusher as Registered
from service.telemetry import PUSHES_NOT_NEEDED, PUSHES_RETRIED, PUSHES_SENT
from tests.delivery import group_rig
from tests.delivery.conftest import Start
from tests.delivery.rig import a_message, accepted, connect, send, submit, total, until, until_stored
from tests.support.receiver import Receiver, Reply

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
SOON = 0.05 * UNIT

on_one = pytest.mark.usefixtures("redis_server")
"""What is the same whatever the store is."""

Pushing = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def told_to(receiver: Receiver, **settings: Any) -> dict[str, Any]:
    """Settings with which everything about push happens soon."""
    return {
        "push_url": receiver.url,
        "push_secret": SECRET,
        "push_private": True,
        "push_after": SOON,
        "push_interval": SOON,
        "push_backoff": SOON,
        "push_timeout": 5 * UNIT,
        **settings,
    }


@pytest.fixture
def pushing(receiver: Receiver, start: Start) -> Pushing:
    """Starts workers that push to the receiver."""

    async def pushing(**settings: Any) -> Worker:
        return await start(**told_to(receiver, **settings))

    return pushing


async def gone(store: Any, user: str = "bob") -> None:
    """Waits until nobody needs to look at this user any more."""

    async def no_row() -> bool:
        return await store.zscore(f"chat:push:{{{partition_of(user)}}}", user) is None

    await until_stored(no_row, f"the row of {user} is gone")


async def told(store: Any, user: str = "bob", best: Cursor = START) -> None:
    """Waits until the service knows that this user was told."""

    async def noted() -> bool:
        return (await store.hget(f"chat:state:{{{user}}}", "pushed") or "").startswith(f"{best} ")

    await until_stored(noted, f"{user} was told")


async def looked(since: float) -> None:
    """Waits until somebody was looked at who need not be told."""
    await until(lambda: total(PUSHES_NOT_NEEDED) > since, "it was looked at")


async def test_a_message_that_nobody_acks_is_told_once_and_without_what_it_says(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    worker = await pushing()
    first, second = await send(worker, a_message("m1", body="secret"), a_message("m2", sender="carol", body="secret"))
    [request] = await receiver.come(1)
    told = standardwebhooks.Webhook(SECRET).verify(request.body, request.headers)
    assert told.pop("timestamp").endswith("Z")
    newest = {"from": "carol", "group": None, "cursor": str(second), "ts": second.ms}
    assert told == {"type": "inbox.pending", "data": {"user": "bob", "pending": 2, "newest": newest}}
    assert b"secret" not in request.body
    assert request.id == push_id("bob", START, first)
    await gone(store)
    assert await store.hget("chat:state:{bob}", "pushed") == f"0-0 {second}"
    assert await store.keys("chat:push:*") == []


async def test_a_burst_is_told_once_and_after_an_ack_the_next_one(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    worker = await pushing()
    (first,) = await send(worker, a_message("m1"))
    await told(store)
    looks = total(PUSHES_NOT_NEEDED)
    (cursor,) = await send(worker, a_message("m2"))
    await looked(looks)
    assert len(receiver.requests) == 1, "bob knows"
    bob = await connect(worker)
    bob.ack()
    await until_stored(lambda: store.hget("chat:state:{bob}", "best"), "the ack is stored")
    bob.hang_up()
    (third,) = await send(worker, a_message("m3"))
    requests = await receiver.come(2)
    assert [request.id for request in requests] == [push_id("bob", START, first), push_id("bob", cursor, third)]
    assert requests[1].data["pending"] == 1


@on_one
async def test_once_a_burst_is_gone_from_the_inbox_the_next_one_is_told_under_another_id(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    worker = await pushing()
    (first,) = await send(worker, a_message("m1"))
    await told(store)
    await store.xdel("chat:inbox:{bob}", str(first))  # as its deletion does; or it has expired
    (second,) = await send(worker, a_message("m2"))
    requests = await receiver.come(2)
    assert [request.id for request in requests] == [push_id("bob", START, first), push_id("bob", START, second)]


async def test_a_groups_message_is_told_to_the_members_and_not_to_its_sender(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    worker = await pushing()
    await group_rig.change(worker, "put", "bob", "carol")
    await group_rig.send(worker, group_rig.said("m1"))
    requests = await receiver.come(2)
    assert sorted(request.data["user"] for request in requests) == ["bob", "carol"]
    for request in requests:
        assert (request.data["newest"]["from"], request.data["pending"]) == ("alice", 1)
        assert request.data["newest"]["group"] == "team"
    await gone(store, "alice")  # the sweep may have wanted to have her looked at
    assert len(receiver.requests) == 2


@on_one
async def test_what_is_acked_in_time_is_told_to_nobody(pushing: Pushing, receiver: Receiver, store: Any) -> None:
    worker = await pushing(push_after=0.5 * UNIT)
    bob = await connect(worker)
    before = total(PUSHES_NOT_NEEDED)
    (cursor,) = await send(worker, a_message("m1"))
    await bob.come(1)
    bob.ack()

    async def best() -> bool:
        return bool(await store.hget("chat:state:{bob}", "best") == str(cursor))

    await until_stored(best, "the ack is stored")
    await looked(before)
    assert receiver.requests == []


@on_one
async def test_what_came_after_an_ack_has_its_own_time(pushing: Pushing, receiver: Receiver, store: Any) -> None:
    worker = await pushing(push_after=0.6 * UNIT)
    bob = await connect(worker)
    await send(worker, a_message("m1"))
    await bob.come(1)
    (second,) = await send(worker, a_message("m2"))
    bob.ack(bob.cursors[0])
    await receiver.come(1)
    assert receiver.requests[0].data["pending"] == 1
    assert receiver.requests[0].data["newest"]["cursor"] == str(second)
    assert receiver.requests[0].id == push_id("bob", Cursor.parse(bob.cursors[0]), second)


@on_one
async def test_where_nobody_can_be_told_nothing_is_counted(
    pushing: Pushing, receiver: Receiver, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count(*_: Any) -> Any:
        raise AssertionError("counted for nobody")

    monkeypatch.setattr(PushRows, "count", count)
    worker = await pushing(push_format="matrix")
    await send(worker, a_message("m1"))
    await gone(store)
    assert receiver.requests == []


@on_one
async def test_a_key_that_is_registered_after_the_only_one_was_rejected_is_told(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    receiver.reply = lambda _: Reply(200, body=b'{"rejected": ["old"]}')
    worker = await pushing(push_format="matrix", redis_timeout=UNIT)
    await worker.pushing.pushers.put("bob", "phone", Registered("app", "old", {}, 1))
    await send(worker, a_message("m1"))
    await receiver.come(1)
    await worker.pushing.pushers.put("bob", "phone", Registered("app", "new", {}, 2))
    await worker.pushing.expect("bob")
    requests = await receiver.come(2)
    assert [b'"new"' in request.body for request in requests] == [False, True]
    await told(store)


@on_one
async def test_whoever_acks_a_part_and_leaves_is_told_of_the_rest(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    worker = await pushing(redis_timeout=UNIT)
    first, second = await send(worker, a_message("m1"), a_message("m2"))
    await told(store)
    await gone(store)
    bob = await connect(worker)
    await bob.come(2)
    bob.ack(bob.cursors[0])
    bob.hang_up()
    requests = await receiver.come(2)
    assert requests[1].id == push_id("bob", first, second)
    assert requests[1].data["pending"] == 1


@on_one
async def test_a_failure_is_tried_again_under_the_same_id_until_it_is_taken(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    replies = [Reply(503, {"retry-after": "0"}), Reply(302, {"location": receiver.url}), Reply(429)]
    receiver.reply = lambda _: replies.pop(0) if replies else Reply()
    retried, sent = total(PUSHES_RETRIED), total(PUSHES_SENT)
    worker = await pushing()
    (first,) = await send(worker, a_message("m1"))
    requests = await receiver.come(4)
    await told(store)
    assert {request.id for request in requests} == {push_id("bob", START, first)}
    assert len(receiver.requests) == 4
    assert (total(PUSHES_RETRIED) - retried, total(PUSHES_SENT) - sent) == (3, 1)
    assert await store.exists(f"chat:push:{{{partition_of('bob')}}}:tries") == 0


@on_one
async def test_how_often_it_failed_and_with_what_is_there_to_be_read(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    receiver.reply = lambda _: Reply(503)
    worker = await pushing(push_backoff=3600.0, push_backoff_most=7200.0)
    await send(worker, a_message("m1"))

    async def row() -> str | None:
        found: str | None = await store.hget(f"chat:push:{{{partition_of('bob')}}}:tries", "bob")
        return found

    failures, status, at = (await until_stored(row, "the failure is noted") or "").split()
    assert (failures, status) == ("1", "503")
    score = await store.zscore(f"chat:push:{{{partition_of('bob')}}}", "bob")
    assert int(at) + 1_800_000 <= score + 5 <= int(at) + 3_600_005, "the next try is where the row says"


@on_one
async def test_retry_after_counts_up_to_the_longest_wait(pushing: Pushing, receiver: Receiver, store: Any) -> None:
    receiver.reply = lambda _: Reply(503, {"retry-after": "86400"})
    worker = await pushing(push_backoff_most=60.0)
    await send(worker, a_message("m1"))
    await receiver.come(1)
    key = f"chat:push:{{{partition_of('bob')}}}"

    async def waits() -> bool:
        return bool(await store.hexists(f"{key}:tries", "bob"))

    await until_stored(waits, "the failure is noted")
    at = int((await store.hget(f"{key}:tries", "bob")).split()[2])
    assert await store.zscore(key, "bob") == at + 60_000


@on_one
async def test_gone_is_said_once_and_tried_again_all_the_same(
    pushing: Pushing, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.reply = lambda _: Reply(410)
    with caplog.at_level(logging.WARNING, "inboxd.push"):
        worker = await pushing()
        await send(worker, a_message("m1"))
        await receiver.come(3)
    assert [record.message for record in caplog.records if "410 Gone" in record.message] == [
        "INBOXD_PUSH_URL is answered by 410 Gone: it wants no more. Each push is tried again all the same"
    ]


async def test_of_two_workers_one_tells_each_user(pushing: Pushing, receiver: Receiver, store: Any) -> None:
    patient = {"push_timeout": PATIENCE, "redis_timeout": 5 * UNIT}
    one, other = await pushing(**patient), await pushing(**patient)
    users = [f"u{n}" for n in range(40)]
    receiver.hold.clear()
    for n, user in enumerate(users):
        await send((one, other)[n % 2], a_message(f"m{n}", user))
    await receiver.come(len(users))
    receiver.hold.set()
    for user in users:
        await told(store, user)
    assert sorted(request.data["user"] for request in receiver.requests) == sorted(users)


@on_one
async def test_a_slow_receiver_is_not_told_by_another_worker_meanwhile(
    pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    receiver.hold.clear()
    one = await pushing()
    other = await pushing()
    await send(one, a_message("m1"))
    await receiver.come(1)
    await send(other, a_message("x1", "carol"))  # whom both tell: they go on looking
    await receiver.come(2)
    receiver.hold.set()
    looks = total(PUSHES_NOT_NEEDED)
    for user in ("bob", "carol"):
        await told(store, user)
    await looked(looks)
    assert sorted(request.data["user"] for request in receiver.requests) == ["bob", "carol"]


@on_one
async def test_a_worker_that_drains_ends_what_it_has_begun(pushing: Pushing, receiver: Receiver, store: Any) -> None:
    receiver.hold.clear()
    worker = await pushing()
    (cursor,) = await send(worker, a_message("m1"))
    await receiver.come(1)
    assert worker.pushing.pusher is not None
    worker.pushing.close()
    receiver.hold.set()
    await worker.pushing.drained()
    assert await store.hget("chat:state:{bob}", "pushed") == f"0-0 {cursor}"
    await send(worker, a_message("m2", "carol"))
    assert await store.zscore(f"chat:push:{{{partition_of('carol')}}}", "carol") is not None


async def test_whom_no_append_noted_down_the_sweep_finds(
    start: Start, pushing: Pushing, receiver: Receiver, store: Any
) -> None:
    before = await start()
    await send(before, a_message("m1"))
    assert await store.keys("chat:push:*") == []
    await pushing(push_sweep=SOON, push_after=0.001)
    [request] = await receiver.come(1)
    assert request.data["user"] == "bob"


@on_one
async def test_a_receiver_that_hangs_does_not_keep_a_worker_from_leaving(pushing: Pushing, receiver: Receiver) -> None:
    receiver.hold.clear()
    worker = await pushing(push_timeout=PATIENCE, drain_timeout=0.2 * UNIT)
    await send(worker, a_message("m1"))
    await receiver.come(1)
    worker.pushing.close()
    await worker.pushing.drained()
    assert not receiver.hold.is_set()


@on_one
async def test_a_user_whose_keys_are_damaged_holds_up_nobody(
    pushing: Pushing, receiver: Receiver, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await pushing(push_sweep=SOON)
    await send(worker, a_message("m1", "mallory"), a_message("m2", "trudy"))
    await store.hset("chat:state:{mallory}", "best", "no cursor")
    await store.delete("chat:state:{trudy}")
    await store.set("chat:state:{trudy}", "no state")
    await until(lambda: "the push to mallory waits" in caplog.text or len(receiver.requests) > 1, "it was looked at")
    await send(worker, a_message("m3"))
    await until(lambda: "bob" in {request.data["user"] for request in receiver.requests}, "bob is told")
    await store.delete(
        "chat:state:{mallory}", "chat:state:{trudy}", *[f"chat:inbox:{{{u}}}" for u in ("mallory", "trudy")]
    )


# Before the answer.


async def test_the_row_is_there_while_the_append_is_not_answered_yet(
    start: Start, proxy: RedisProxy, receiver: Receiver, store: Any
) -> None:
    settings = told_to(receiver, push_after=3600.0, redis_timeout=1.5 * UNIT)
    worker = await start(proxy.url, **settings)
    (cursor,) = await send(worker, a_message("m0", "dave"))  # the scripts are known
    lost: list[bytes] = []

    def without_appends(command: bytes) -> bytes:
        if b"chat:inbox:{bob}" in command and b"push_" not in command:
            lost.append(command)
            return b""
        return command

    proxy.filter = without_appends
    answer = submit(worker.committer, a_message("m1"))
    key = f"chat:push:{{{partition_of('bob')}}}"

    async def row() -> float | None:
        score: float | None = await store.zscore(key, "bob")
        return score

    assert await until_stored(row, "the row") is not None
    assert lost
    assert not answer.done()
    assert await store.exists("chat:inbox:{bob}") == 0
    proxy.filter = bytes
    await answer
    again = submit(worker.committer, a_message("m1"))
    await until(lambda: not worker.committer.down, "the server is back")
    while not (await again) or not isinstance(await again, list):
        again = submit(worker.committer, a_message("m1"))
    assert accepted(await again) > cursor


@on_one
async def test_a_repeat_has_the_row_written_again(pushing: Pushing, store: Any) -> None:
    worker = await pushing(push_after=3600.0)
    first = await send(worker, a_message("m1"))
    await store.delete(f"chat:push:{{{partition_of('bob')}}}")
    assert await send(worker, a_message("m1")) == first
    assert await store.zscore(f"chat:push:{{{partition_of('bob')}}}", "bob") is not None
