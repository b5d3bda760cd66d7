"""A TCP proxy that does to bytes what a network may do to them, between any two: clients, the service, its server.

It runs in a thread of its own, so that a test may block while others talk through it.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE, POLL

Way = Literal["up", "down"]
"""`up` to the server, `down` to the client."""

CHUNK = 65536
WAITING = 256
"""Chunks that may be on their way in one direction."""


@dataclass(frozen=True)
class Faults:
    """What happens on the way. Each of `ways` is touched; the probabilities are for each chunk that passes.

    `delay`, `jitter`: seconds one way; nothing overtakes. `piece`: bytes go out in segments of 1 to so many.
    `bandwidth`: bytes per second of a connection. `reset`: the connection ends with a RST. `lose_answer`: an answer
    is dropped and the connection cut, so that what was asked may have been done. `stall`: nothing passes, nothing is
    lost, until this is over. `black_hole`: all is swallowed, also new connections; what is swallowed is never heard of.
    """

    delay: float = 0
    jitter: float = 0
    piece: int = 0
    bandwidth: float = 0
    reset: float = 0
    lose_answer: float = 0
    stall: bool = False
    black_hole: bool = False
    ways: tuple[Way, ...] = ("up", "down")


NONE = Faults()


class Cut(Exception):
    """This connection is to end now, with a RST."""


class TcpProxy:
    """Listens on `port` and connects to `target` for each connection. `faults` may be changed at any time; `counts`
    says what happened (`connections`, `refused`, `delayed`, `pieces`, `resets`, `lost_answers`, `stalls`,
    `swallowed` bytes).

    While `refusing` no connection is let through; `cut` drops all. The same `seed` gives the n-th connection the same
    faults. With `tls` clients must speak TLS; the way on is plain.
    """

    def __init__(
        self, target: int, *, target_host: str = "127.0.0.1", seed: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target = target
        self.target_host = target_host
        self.port = free_port()
        self.faults = NONE
        self.refusing = False
        self.counts: Counter[str] = Counter()
        self._seed = seed
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def stop(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self.faults = NONE
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(tasks, timeout=PATIENCE) if tasks else None

    def cut(self) -> int:
        """Drops every connection now; how many there were."""
        return int(self._run(self._cut()))

    async def _cut(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        self.counts["connections"] += 1
        dice = random.Random(f"{self._seed}/{self.counts['connections']}")
        self._writers.add(writer)
        try:
            there_reader, there = await asyncio.open_connection(self.target_host, self.target)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        if writer.transport.is_closing():  # cut while it was half made
            there.transport.abort()
        self._writers.add(there)
        reset = await self._both_ways(
            _OneWay("up", reader, there, self, dice), _OneWay("down", there_reader, writer, self, dice)
        )
        self._writers -= {writer, there}
        for one in (writer, there):
            _abort(one, reset=reset)

    @staticmethod
    async def _both_ways(*ways: "_OneWay") -> bool:
        """Until both directions have ended, or one has failed; whether with a RST."""
        tasks = [asyncio.create_task(work) for way in ways for work in (way.take(), way.give())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, Cut | OSError):
                raise end
        return any(isinstance(end, Cut) for end in ends)

    def changed(self, data: bytes, way: Way, rest: bytearray) -> list[bytes]:
        """What goes on in place of `data`. `rest` keeps what is not yet whole, for this direction of a connection."""
        return [data]


class _OneWay:
    """One direction of one connection: `take` reads, `give` writes what has been on its way for long enough."""

    def __init__(
        self,
        way: Way,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        proxy: TcpProxy,
        dice: random.Random,
    ) -> None:
        self._way = way
        self._reader = reader
        self._writer = writer
        self._proxy = proxy
        self._dice = dice
        self._queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(WAITING)
        self._swallowed = False

    @property
    def _faults(self) -> Faults:
        faults = self._proxy.faults
        return faults if self._way in faults.ways else NONE

    async def take(self) -> None:
        due, rest = 0.0, bytearray()
        while data := await self._reader.read(CHUNK):
            for part in self._proxy.changed(data, self._way, rest):
                due = max(due, self._due())
                await self._queue.put((due, part))
        await self._queue.put(None)

    def _due(self) -> float:
        faults = self._faults
        if not (faults.delay or faults.jitter):
            return 0.0
        self._proxy.counts["delayed"] += 1
        return time.monotonic() + faults.delay + self._dice.uniform(0, faults.jitter)

    async def give(self) -> None:
        """Raises Cut, OSError."""
        while (item := await self._queue.get()) is not None:
            due, data = item
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            await self._stalled()
            self._perhaps_cut()
            if self._faults.black_hole:
                self._swallow(data)
            else:
                await self._write(data)
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    async def _stalled(self) -> None:
        if self._faults.stall:
            self._proxy.counts["stalls"] += 1
        while self._faults.stall:  # noqa: ASYNC110 - another thread ends it
            await asyncio.sleep(POLL)

    def _perhaps_cut(self) -> None:
        faults, counts = self._faults, self._proxy.counts
        if self._swallowed and not faults.black_hole:
            raise Cut  # bytes are missing: what follows would make no sense
        if faults.reset and self._dice.random() < faults.reset:
            counts["resets"] += 1
            raise Cut
        if faults.lose_answer and self._way == "down" and self._dice.random() < faults.lose_answer:
            counts["lost_answers"] += 1
            raise Cut

    def _swallow(self, data: bytes) -> None:
        self._proxy.counts["swallowed"] += len(data)
        self._swallowed = True

    async def _write(self, data: bytes) -> None:
        faults = self._faults
        for piece in self._pieces(data, faults):
            self._writer.write(piece)
            await self._writer.drain()
            if faults.bandwidth:
                await asyncio.sleep(len(piece) / faults.bandwidth)
            elif faults.piece:
                await asyncio.sleep(0)  # each is a segment of its own: asyncio sets TCP_NODELAY

    def _pieces(self, data: bytes, faults: Faults) -> list[bytes]:
        most = faults.piece or max(1, int(faults.bandwidth * POLL))
        if not (faults.piece or faults.bandwidth):
            return [data]
        pieces, at = [], 0
        while at < len(data):
            size = self._dice.randint(1, most) if faults.piece else most
            pieces.append(data[at : at + size])
            at += size
        self._proxy.counts["pieces"] += len(pieces)
        return pieces


def _abort(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
