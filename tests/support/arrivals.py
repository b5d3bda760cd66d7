"""What has come over one connection, and how a test waits for more."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

from scripts.lab.timing import PATIENCE

Frame = dict[str, Any]
T = TypeVar("T")


class EndedError(AssertionError):
    """The connection ended before what was waited for."""


class Arrivals:
    """Frames in the order in which they came. Whoever reads the connection sets `changed` after each step, and `fault`
    for what must not have come: whoever waits raises it.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.fault: BaseException | None = None
        self.changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        raise NotImplementedError

    @property
    def described_end(self) -> str:
        """How it ended, for whoever waited in vain."""
        return "over"

    def of(self, *kinds: str) -> list[Frame]:
        """All frames of these types that have come."""
        return [frame for frame in self.frames if frame.get("type") in kinds]

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        """Waits until `probe` finds something in what has come. Fails when the connection ends before."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self.changed.clear()
                    if self.fault is not None:
                        raise self.fault
                    found = probe()
                    if found is not None and found is not False:
                        return found
                    if not self.is_open:
                        raise EndedError(f"closed ({self.described_end}) before {what}: {self._tail()}")
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"did not come within {PATIENCE:.0f} s: {what}: {self._tail()}") from None

    def _tail(self) -> str:
        return " | ".join(json.dumps(frame)[:200] for frame in self.frames[-5:]) or "nothing came"
