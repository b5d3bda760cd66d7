"""Two batches under way: neither waits for the other, and whatever becomes of one, order holds."""

import asyncio
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.lab.proxy import Filter, RedisProxy
from scripts.lab.tcp_proxy import Cut
from service.core.errors import Fault, Unavailable
from service.core.lane import Lane
from service.core.sending import Appended, AppendStatus, Message
from service.delivery.committer import Committer
from service.store.appends import Appends, Attempt
from tests.delivery.committer_rig import Bench, all_of, entries, running_bench
from tests.delivery.rig import Answer, a_message, code, ended, submit, ticks, troubled, until, within


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async for bench in running_bench(redis_url):
        yield bench


@pytest.fixture
async def remote(proxy: RedisProxy) -> AsyncIterator[Bench]:
    """A committer whose server can be cut off."""
    async for bench in running_bench(proxy.url, redis_timeout=0.3, reader_block=0.1):
        yield bench


async def test_a_second_batch_leaves_beside_the_first_once_it_is_full(bench: Bench) -> None:
    await bench.hold()
    answers = bench.submit(*(a_message(f"m{n}", f"user{n}") for n in range(127)), lane=Lane())
    await ticks()
    assert bench.trouble.calls == 1, "a call that is not full"
    answers += bench.submit(a_message("m127"), lane=Lane())
    await until(lambda: bench.trouble.calls == 2, "the second call")
    answers += bench.submit(*(a_message(f"n{n}") for n in range(300)), lane=Lane())
    await ticks()
    assert bench.trouble.calls == 2, "a third call"
    bench.release()
    assert all(not isinstance(answer, Fault) for answer in await all_of([bench.held, *answers]))


@pytest.mark.parametrize("lane", (Lane(), None))
async def test_nothing_of_a_lane_or_without_one_leaves_beside_the_batch_that_holds_some(
    bench: Bench, store: Any, lane: Lane | None
) -> None:
    ids = [f"m{n}" for n in range(200)]
    bench.trouble.gate.clear()
    answers: list[asyncio.Future[Answer]] = []
    for id in ids:
        answers += bench.submit(a_message(id), lane=lane)
        await asyncio.sleep(0)
    assert bench.trouble.calls == 1
    others = bench.submit(*(a_message(f"other{n}", "carol") for n in range(128)), lane=Lane())
    await until(lambda: bench.trouble.calls == 2, "a call for the others")
    bench.release()
    await all_of([*answers, *others])
    assert await entries(store) == ids


class Lands(Appends):
    """Appends of which each is over when the test says so."""

    def __init__(self) -> None:
        self.wait = None
        self.asked: list[asyncio.Future[list[Attempt]]] = []
        self.away = False

    @property
    def copies_apart(self) -> bool:
        return False

    async def append(self, messages: Sequence[Message], _own_copy: bool) -> list[Attempt]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return (await self.asked[-1]) * len(messages)

    def land(self, number: int) -> None:
        self.asked[number].set_result([[Appended(AppendStatus.APPENDED)]])

    def lose(self, number: int) -> None:
        self.asked[number].set_exception(Unavailable("lost"))

    async def ping(self) -> None:
        if self.away:
            raise Unavailable("away")


@dataclass
class Runway:
    """A committer with two batches under way: `first` in one, 128 others in the other."""

    committer: Committer
    appends: Lands
    told: list[str]
    lane: Lane
    first: "asyncio.Future[Answer]"
    second: "list[asyncio.Future[Answer]]"


@pytest.fixture
async def runway() -> AsyncIterator[Runway]:
    appends, told, lane, other = Lands(), list[str](), Lane(), Lane()
    committer = Committer(appends, lambda message, *_: told.append(message.id), lambda _: None, own_copy=False)
    task = asyncio.create_task(committer.run())
    assert lane.admits("first")
    first = submit(committer, a_message("first"), lane)
    await until(lambda: len(appends.asked) == 1, "the first call")
    second = [submit(committer, a_message(f"m{n}"), other) for n in range(128)]
    await until(lambda: len(appends.asked) == 2, "the second call")
    yield Runway(committer, appends, told, lane, first, second)
    died = task.done()
    result = await ended(task)
    assert not died, f"the committer has died: {result}"
    assert all(one.done() for one in appends.asked), "a call is left behind"


async def test_batches_are_told_of_in_the_order_they_left(runway: Runway) -> None:
    """Else hints of one inbox would cross, and its readers would look for what is on its way."""
    runway.appends.land(1)
    await ticks()
    assert runway.told == []
    assert not any(answer.done() for answer in runway.second)
    runway.appends.land(0)
    await all_of([runway.first, *runway.second])
    assert runway.told == ["first", *(f"m{n}" for n in range(128))]


async def test_drained_waits_for_both(runway: Runway) -> None:
    drained = asyncio.ensure_future(runway.committer.drained())
    runway.appends.land(0)
    await ticks()
    assert not drained.done()
    runway.appends.land(1)
    await within(drained, "drained")
    await all_of(runway.second)


async def test_whoever_ends_it_ends_both_calls(runway: Runway) -> None:
    """The fixture looks."""
    assert len(runway.appends.asked) == 2


async def test_where_the_first_is_lost_its_lane_comes_again_and_the_second_has_its_answers(runway: Runway) -> None:
    assert runway.lane.admits("behind")
    behind = submit(runway.committer, a_message("behind"), runway.lane)
    runway.appends.land(1)
    runway.appends.lose(0)
    assert code(await within(runway.first, "an answer")) == "unavailable"
    assert code(await within(behind, "an answer")) == "out_of_order"
    assert runway.lane.failed == ["first"]
    assert not any(isinstance(answer, Fault) for answer in await all_of(runway.second))
    assert len(runway.appends.asked) == 2, "something behind a failure was sent"
    await until(lambda: not runway.committer.down, "the server is found again")


async def test_where_the_server_is_away_it_is_idle_once_both_have_landed(runway: Runway) -> None:
    runway.appends.away = True
    drained = asyncio.ensure_future(runway.committer.drained())
    waiting = submit(runway.committer, a_message("waiting"))
    runway.appends.lose(0)
    assert code(await within(runway.first, "an answer")) == "unavailable"
    assert runway.committer.down
    late = submit(runway.committer, a_message("late"))
    assert code(late.result()) == "unavailable", "not answered at once"
    await ticks()
    assert not drained.done()
    runway.appends.land(1)
    await within(drained, "drained")
    assert not any(isinstance(answer, Fault) for answer in await all_of(runway.second))
    assert code(waiting.result()) == "unavailable"


async def test_where_the_server_takes_no_second_connection_batches_leave_one_after_the_other(
    remote: Bench, proxy: RedisProxy, store: Any
) -> None:
    await all_of(remote.submit(a_message("m0")))
    proxy.refusing = True
    ids = [f"m{n}" for n in range(1, 1000)]
    lanes = [Lane() for _ in range(300)]
    answers = [remote.submit(a_message(id), lane=lanes[n % 300])[0] for n, id in enumerate(ids)]
    assert not any(isinstance(answer, Fault) for answer in await all_of(answers))
    assert proxy.refused, "never two batches under way"
    assert len(await entries(store)) == 1000


def unknown_command(command: bytes) -> bytes:
    """The server says that there is no such command."""
    return command.replace(b"EVALSHA", b"EVALSHX")


def unknown_script(command: bytes) -> bytes:
    """The server says NOSCRIPT, and is sent the text."""
    return re.sub(rb"(EVALSHA\r\n\$40\r\n)....", rb"\1ffff", command)


def lost(_: bytes) -> bytes:
    raise Cut


@pytest.mark.parametrize("fault", (unknown_command, unknown_script, lost))
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_fails_of_calls_under_way_every_lane_is_in_in_its_order(
    remote: Bench, proxy: RedisProxy, store: Any, fault: Filter, seed: int
) -> None:
    """Clients that come again as the protocol asks them to; every fourth call fails or is lost, before it ran."""
    dice = random.Random(seed)
    proxy.filter = lambda command: fault(command) if b"EVALSHA" in command and dice.random() < 0.25 else command
    beside = troubled(remote.appends, "append")
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, beside.calls - beside.landed)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    lanes = [[f"{lane}-{n}" for n in range(120)] for lane in range(8)]
    await within(asyncio.gather(*(insisting(remote.committer, ids) for ids in lanes)), "every lane's end")
    await ended(looking)
    got = await entries(store)
    for ids in lanes:
        assert [id for id in got if id in set(ids)] == ids
    assert most == 2, "never two batches under way"


async def insisting(committer: Committer, ids: list[str]) -> None:
    """One connection with 60 sends on their way, which sends again what failed, and what was refused behind it."""
    lane, todo = Lane(), deque(ids)
    while todo:
        going: list[tuple[str, asyncio.Future[Answer]]] = []
        refused: list[str] = []
        for _ in range(min(60, len(todo))):
            id = todo.popleft()
            if lane.admits(id):
                going.append((id, submit(committer, a_message(id), lane)))
            else:
                refused.append(id)
        answers = await asyncio.gather(*(answer for _, answer in going))
        again = [id for (id, _), answer in zip(going, answers, strict=True) if isinstance(answer, Fault)]
        todo.extendleft(reversed([*again, *refused]))
        if again:
            await until(lambda: not committer.down, "the server is found again")
