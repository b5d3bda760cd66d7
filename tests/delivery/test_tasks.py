"""Tasks: whoever dies is noticed, named and reported; whoever is stopped is not."""

import asyncio

import pytest

from scripts.lab.timing import PATIENCE
from service.delivery.tasks import Tasks
from service.store.client import Clients
from service.telemetry import TASK_DEATHS
from tests.delivery.rig import ended, quick, ticks, total, until


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise RuntimeError("as the test wants it")


async def returns() -> None:
    return


async def test_a_task_that_fails_is_reported_by_name() -> None:
    deaths: list[str] = []
    before = total(TASK_DEATHS)
    tasks = Tasks(deaths.append)
    tasks.start("reader", fails())
    tasks.start("acker", for_ever())
    await until(lambda: deaths, "a death")
    assert deaths == tasks.dead == ["reader"]
    assert total(TASK_DEATHS) == before + 1
    assert not tasks.get("acker").done()
    await tasks.stop()
    assert deaths == ["reader"]


async def test_a_task_that_simply_ends_has_died_too() -> None:
    deaths: list[str] = []
    tasks = Tasks(deaths.append)
    tasks.start("audit", returns())
    await until(lambda: deaths, "a death")
    assert deaths == ["audit"]
    await tasks.stop()


async def test_a_task_cancelled_by_anybody_but_its_owner_has_died_too() -> None:
    deaths: list[str] = []
    tasks = Tasks(deaths.append)
    tasks.start("committer", for_ever())
    tasks.get("committer").cancel()
    await until(lambda: deaths, "a death")
    assert deaths == ["committer"]
    await tasks.stop()


async def test_stopping_waits_for_all_and_reports_nobody() -> None:
    deaths: list[str] = []
    ended: list[str] = []

    async def slow_to_end() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.01)
            ended.append("slow")

    tasks = Tasks(deaths.append)
    tasks.start("slow", slow_to_end())
    tasks.start("quick", for_ever())
    await asyncio.sleep(0)
    await tasks.stop()
    assert ended == ["slow"]
    assert deaths == tasks.dead == []


async def test_stopping_ends_even_a_task_that_swallows_a_cancellation() -> None:
    """As one in the middle of a write to the server does: `asyncio.wait_for` below Python 3.12 may eat it."""
    swallowed: list[str] = []

    async def stubborn() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            swallowed.append("once")
        await for_ever()

    tasks = Tasks(lambda _: None)
    tasks.start("stubborn", stubborn())
    await asyncio.sleep(0)
    task = tasks.get("stubborn")
    try:
        async with asyncio.timeout(PATIENCE / 4):
            await tasks.stop()
    except TimeoutError:
        pytest.fail("stopping hangs")
    finally:
        await ended(task)
    assert swallowed == ["once"]


async def test_whoever_is_cancelled_while_it_asks_the_server_does_not_go_on(redis_url: str) -> None:
    """However far the question had got. A task that goes on can neither be stopped nor given a time-out."""
    went_on = []
    for far in range(40):
        clients = Clients(quick(redis_url))
        asking = asyncio.create_task(clients.write.run("PING"))
        await ticks(far)
        in_time = not asking.done()
        asking.cancel()
        await asyncio.wait((asking,))
        if in_time and not asking.cancelled():
            went_on.append(far)
        await clients.aclose()
    assert went_on == [], "the cancellation was swallowed"
