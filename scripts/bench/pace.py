"""Sending by the clock, whatever has arrived (an open loop)."""

import asyncio
import time
from collections.abc import Callable


async def evenly(send: Callable[[], None], rate: float, seconds: float) -> list[float]:
    """Calls `send` at even distances, `rate` times a second; answers how late each call was (s).

    What is due at once goes out at once: nothing is left out because the load or the system was slow.
    """
    # Not the loop's clock: uvloop reads that once a turn, and what is late within a turn would not show.
    clock = time.monotonic
    began = clock()
    late = []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        if due > clock():
            await asyncio.sleep(due - clock())
        late.append(max(0.0, clock() - due))
        send()
    return late
