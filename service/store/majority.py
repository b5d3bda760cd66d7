"""Asking several at once, and not waiting for the last once enough is known."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_AGAIN = 0.05
"""Seconds."""


async def majority(asks: Sequence[Coroutine[Any, Any, T | None]], patience: float) -> T | None:
    """What most say of those who answer within `patience` seconds (None: no answer); None where nobody does.

    One of them may be frozen. One that is cut off from the others would go on saying what was true yesterday.
    """
    asking = [asyncio.create_task(ask) for ask in asks]
    said: Counter[T] = Counter()
    try:
        for one in asyncio.as_completed(asking, timeout=patience):
            if (answer := await one) is not None:
                said[answer] += 1
                if said[answer] * 2 > len(asking):
                    break
    except TimeoutError:
        pass  # those who have not answered by now do not count
    finally:
        await ended(asking)
    return said.most_common(1)[0][0] if said else None


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels all and waits for them. Again and again: before Python 3.12 `wait_for`, also inside redis-py, swallows a
    cancel that comes in the tick in which it is done, and would then wait for its answer.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
        for task in done:
            if not task.cancelled():
                task.exception()  # nobody asks for it any more
