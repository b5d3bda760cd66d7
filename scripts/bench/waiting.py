"""Waiting for something to become true."""

import asyncio
import time
from collections.abc import Callable

TICK = 0.01  # s


async def until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true within this time. Polled: what is waited for is a sum over many connections."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(TICK)
    return True
