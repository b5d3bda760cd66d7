"""A group whose node has lost its tail while its members' nodes have not: nothing accepted is missing anywhere."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from scripts.lab.redis_server import RedisServer
from service.core.errors import Fault, Unavailable
from service.core.groups import GroupResult
from service.core.lane import Lane
from service.core.sending import Message
from service.delivery.fanout import Fanout
from service.delivery.worker import Worker
from service.store.groups import Change
from tests.delivery.group_rig import change, deletion, has, opens, said, send, submit
from tests.delivery.rig import within

Rewind = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture
async def group(worker: Worker, redis_server: RedisServer) -> AsyncIterator[tuple[Worker, Rewind]]:
    """A worker, and what takes a group of alice, bob and carol back to its creation."""
    raw = redis_server.async_client()
    await change(worker, "put", "bob", "carol")
    saved = {key: await raw.dump(key) async for key in raw.scan_iter("chat:group:*")}

    async def rewind() -> None:
        await raw.delete(*[key async for key in raw.scan_iter("chat:group:*")])
        for key, value in saved.items():
            await raw.restore(key, 0, value)

    yield worker, rewind
    await raw.aclose()


async def resent(fanout: Fanout, *messages: Message) -> list[GroupResult]:
    """As a client does it: all at once, and what is `unavailable` again, until all of it is in."""
    done: dict[str, GroupResult] = {}
    for _ in range(4):
        left = [message for message in messages if message.id not in done]
        for message, answer in [(message, submit(fanout, message)) for message in left]:
            result = await within(answer, "an answer")
            if isinstance(result, Fault):
                assert result.code == "unavailable"
            else:
                done[message.id] = result
    return [done[message.id] for message in messages]


def ids(rows: list[str]) -> list[str]:
    """Each once, as a client shows them."""
    return list(dict.fromkeys(row.partition(" ")[2] for row in rows))


async def test_what_is_sent_after_the_loss_is_in_every_inbox_above_what_was_lost(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    assert isinstance(await submit(worker.fanout, said("n1")), Fault), "nobody has it"
    answers = await resent(worker.fanout, said("n1"), said("n2"), said("n3"))
    assert [answer.number for answer in answers] == [4, 5, 6]
    for user in ("alice", "bob", "carol"):
        assert await has(store, user) == ["1 created", "2 m1", "3 m2", "4 n1", "5 n2", "6 n3"]
    assert await opens(store) == []


async def test_a_batch_that_reaches_beyond_what_was_lost_keeps_its_order(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, rewind = group
    await send(worker, said("m1"))
    await rewind()
    await resent(worker.fanout, *(said(f"n{n}") for n in range(5)))
    for user in ("alice", "bob", "carol"):
        assert ids(await has(store, user)) == ["created", "m1", *(f"n{n}" for n in range(5))]


async def test_who_took_the_lower_number_gets_it_again_under_another(group: tuple[Worker, Rewind], store: Any) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    await store.hset("chat:groups:{carol}", "team", "1 1")  # her node has lost it, too
    await resent(worker.fanout, said("n1"))
    assert (await has(store, "carol"))[-2:] == ["2 n1", "4 n1"]
    assert (await has(store, "bob"))[-1] == "4 n1"


async def test_members_that_were_ahead_by_different_numbers_all_get_it(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, rewind = group
    await send(worker, *(said(f"m{n}") for n in range(4)))
    await rewind()
    had = (await store.hget("chat:groups:{carol}", "team")).partition(" ")[2]
    await store.hset("chat:groups:{carol}", "team", f"9 {had}")
    await resent(worker.fanout, said("n1"), said("n2"))
    for user in ("alice", "bob", "carol"):
        assert (await has(store, user))[-2:] == ["10 n1", "11 n2"]


async def test_a_lane_keeps_its_order(group: tuple[Worker, Rewind], store: Any) -> None:
    worker, rewind = group
    await send(worker, said("m1"))
    await rewind()
    lane = Lane()
    answers = [submit(worker.fanout, said(f"n{n}"), lane=lane) for n in range(4)]
    assert all([isinstance(await within(answer, "an answer"), Fault) for answer in answers])
    await worker.fanout.finish("team")
    assert ids(await has(store, "bob"))[2:] == ["n0", "n1", "n2", "n3"]


async def test_whoever_ends_what_was_left_open_ends_it_above_what_was_lost(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    await worker.groups.commit("team", [said("n1")], "", worker.claim_deadline())
    with pytest.raises(Unavailable):
        await worker.fanout.finish("team")
    await worker.fanout.finish("team")
    assert await has(store, "bob") == ["1 created", "2 m1", "3 m2", "4 n1"]
    assert await opens(store) == []


async def test_changes_of_members_are_heard_of_all_the_same(group: tuple[Worker, Rewind], store: Any) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    for what, users, last in (("join", ("heidi",), "4 joined"), ("put", ("carol", "heidi"), "5 left")):
        if last == "4 joined":
            with pytest.raises(Unavailable):
                await change(worker, what, *users)
        await change(worker, what, *users)
        for user in ("alice", "bob", "carol", "heidi"):
            assert (await has(store, user))[-1] == last


@pytest.mark.parametrize(("what", "users"), (("leave", ("bob",)), ("delete", ())))
async def test_who_leaves_just_after_the_loss_hears_of_it(
    group: tuple[Worker, Rewind], store: Any, what: str, users: tuple[str, ...]
) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    with pytest.raises(Unavailable):
        await worker.fanout.change(Change("team", "alice", what, users))
    await worker.fanout.finish("team")
    assert (await has(store, "bob"))[-1].partition(" ")[0] == "4"
    assert await opens(store) == []
    if what == "leave":
        await send(worker, said("n1"))
        assert (await has(store, "bob"))[-1] == "4 left"
        assert (await has(store, "carol"))[-1] == "5 n1"


async def test_a_group_that_is_made_anew_goes_on_above_what_its_members_have_had(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, _ = group
    await send(worker, said("m1"), said("m2"))
    await store.delete(*[key async for key in store.scan_iter("chat:group:*")])
    with pytest.raises(Unavailable):
        await change(worker, "put", "bob", "carol")
    await change(worker, "put", "bob", "carol")
    await send(worker, said("n1"))
    assert (await has(store, "bob"))[-2:] == ["4 created", "5 n1"]


async def test_what_is_deleted_after_the_loss_is_erased_under_its_new_number(
    group: tuple[Worker, Rewind], store: Any
) -> None:
    worker, rewind = group
    await send(worker, said("m1"), said("m2"))
    await rewind()
    await resent(worker.fanout, said("n1"), deletion("d1", "n1"))
    assert ids(await has(store, "bob")) == ["created", "m1", "m2", "d1"]
    await resent(worker.fanout, said("n2"))
    await send(worker, deletion("d2", "n2"))
    assert ids(await has(store, "bob")) == ["created", "m1", "m2", "d1", "d2"]
    assert await opens(store) == []
