"""The announcer: tells the workers that hold a recipient's sockets. A hint may be lost, never the message.

One XADD per worker and flight, whatever gathered meanwhile.
"""

import asyncio
from collections.abc import Iterator, Sequence

from service.core.errors import Unavailable
from service.store.presence import Presence
from service.store.worker_stream import Field, Hint, WorkerStreams, hint_field
from service.telemetry import HINTS_DROPPED, HINTS_SENT, STALE_CLAIMS

SHARING = 300
"""Recipients one field names at most: about 50 KiB where all have the longest names."""
MOST_WAITING = 10_000
"""Hints waiting per worker; beyond, they are dropped and counted: the audit finds the entries."""
ENTRY_BYTES = 64 << 10
"""What one entry of a worker stream holds at most, give or take a hint."""
Row = tuple[str, str, str]
"""user, device, worker/session/attempt: a claim to be released when its worker is gone."""


class Announcer:
    def __init__(self, streams: WorkerStreams, presence: Presence) -> None:
        self._streams = streams
        self._presence = presence
        self._waiting: dict[str, tuple[list[Field], set[Row]]] = {}
        self._wake = asyncio.Event()

    def add(self, worker: str, hint: Hint, rows: list[Row]) -> None:
        """One hint for one worker. `rows`: the claims that led there."""
        self._add(worker, hint_field(hint), rows)

    def add_shared(self, worker: str, hints: Sequence[Hint], rows: list[Row]) -> None:
        """One entry that has come into several inboxes: one field names them all, or a few where they are many."""
        for at in range(0, len(hints), SHARING):
            self._add(worker, hint_field(*hints[at : at + SHARING]), rows if at == 0 else [])

    def _add(self, worker: str, field: Field, rows: list[Row]) -> None:
        waiting = self._waiting.get(worker)
        if waiting is None:
            waiting = self._waiting[worker] = ([], set())
            self._wake.set()
        fields, claims = waiting
        if len(fields) >= MOST_WAITING:
            HINTS_DROPPED.inc()
            return
        fields.append(field)
        claims.update(rows)

    async def run(self) -> None:
        """Sends what gathered until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._send(waiting)
            except Unavailable:
                HINTS_DROPPED.inc(sum(len(fields) for fields, _ in waiting.values()))

    async def _send(self, waiting: dict[str, tuple[list[Field], set[Row]]]) -> None:
        entries = [(worker, part) for worker, (fields, _) in waiting.items() for part in _parts(fields)]
        heard = await self._streams.announce(entries)
        for (_, fields), there in zip(entries, heard, strict=True):
            if there is not None:
                (HINTS_SENT if there else HINTS_DROPPED).inc(len(fields))
        gone = {worker for (worker, _), there in zip(entries, heard, strict=True) if there is None}
        for worker in gone:
            for user, device, row in waiting[worker][1]:
                STALE_CLAIMS.inc()
                await self._presence.release_row(user, device, row)


def _parts(fields: list[Field]) -> Iterator[list[Field]]:
    part: list[Field] = []
    size = 0
    for field in fields:
        part.append(field)
        size += len(field[0]) + len(field[1])
        if size >= ENTRY_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
