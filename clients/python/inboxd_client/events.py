"""Who wants to be told of what."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Handler = Callable[[Any], Awaitable[Any] | Any]
"""Called with the event; may be a coroutine function."""
T = TypeVar("T")


class News:
    """Lets tasks wait until something that they look for is there."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """For the next `wake`."""
        await self._event.wait()

    async def until(self, probe: Callable[[], T | None]) -> T:
        """The first answer of `probe` that is true."""
        while True:
            if found := probe():
                return found
            await self._event.wait()


class Listeners:
    """Handlers by the type of event, in the order they came."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}

    def on(self, kind: str, handler: Handler) -> Callable[[], None]:
        """Adds one; the answer takes it away again."""
        handlers = self._handlers.setdefault(kind, [])
        handlers.append(handler)

        def off() -> None:
            if handler in handlers:
                handlers.remove(handler)

        return off

    def of(self, kind: str) -> list[Handler]:
        """Those who want this, now."""
        return list(self._handlers.get(kind, ()))


async def call(handler: Handler, event: Any) -> None:
    """Until it has finished, coroutine or not."""
    result = handler(event)
    if inspect.isawaitable(result):
        await result
