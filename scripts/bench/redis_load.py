"""The yardstick: plain XADDs, pipelined, from raw sockets, in the manner of `redis-benchmark -P`.

It is no `redis-benchmark`: the same work (50 connections, 16 commands in flight on each, no script), done by
one Python process on uvloop. Each entry has the fields and the body of an inbox entry. Everything else
is reported as a ratio to this figure, because machines differ more than versions do.
"""

import asyncio
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from scripts.bench.content import BODY
from scripts.bench.crew import Crew, Gate, Outcome, Stopwatch

CONNECTIONS = 50
PIPELINE = 16
STREAMS = 100
LINE_ENDS = 2  # of one reply
KEY = "bench:xadd:"


class XaddConnection(asyncio.Protocol):
    """Sends one pipeline, waits for all its replies, sends the next, until the time is up."""

    def __init__(self, pipeline: bytes) -> None:
        self.pipeline = pipeline
        self.line_ends = 0
        self.stopped = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # no instance of it under uvloop

    def start(self) -> None:
        self._missing = PIPELINE * LINE_ENDS
        self.transport.write(self.pipeline)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"-"):
            self.ended.set_exception(RuntimeError(data.decode()))
            return
        # An id comes as `$15\r\n1795350000123-0\r\n`: two line ends, wherever the read cut it.
        ends = data.count(b"\n")
        self._missing -= ends
        self.line_ends += ends
        if self._missing > 0:
            return
        if self.stopped:
            self.ended.set_result(None)
        else:
            self.start()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("Redis closed the connection"))


def command(*words: bytes) -> bytes:
    """One command as RESP."""
    parts = (b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n" % len(words) + b"".join(parts)


def xadd(stream: int) -> bytes:
    key = f"{KEY}{stream}".encode()
    fields = (b"kind", b"message", b"id", b"m-17", b"from", b"alice", b"to", b"bob", b"body", BODY)
    return command(b"XADD", key, b"*", *fields)


@dataclass(frozen=True)
class XaddLoad:
    host: str
    port: int
    seconds: float

    async def run(self, gate: Gate) -> Outcome:
        connections = [await self._connect(number) for number in range(CONNECTIONS)]
        await gate.wait()
        watch = Stopwatch()
        for connection in connections:
            connection.start()
        await asyncio.sleep(self.seconds)
        ended, done = time.monotonic(), sum(one.line_ends for one in connections) // LINE_ENDS
        for connection in connections:
            connection.stopped = True
        await asyncio.gather(*(one.ended for one in connections))
        total = sum(one.line_ends for one in connections) // LINE_ENDS
        for connection in connections:
            connection.transport.close()
        return Outcome(watch.started, ended, done, total, watch.cpu(), watch.wall(), total)

    async def _connect(self, number: int) -> XaddConnection:
        streams = ((number * PIPELINE + offset) % STREAMS for offset in range(PIPELINE))
        pipeline = b"".join(map(xadd, streams))
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: XaddConnection(pipeline), self.host, self.port)
        return connection


def measure(url: str, seconds: float) -> Outcome:
    """XADDs for so long against this server; the caller removes the streams (`clean`)."""
    where = urlsplit(url)
    with Crew([XaddLoad(where.hostname or "127.0.0.1", where.port or 6379, seconds)]) as crew:
        crew.arrived()
        crew.go()
        return crew.finished()[0]


def streams() -> list[str]:
    """The keys the load leaves behind."""
    return [f"{KEY}{number}" for number in range(STREAMS)]


def real_benchmark(url: str, requests: int) -> float | None:
    """XADDs per second by the real `valkey-benchmark` or `redis-benchmark`, where one is on the PATH."""
    binary = shutil.which("valkey-benchmark") or shutil.which("redis-benchmark")
    if binary is None:
        return None
    where = urlsplit(url)
    options = [
        *("-h", where.hostname or "127.0.0.1", "-p", str(where.port or 6379)),
        *("-c", str(CONNECTIONS), "-P", str(PIPELINE), "-n", str(requests), "--csv"),
    ]
    words = ["XADD", f"{KEY}0", "*", "body", BODY.decode()]
    done = subprocess.run([binary, *options, *words], capture_output=True, text=True, check=True)
    return csv_rate(done.stdout)


def csv_rate(output: str) -> float:
    """The requests per second in what `redis-benchmark --csv` printed: the second column of the last row."""
    return float(output.strip().splitlines()[-1].split('","')[1].strip('"'))
