"""Accepted sends over HTTP: kept-alive connections, one request at a time on each; single or in batches.

The senders have no live device, so there are no own copies: one append for each message.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from scripts.bench.content import batch, batch_statuses, message
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.http_client import Answer, HttpConnection, connect, head, with_body
from scripts.bench.ws_client import Endpoint
from scripts.bench.ws_load import RECIPIENTS, STRIDE

ACCEPTED = 202
OK = 200


@dataclass(frozen=True)
class HttpSends:
    """`per_request` 1: `POST /v1/messages`; more: `POST /v1/messages/batch`."""

    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    connections: int
    per_request: int = 1

    async def run(self, gate: Gate) -> Outcome:
        posters = [Poster(self, number, await connect(self.endpoint)) for number in range(self.connections)]
        await self._post_for(posters, self.warm_up)
        before = count(posters)
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._post_for(posters, self.seconds)
        total = count(posters) - before
        for poster in posters:
            poster.connection.close()
        return Outcome(
            *(watch.started, watch.started + self.seconds, at_end - before, total),
            *(watch.cpu(), watch.wall(), total),
            faults=sum((poster.faults for poster in posters), Counter[str]()),
        )

    async def _post_for(self, posters: list["Poster"], seconds: float) -> int:
        """How many messages had been accepted, in all, when the time was up."""
        end = time.monotonic() + seconds
        tasks = asyncio.gather(*(poster.post_until(end) for poster in posters))
        await asyncio.sleep(seconds)
        at_end = count(posters)
        await tasks
        return at_end


class Poster:
    """One connection and its sender."""

    def __init__(self, plan: HttpSends, number: int, connection: HttpConnection) -> None:
        self.plan = plan
        self.connection = connection
        self.good = 0
        self.faults: Counter[str] = Counter()
        path = "/v1/messages" if plan.per_request == 1 else "/v1/messages/batch"
        self._head = head(plan.endpoint, "POST", path, f"{plan.tag}-from-{number}")
        self._number = number
        self._sent = 0

    async def post_until(self, end: float) -> None:
        make = self._single if self.plan.per_request == 1 else self._batch
        while time.monotonic() < end:
            self._count(await self.connection.request(make()))

    def _single(self) -> bytes:
        return with_body(self._head, self._message())

    def _batch(self) -> bytes:
        messages = [self._message() for _ in range(self.plan.per_request)]
        return with_body(self._head, batch(messages))

    def _message(self) -> bytes:
        self._sent += 1
        to = (self._number + self._sent * STRIDE) % RECIPIENTS
        return message(str(self._sent), f"{self.plan.tag}-to-{to}")

    def _count(self, answer: Answer) -> None:
        whole_batch = self.plan.per_request > 1 and answer.status == OK
        for status in batch_statuses(answer.body) if whole_batch else [answer.status]:
            if status == ACCEPTED:
                self.good += 1
            else:
                self.faults[f"status {status}"] += 1


def count(posters: list[Poster]) -> int:
    return sum(poster.good for poster in posters)
