"""The one unit of time of all tests: `TEST_TIME_UNIT` seconds (default 1), to be raised on a slow machine.

Time-outs only say when to give up; no test passes or fails by how fast something was.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

UNIT = float(os.environ.get("TEST_TIME_UNIT", "1"))
"""Seconds."""

PATIENCE = 45 * UNIT
"""Seconds after which a test gives up waiting for something that must come."""

POLL = 0.02
"""Seconds between two looks at something that cannot be awaited (another process, a key)."""


def duration(units: float) -> str:
    """So many units, as the service's settings write durations."""
    return f"{units * UNIT * 1000:.0f}ms"


def eventually(probe: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first answer of `probe` that is neither None nor False. Blocks; fails naming `what`."""
    deadline = time.monotonic() + patience
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {patience:.0f} s: {what}")
        time.sleep(POLL)


async def eventually_async(probe: Callable[[], Awaitable[T | None]], what: str, patience: float = PATIENCE) -> T:
    """As `eventually`, for a probe that is awaited."""
    deadline = time.monotonic() + patience
    while True:
        found = await probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {patience:.0f} s: {what}")
        await asyncio.sleep(POLL)
