"""Background tasks with an owner: whoever dies is noticed, named and reported."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from service.telemetry import TASK_DEATHS

CANCEL_AGAIN = 0.5
"""Seconds after which a task that still runs is cancelled once more."""

log = logging.getLogger("inboxd.tasks")


class Tasks:
    """`on_death` is called with the name of a task that ended although nobody asked it to."""

    def __init__(self, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.dead: list[str] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def get(self, name: str) -> asyncio.Task[None]:
        return self._tasks[name]

    async def stop(self) -> None:
        """Cancels all and waits for them. Again and again: before Python 3.12 `wait_for`, also inside redis-py,
        swallows a cancel that comes in the tick in which it is done.
        """
        tasks, self._tasks = self._tasks, {}
        pending = set(tasks.values())
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = task.get_name()
        if name not in self._tasks:
            return  # stopped on purpose
        error = None if task.cancelled() else task.exception()
        TASK_DEATHS.inc()
        self.dead.append(name)
        log.critical("the %s has died", name, exc_info=error)
        self._on_death(name)
