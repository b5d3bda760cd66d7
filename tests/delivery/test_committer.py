"""The committer: batches by back-pressure, keeps order, answers everything, survives the server's absence."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from typing import Any

import pytest

from scripts.lab.proxy import RedisProxy
from service.core.errors import Fault, Unavailable
from service.core.lane import Lane
from service.core.sending import UNAVAILABLE, Appended, AppendStatus, Message
from service.delivery import committer as module
from service.delivery.committer import Committer
from service.delivery.flights import Done
from service.store.appends import Appends, Attempt
from service.telemetry import BATCHES, MESSAGES_COMMITTED, SENDS_UNAVAILABLE
from tests.delivery.committer_rig import Bench, all_of, entries, running_bench
from tests.delivery.rig import (
    Answer,
    a_message,
    accepted,
    code,
    ended,
    submit,
    ticks,
    total,
    troubled,
    until,
    within,
)


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async for bench in running_bench(redis_url):
        yield bench


@pytest.fixture
async def copying(redis_url: str) -> AsyncIterator[Bench]:
    """A committer that appends senders' own copies, too."""
    async for bench in running_bench(redis_url, own_copy=True):
        yield bench


@pytest.fixture
async def tight(redis_url: str) -> AsyncIterator[Bench]:
    """A committer of inboxes that hold two unacked entries."""
    async for bench in running_bench(redis_url, max_pending=2):
        yield bench


@pytest.fixture
async def remote(proxy: RedisProxy) -> AsyncIterator[Bench]:
    """A committer whose server can be cut off."""
    async for bench in running_bench(proxy.url, redis_timeout=0.3, reader_block=0.1):
        yield bench


# Batching.


async def test_a_lone_message_waits_for_nobody(bench: Bench) -> None:
    before = total(BATCHES), total(MESSAGES_COMMITTED)
    [answer] = await all_of(bench.submit(a_message("m1")))
    assert accepted(answer).seq == 1
    assert bench.calls == [["m1"]]
    assert bench.told == ["m1"]
    assert (total(BATCHES), total(MESSAGES_COMMITTED)) == (before[0] + 1, before[1] + 1)


async def test_what_arrives_while_a_batch_is_in_flight_leaves_in_one_call(bench: Bench, store: Any) -> None:
    await bench.hold()
    ids = [f"m{n}" for n in range(40)]
    answers = []
    for id in ids:
        answers += bench.submit(a_message(id))
        await asyncio.sleep(0)
    assert bench.trouble.calls == 1, "two batches in flight"
    assert not any(answer.done() for answer in answers)
    bench.release()
    cursors = [accepted(answer) for answer in await all_of([bench.held, *answers])][1:]
    assert bench.calls == [["first"], ids]
    assert [cursor.seq for cursor in cursors] == list(range(1, 41))
    assert cursors == sorted(cursors)
    assert await entries(store) == ids


async def test_a_call_carries_at_most_128_messages_and_order_holds_across_calls(bench: Bench, store: Any) -> None:
    await bench.hold()
    ids = [f"m{n}" for n in range(300)]
    answers = bench.submit(*(a_message(id) for id in ids))
    bench.release()
    await all_of(answers)
    assert [len(call) for call in bench.calls] == [1, 128, 128, 44]
    assert list(chain(*bench.calls[1:])) == ids == await entries(store)


@pytest.mark.usefixtures("redis_server")  # several servers share the appends
async def test_a_call_carries_about_128_appends_and_own_copies_count(copying: Bench) -> None:
    await copying.hold()
    answers = copying.submit(*(a_message(f"m{n}", ("bob", "carol")) for n in range(60)))
    copying.release()
    assert all(isinstance(answer, list) and len(answer) == 2 for answer in await all_of(answers)), "a copy is no answer"
    assert [len(call) for call in copying.calls] == [1, 43, 17]


async def test_a_message_is_never_split(bench: Bench, store: Any) -> None:
    users = [f"user{n}" for n in range(100)]
    await bench.hold()
    answers = bench.submit(
        *(a_message(f"m{n}") for n in range(40)), a_message("many", users), a_message("after", "user0")
    )
    bench.release()
    *_, many, after = await all_of(answers)
    assert [call[-1] for call in bench.calls] == ["first", "many", "after"]
    assert isinstance(many, list)
    assert [result.status for result in many] == [AppendStatus.APPENDED] * 100
    assert accepted(after).seq == 2
    assert await entries(store, "user0") == ["many", "after"]


async def test_the_sender_is_answered_before_anybody_is_told(redis_url: str) -> None:
    happened: list[str] = []

    def noting(what: str) -> Done:
        return lambda _: happened.append(what)

    async for bench in running_bench(redis_url):
        bench.told = happened
        bench.committer._announce = lambda message, _users, _results: happened.append(f"told {message.id}")
        await bench.hold()
        for id in ("m1", "m2"):
            bench.committer.submit(a_message(id), noting(f"answered {id}"))
        bench.release()
        await until(lambda: len(happened) == 5, "all of it")
    assert happened == ["told first", "answered m1", "answered m2", "told m1", "told m2"]


async def test_a_refusal_does_not_touch_its_neighbours(tight: Bench) -> None:
    await tight.hold()
    answers = tight.submit(
        a_message("m1"),
        a_message("m1", body="another"),
        a_message("m1"),
        a_message("m2"),
        a_message("m3"),
        a_message("m4", "carol"),
    )
    tight.release()
    statuses = [answer[0].status for answer in await all_of(answers) if isinstance(answer, list)]
    assert len(tight.calls) == 2, "they did not travel together"
    assert statuses == [
        AppendStatus.APPENDED,
        AppendStatus.REUSED,
        AppendStatus.DUPLICATE,
        AppendStatus.APPENDED,
        AppendStatus.FULL,
        AppendStatus.APPENDED,
    ]


# Failure.


async def test_of_a_failed_batch_all_is_unavailable_and_nothing_stays_without_an_answer(bench: Bench) -> None:
    ours, theirs = Lane(), Lane()
    await bench.hold(ours)
    behind = bench.submit(a_message("behind1"), a_message("behind2"), lane=ours)
    others = bench.submit(a_message("other"), lane=theirs)
    alone = bench.submit(a_message("alone"))
    bench.trouble.before = 1
    troubled(bench.appends, "ping").before = 1  # nor does any node of a Cluster answer
    before = total(SENDS_UNAVAILABLE)
    bench.release()
    codes = [code(answer) for answer in await all_of([bench.held, *behind, *others, *alone])]
    assert bench.trouble.failed == 1
    assert codes == ["unavailable", "out_of_order", "out_of_order", "unavailable", "unavailable"]
    assert ours.failed == ["first"], "what was never tried must not be waited for"
    assert theirs.failed == ["other"]
    assert total(SENDS_UNAVAILABLE) == before + 3
    assert bench.calls == [], "something behind a failure was sent"
    assert bench.told == []


async def test_after_a_failure_other_lanes_go_on_and_the_failed_one_by_its_failed_id(bench: Bench, store: Any) -> None:
    ours, theirs = Lane(), Lane()
    await bench.hold(ours)
    bench.trouble.before = 1
    bench.release()
    assert code(await within(bench.held, "the failure")) == "unavailable"
    await until(lambda: not bench.committer.down, "the server is found again")
    assert not ours.admits("next")
    assert ours.admits("first")
    answers = bench.submit(a_message("first", "zoe"), lane=ours)
    assert theirs.admits("theirs")
    answers += bench.submit(a_message("theirs", "zoe"), lane=theirs)
    assert ours.admits("next")
    answers += bench.submit(a_message("next", "zoe"), lane=ours)
    await all_of(answers)
    assert await entries(store, "zoe") == ["first", "theirs", "next"]


async def test_where_one_message_of_a_batch_fails_only_its_lane_comes_again(bench: Bench) -> None:
    """As in a Cluster, when one of its nodes is away: what was behind it in the batch may be in, and says so."""
    real = bench.appends.append

    async def without_bob(messages: Sequence[Message], own_copy: bool) -> list[Attempt]:
        attempts = await real(messages, own_copy)
        return [Unavailable("away") if "bob" in m.to else a for m, a in zip(messages, attempts, strict=True)]

    lane, other = Lane(), Lane()
    await bench.hold()
    bench.appends.append = without_bob  # type: ignore[method-assign]
    sent = [
        ("m1", "carol", lane),
        ("m2", "bob", lane),
        ("m3", "carol", lane),
        ("m4", "carol", other),
        ("m5", "dave", None),
    ]
    for id, _, own in sent:
        assert own is None or own.admits(id)
    answers = [submit(bench.committer, a_message(id, to), own) for id, to, own in sent]
    bench.release()
    first, failed, behind, neighbour, single = await within(asyncio.gather(*answers), "answers")
    assert failed is behind is UNAVAILABLE
    assert [accepted(answer).seq for answer in (first, neighbour, single)] == [1, 3, 1]
    assert lane.failed == ["m2", "m3"]
    assert other.failed == []
    bench.appends.append = real  # type: ignore[method-assign]
    again = [
        submit(bench.committer, a_message(id, to), lane)
        for id, to in (("m2", "bob"), ("m3", "carol"))
        if lane.admits(id)
    ]
    assert [code_or_status(answer) for answer in await within(asyncio.gather(*again), "answers")] == [
        "DUPLICATE",
        "DUPLICATE",
    ]


def code_or_status(answer: Answer) -> str:
    return answer.code if isinstance(answer, Fault) else answer[0].status.name


async def test_while_the_server_is_away_sends_are_answered_at_once_and_after_it_is_back_accepted(
    remote: Bench, proxy: RedisProxy, store: Any
) -> None:
    await all_of(remote.submit(a_message("m1")))
    proxy.refusing = True
    assert proxy.cut() >= 1
    lane = Lane()
    [first] = remote.submit(a_message("m2"), lane=lane)
    assert code(await within(first, "an answer")) == "unavailable"
    assert remote.committer.down
    await until(lambda: proxy.refused >= 3, "it knocks again and again")
    calls = remote.trouble.calls
    [second] = remote.submit(a_message("m3"))
    assert second.done(), "not answered at once"
    assert code(second.result()) == "unavailable"
    proxy.refusing = False
    await until(lambda: not remote.committer.down, "the server is found again")
    assert remote.trouble.calls == calls, "a send answered unavailable was tried all the same"
    assert lane.admits("m2")
    await all_of(remote.submit(a_message("m2"), lane=lane))
    await all_of(remote.submit(a_message("m3")))
    assert await entries(store) == ["m1", "m2", "m3"]


class OneOfManyAway(Appends):
    """Inboxes on several servers, of which the one with Bob's is away; the others answer."""

    def __init__(self) -> None:
        self.wait = None
        self.gate = asyncio.Event()

    @property
    def copies_apart(self) -> bool:
        return True

    async def append(self, messages: Sequence[Message], _own_copy: bool) -> list[Attempt]:
        await self.gate.wait()
        away = Unavailable("one node is away")
        return [away if "bob" in message.to else [Appended(AppendStatus.APPENDED)] for message in messages]

    async def ping(self) -> None:
        await asyncio.sleep(0)


async def test_a_batch_for_one_node_of_many_that_is_away_refuses_nothing_for_the_others() -> None:
    appends = OneOfManyAway()
    committer = Committer(appends, lambda *_: None, lambda _: None, own_copy=False)
    task = asyncio.create_task(committer.run())
    away = submit(committer, a_message("m1", "bob"))
    await ticks()
    behind = submit(committer, a_message("m2", "carol"))
    appends.gate.set()
    assert code(await within(away, "an answer")) == "unavailable"
    assert not isinstance(await within(behind, "an answer"), Fault)
    assert not committer.down
    await ended(task)


async def test_whoever_fails_after_it_ran_is_unavailable_and_the_same_id_gets_the_first_cursor(
    bench: Bench, store: Any
) -> None:
    bench.trouble.after = 1
    [answer] = await all_of(bench.submit(a_message("m1")))
    assert code(answer) == "unavailable"
    assert bench.trouble.failed == 1
    [(cursor, _)] = await store.xrange("chat:inbox:{bob}")
    assert bench.told == [], "announced, though nobody knows the cursor"
    await until(lambda: not bench.committer.down, "the server is found again")
    [again] = await all_of(bench.submit(a_message("m1")))
    assert isinstance(again, list)
    assert again[0].status is AppendStatus.DUPLICATE
    assert str(again[0].cursor) == cursor
    assert await entries(store) == ["m1"]


async def test_an_answer_that_the_network_loses_leaves_one_entry_and_its_cursor(
    remote: Bench, proxy: RedisProxy, store: Any
) -> None:
    await all_of(remote.submit(a_message("m1")))
    proxy.lose_answers = True
    [lost] = remote.submit(a_message("m2"))
    assert code(await within(lost, "the time-out")) == "unavailable"
    assert proxy.lost_bytes
    assert await entries(store) == ["m1", "m2"], "the command did not run"
    proxy.lose_answers = False
    await until(lambda: not remote.committer.down, "the server is found again")
    [again] = await all_of(remote.submit(a_message("m2")))
    assert isinstance(again, list)
    assert (again[0].status, again[0].cursor and again[0].cursor.seq) == (AppendStatus.DUPLICATE, 2)
    assert await entries(store) == ["m1", "m2"]


async def test_a_full_queue_answers_at_once_and_keeps_what_it_has(
    bench: Bench, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_QUEUED", 100)
    lane = Lane()
    await bench.hold()
    taken = bench.submit(*(a_message(f"m{n}") for n in range(100)), lane=lane)
    before = total(SENDS_UNAVAILABLE)
    refused = bench.submit(a_message("m100"), lane=lane)
    assert code(refused[0].result()) == "unavailable"
    assert total(SENDS_UNAVAILABLE) == before + 1
    assert not lane.admits("m101"), "the next would overtake the one that was refused"
    assert not any(answer.done() for answer in taken)
    bench.release()
    await all_of(taken)
    assert await entries(store) == [f"m{n}" for n in range(100)]


# Draining.


async def test_drained_waits_for_what_is_queued_and_in_flight(bench: Bench) -> None:
    await within(bench.committer.drained(), "an idle committer is drained")
    await bench.hold()
    answers = bench.submit(a_message("m1"))
    drained = asyncio.ensure_future(bench.committer.drained())
    await ticks()
    assert not drained.done()
    bench.release()
    await within(drained, "drained")
    assert answers[0].done()


async def test_drained_does_not_wait_for_a_server_that_is_away(remote: Bench, proxy: RedisProxy) -> None:
    proxy.refusing = True
    proxy.cut()
    [answer] = remote.submit(a_message("m1"))
    assert code(await within(answer, "an answer")) == "unavailable"
    assert remote.committer.down
    drained = asyncio.ensure_future(remote.committer.drained())
    await ticks()
    assert drained.done(), "nothing is queued or in flight, and still it waits"
    await drained
