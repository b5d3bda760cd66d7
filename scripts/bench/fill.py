"""Puts messages into many inboxes before something is measured, by batches over HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from scripts.bench.content import batch, batch_statuses, message
from scripts.bench.crew import Crew, Gate, Outcome, Stopwatch
from scripts.bench.http_client import connect, head, with_body
from scripts.bench.ws_client import Endpoint

PER_REQUEST = 500
CONNECTIONS = 4
OK, ACCEPTED = 200, 202


@dataclass(frozen=True)
class Fill:
    """`each` messages into each of `inboxes`, named as `to` and a number; needs no gate."""

    endpoint: Endpoint
    to: str
    inboxes: int
    each: int = 1

    async def run(self, gate: Gate) -> Outcome:
        watch = Stopwatch()
        messages = self._messages()
        parts = iter(lambda: list(islice(messages, PER_REQUEST)), [])
        await asyncio.gather(*(self._post(f"{self.to}-fill-{n}", parts) for n in range(CONNECTIONS)))
        done = self.inboxes * self.each
        return Outcome(watch.started, watch.started + watch.wall(), done, done, watch.cpu(), watch.wall(), done)

    def _messages(self) -> Iterator[bytes]:
        """All inboxes once, then again: as entries of one inbox lie apart in a server that has many."""
        for number in range(self.each):
            for inbox in range(self.inboxes):
                yield message(f"fill-{number}", f"{self.to}-{inbox}")

    async def _post(self, sender: str, parts: Iterator[list[bytes]]) -> None:
        """Raises RuntimeError when a message is refused."""
        connection = await connect(self.endpoint)
        start = head(self.endpoint, "POST", "/v1/messages/batch", sender)
        for part in parts:
            answer = await connection.request(with_body(start, batch(part)))
            statuses = batch_statuses(answer.body) if answer.status == OK else [answer.status]
            if refused := [status for status in statuses if status != ACCEPTED]:
                connection.close()
                raise RuntimeError(f"{len(refused)} messages to fill inboxes were refused: {refused[0]}")
        connection.close()


def fill(fills: list[Fill]) -> None:
    """One after the other; returns when all is accepted."""
    for one in fills:
        with Crew([one]) as crew:
            crew.finished()
