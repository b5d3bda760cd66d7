"""Asking several: most of those who answer are believed, and nobody waits for one who is frozen."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from scripts.lab.timing import PATIENCE, UNIT
from service.store.majority import ended, majority


async def says(answer: str | None) -> str | None:
    await asyncio.sleep(0)
    return answer


async def is_frozen() -> str | None:
    await asyncio.Event().wait()
    return "never"


async def test_most_are_believed() -> None:
    assert await majority([says("old"), says("new"), says("new")], PATIENCE) == "new"


async def test_nobody_waits_for_one_who_is_frozen_once_most_have_answered() -> None:
    assert await asyncio.wait_for(majority([is_frozen(), says("new"), says("new")], 10 * PATIENCE), PATIENCE) == "new"


async def test_after_some_patience_those_count_who_have_answered() -> None:
    assert await majority([is_frozen(), is_frozen(), says("new")], 0.05 * UNIT) == "new"


async def test_who_knows_nothing_does_not_count() -> None:
    assert await majority([says(None), says(None), says("new")], PATIENCE) == "new"
    assert await majority([says(None), says(None)], PATIENCE) is None
    nobody: list[Coroutine[Any, Any, str | None]] = []
    assert await majority(nobody, PATIENCE) is None


async def test_who_swallows_a_cancel_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(is_frozen())]
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(tasks), PATIENCE)
    assert all(task.cancelled() for task in tasks)
