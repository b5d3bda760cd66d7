"""The announcer: tells the workers that hold a recipient's sockets. A hint may be lost, never the message.

One XADD per worker and flight, whatever gathered meanwhile.
"""

import asyncio

from service.core.errors import Unavailable
from service.store.presence import Presence
from service.store.worker_stream import Field, Hint, WorkerStreams, hint_field
from service.telemetry import HINTS_DROPPED, HINTS_SENT, STALE_CLAIMS

MOST_WAITING = 10_000
"""Hints waiting per worker; beyond, they are dropped and counted: the audit finds the entries."""
HINTS_PER_ENTRY = 512
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
        fields, claims = self._waiting.setdefault(worker, ([], set()))
        if len(fields) >= MOST_WAITING:
            HINTS_DROPPED.inc()
            return
        fields.append(hint_field(hint))
        claims.update(rows)
        self._wake.set()

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
        entries = [
            (worker, fields[at : at + HINTS_PER_ENTRY])
            for worker, (fields, _) in waiting.items()
            for at in range(0, len(fields), HINTS_PER_ENTRY)
        ]
        heard = await self._streams.announce(entries)
        HINTS_SENT.inc(sum(len(fields) for _, fields in entries))
        gone = {worker for (worker, _), there in zip(entries, heard, strict=True) if there is None}
        for worker in gone:
            for user, device, row in waiting[worker][1]:
                STALE_CLAIMS.inc()
                await self._presence.release_row(user, device, row)
