"""Asking several at once, and not waiting for the last once most of them say the same."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


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
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return said.most_common(1)[0][0] if said else None
