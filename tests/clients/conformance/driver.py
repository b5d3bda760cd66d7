"""A client library as a process of its own: commands go in, events come out, the application's log is a file.

Commands are JSON lines, `{"do": …}` with these fields (`?`: may be absent). `message` is a frame as it was received, or
`{"id", "from", "to" or "group"}`. `id` is the item's own, an option of the library's call.

    connect, close, drop, stats, outbox
    network: online                       what the platform says
    hold, release, fail: times            the handler of entries waits, goes on, raises so often
    kill_in_handler, kill_after_handler   SIGKILL of itself; the second with the cursor on disk and not acked
    send: to, body, id, expires_in?, receipts?
    send_group: group, body, id, expires_in?, receipts?
    edit: message, body, id               delete: message, id               react: message, body, id
    retry: id                             discard: id
    read: message
    signal: to or group, body
    watch: users                          unwatch: users
    history: before? or after?, limit?, with? or group?

Every kind of entry that has a name (message, receipt, read, edit, delete, react, group, deleted) goes through one
handler: it says `{"event": "handling", "message": frame}`, obeys `fail` and `hold`, writes the frame with its `type` as
a line of the log, says `{"event": "handled", "cursor", "id", "from"}`. A gap is not logged. Other events:

    ready; state: state, code?, retryAt?; storage; error: code; stats: …; outbox: items (id, state, …)
    accepted: id, …; failed: id, code; stale: id       of every item, also of one that never came into the outbox
    gap, presence, signal, broadcast: the frame's fields beside `event`
    history: entries, more; history_failed: code
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.timing import PATIENCE, UNIT
from scripts.tools import NO_NODE, node
from tests.clients.javascript import CLIENT, prepare

ROOT = Path(__file__).parents[3]
Frame = dict[str, Any]

KINDS = ("javascript", "python")

QUICK = {
    "ping-interval": 20 * UNIT,
    "patience": 0.5 * UNIT,
    "try-timeout": 5 * UNIT,
    "ack-delay": 0.002,
    "backoff-first": 0.01,
    "backoff-most": 0.04,
    "steady": 5,
}
"""Options that let a test have many connections in a second."""


def command(kind: str) -> list[str]:
    """Skips the test where this client cannot run."""
    if kind == "python":
        return [sys.executable, str(CLIENT.parent / "python/driver.py")]
    found = node()
    if found is None:
        pytest.skip(NO_NODE)
    return [found.program, str(prepare(found) / "driver.mjs")]


@dataclass
class Home:
    """Where one installation keeps what must outlive its process."""

    folder: Path
    kind: str
    transactional: bool = False
    _read: int = 0
    _log: list[Frame] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def log(self) -> list[Frame]:
        """What the application has handled by now, in its order."""
        if self.transactional:
            return self._log_table()
        if self.log_file.is_file():
            with self.log_file.open("rb") as file:
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
                self._read += len(whole) + len(newline)
                self._log += [json.loads(line) for line in whole.splitlines()]
        return self._log

    def _log_table(self) -> list[Frame]:
        for path in [path for path in self.state.rglob("*") if path.suffix in {".db", ".sqlite", ".sqlite3"}]:
            with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(sqlite3.OperationalError):
                return [json.loads(row[0]) for row in db.execute("select message from log order by rowid")]
        return []


class Driver:
    """One process. `events` is what it said; `changed` is called whenever it says something, or ends."""

    def __init__(self, process: Process, changed: Callable[[], None]) -> None:
        self.process, self.changed = process, changed
        self.events: list[Frame] = []
        self._heard: list[float] = []  # seconds since 1970, of each
        self._reader = asyncio.create_task(self._read())
        self._errors = asyncio.create_task(self._read_errors())
        self._complaints = b""

    @classmethod
    async def start(
        cls, home: Home, url: str, user: str, device: str, changed: Callable[[], None], **options: object
    ) -> "Driver":
        """Options as of the driver, with `_` for `-`; None leaves one out."""
        home.state.mkdir(parents=True, exist_ok=True)
        base = {"url": url, "user": user, "device": device, "state": home.state, "log": home.log_file}
        named = {**base, **QUICK, **{name.replace("_", "-"): value for name, value in options.items()}}
        if "token-file" in named:
            named |= {"token-file": home.token_file}
        words = [word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))]
        if home.transactional:
            words.append("--transactional")
        process = await asyncio.create_subprocess_exec(
            *command(home.kind), *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, limit=2**24
        )
        return cls(process, changed)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self._heard.append(time.time())
            self.events.append(json.loads(line))
            self.changed()
        await self.process.wait()
        self.changed()

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._complaints = await self.process.stderr.read()
        self.changed()

    # What it said

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    @property
    def state(self) -> str:
        return next((event["state"] for event in reversed(self.events) if event["event"] == "state"), "idle")

    def of(self, kind: str) -> list[Frame]:
        return [event for event in self.events if event["event"] == kind]

    def heard(self, kind: str) -> list[tuple[Frame, float]]:
        """With the second each was read at."""
        return [(event, at) for event, at in zip(self.events, self._heard, strict=True) if event["event"] == kind]

    def tail(self) -> str:
        last = [json.dumps(event)[:200] for event in self.events[-12:]]
        return "\n".join([f"driver {self.process.pid} (exit code {self.process.returncode})", *last, self.complaints()])

    def complaints(self) -> str:
        return self._complaints.decode(errors="replace")[-3000:]

    # What it is told

    async def do(self, what: str, **fields: Any) -> None:
        """Lost where the process has ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")
            await self.process.stdin.drain()

    # Its end

    def kill(self) -> None:
        """SIGKILL; does not wait."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Until it is gone and all it said is read; the exit code."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(self._reader, self._errors)
            if self.process.stdin is not None:
                self.process.stdin.close()
                with contextlib.suppress(ConnectionError):
                    await self.process.stdin.wait_closed()
            return await self.process.wait()

    async def stop(self) -> None:
        """However it fares."""
        self.kill()
        await self.wait()
