"""Replay: how fast one connection gets a backlog it missed, acking as it goes.

Each replay has an inbox of its own: acked entries may be trimmed, so an inbox can be replayed in full only
once.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from scripts.bench.content import batch, batch_statuses, message
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.http_client import connect, post
from scripts.bench.http_load import ACCEPTED
from scripts.bench.ws_client import Device, Endpoint, Manners
from scripts.bench.ws_load import faults

BACKLOG = 10_000  # entries
PER_REQUEST = 1000
MANNERS = Manners(window=1024, ack_every=256)
TIMEOUT = 60.0  # s
MESSAGE = b'{"type":"message"'


class Reader(Device):
    """Notes the moment of the last entry of the backlog. A frame of nothing but messages is judged by its first and
    last: that none is missing between them follows from their numbers.
    """

    def __init__(self, endpoint: Endpoint, user: str, backlog: int) -> None:
        super().__init__(endpoint, user, MANNERS)
        self._last = message_id(user, backlog - 1)
        self.complete: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def text(self, payload: bytes) -> None:
        lines = payload.strip(b"\n").split(b"\n")
        if len(lines) == 1 or payload.count(MESSAGE) != len(lines):
            super().text(payload)
            return
        first, last = orjson.loads(lines[0]), orjson.loads(lines[-1])
        self.passed(first["cursor"])
        self.passed(last["cursor"], len(lines) - 1)
        self.entry(last)

    def entry(self, frame: dict[str, Any]) -> None:
        if frame["id"] == self._last:
            self.complete.set_result(time.monotonic())


@dataclass(frozen=True)
class ReplayLoad:
    """`samples` of the outcome: the seconds each replay took, from connecting to the last entry."""

    endpoint: Endpoint
    tag: str
    replays: int
    backlog: int = BACKLOG

    async def run(self, gate: Gate) -> Outcome:
        users = [f"{self.tag}-to-{number}" for number in range(self.replays)]
        for user in users:
            await self._fill(user)
        await gate.wait()
        watch = Stopwatch()
        samples, found = [], Counter[str]()
        for user in users:
            reader = Reader(self.endpoint, user, self.backlog)
            samples.append(await self._replay(reader))
            found += faults([reader])
        done = self.backlog * self.replays
        return Outcome(
            *(watch.started, watch.started + sum(samples), done, done, watch.cpu(), watch.wall()),
            faults=found,
            samples=samples,
        )

    async def _fill(self, user: str) -> None:
        """Puts the backlog into the inbox; raises when a message of it is refused."""
        connection = await connect(self.endpoint)
        for first in range(0, self.backlog, PER_REQUEST):
            numbers = range(first, min(first + PER_REQUEST, self.backlog))
            body = batch([message(message_id(user, number), user) for number in numbers])
            answer = await connection.request(post(self.endpoint, "/v1/messages/batch", f"{self.tag}-from", body))
            refused = [status for status in batch_statuses(answer.body) if status != ACCEPTED]
            if refused:
                raise RuntimeError(f"{len(refused)} messages of the backlog were refused: {refused[0]}")
        connection.close()

    async def _replay(self, reader: Reader) -> float:
        began = time.monotonic()
        async with asyncio.timeout(TIMEOUT):
            await reader.connect()
            ended = await reader.complete
        reader.leave()
        return ended - began


def message_id(user: str, number: int) -> str:
    return f"{user}-{number}"
