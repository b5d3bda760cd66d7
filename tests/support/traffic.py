"""Senders and readers that go on through every failure, as good clients do, and keep the history of it."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx2
from websockets.exceptions import WebSocketException

from scripts.lab.timing import PATIENCE, POLL
from tests.support.api import Api
from tests.support.arrivals import EndedError
from tests.support.device import Device, RefusedError
from tests.support.history import Frame, History

COME_BACK = (EndedError, OSError, RefusedError, WebSocketException, TimeoutError)
"""What the end of a connection looks like to a client; it tries again."""


class Post(Protocol):
    """Sends one message once; the answer, or None where the connection broke (in or not: unknown)."""

    async def __call__(self, message_id: str, to: str, body: Any) -> Frame | None: ...


class Sender:
    """Sends numbered messages one after the other, each again with the same id until it is accepted.

    `seen` counts: `accepted`, `duplicate` (an answer to a repeat), `broken` (a connection), and the codes of errors.
    """

    def __init__(self, user: str, history: History, pause: float = 0.0) -> None:
        self.user, self.history, self.pause = user, history, pause
        self.seen: Counter[str] = Counter()
        self.number = 0

    async def send(self, post: Post, to: str) -> None:
        """One message, however long it takes."""
        self.number += 1
        message_id, body = f"m{self.number}", {"n": self.number}
        self.history.attempted(self.user, message_id, body)
        while True:
            answer = await post(message_id, to, body)
            if answer is None:
                self.seen["broken"] += 1
            elif "recipients" in answer and "code" not in answer:
                break
            else:
                self.seen[answer["code"]] += 1
            await asyncio.sleep(POLL)
        self.seen["duplicate" if answer["duplicate"] else "accepted"] += 1
        self.history.accepted(self.user, message_id, to, answer["recipients"][0]["cursor"])
        await asyncio.sleep(random.uniform(0, 2 * self.pause))

    async def over_http(self, base: str, to: list[str], stop: asyncio.Event) -> None:
        """Sends until `stop`, every message over a connection of its own, so that any worker may take it."""
        async with Api(base, self.user) as api:

            async def post(message_id: str, to: str, body: Any) -> Frame | None:
                content = {"id": message_id, "to": to, "body": body}
                try:
                    response = await api.http.post("/v1/messages", json=content, headers={"Connection": "close"})
                except httpx2.TransportError:
                    return None
                return dict(response.json())

            while not stop.is_set():
                await self.send(post, random.choice(to))

    async def over_socket(self, device: Device, to: list[str], stop: asyncio.Event) -> None:
        """Sends until `stop` over a device's connection; opens it again whenever it ends."""

        async def post(message_id: str, to: str, body: Any) -> Frame | None:
            try:
                if not hasattr(device, "wire") or not device.wire.is_open:
                    await device.connect()
                return await device.send(message_id, to, body)
            except COME_BACK:
                return None

        device.acking = True
        while not stop.is_set():
            await self.send(post, random.choice(to))
        await device.abort()


class Reader:
    """A device that acks what it gets and comes back whenever its connection ends. `endings`: the close codes."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.device.acking = True
        self.endings: list[int] = []
        self.workers: list[str] = []

    async def run(self) -> None:
        """Until cancelled. Raises RuleBrokenError when the service breaks a rule."""
        attempt = 0
        while True:
            attempt += 1
            try:
                self.workers.append((await self.device.connect(attempt=attempt))["worker"])
            except COME_BACK:
                await asyncio.sleep(POLL)
                continue
            self.endings.append(await self.device.wire.over())
            await self.device.abort()


class Work:
    """Coroutines that run beside a block of the test. `check` raises what one of them has raised."""

    def __init__(self, coroutines: tuple[Any, ...]) -> None:
        self._tasks = [asyncio.create_task(one) for one in coroutines]

    def check(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def done(self) -> None:
        """Waits until all of it is done."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def running(*coroutines: Any) -> AsyncIterator[Work]:
    """Runs coroutines beside the block; cancels at its end what still runs, raises what one has raised."""
    work = Work(coroutines)
    try:
        yield work
        work.check()
    finally:
        await work.end()
