"""A TCP proxy between the service and its server, to lose what a network may lose.

It runs in a thread of its own, so that a test may block while the service talks through it.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE

Filter = Callable[[bytes], bytes]
"""Gets one whole command as bytes on the wire, returns what is sent on in its place."""


def commands(buffer: bytearray) -> list[bytes]:
    """Takes all whole commands (RESP arrays) off the front of a buffer."""
    whole = []
    while (end := _end_of_command(buffer)) is not None:
        whole.append(bytes(buffer[:end]))
        del buffer[:end]
    return whole


def _end_of_command(buffer: bytearray) -> int | None:
    head = re.match(rb"\*(\d+)\r\n", buffer)
    if head is None:
        return None
    at = head.end()
    for _ in range(int(head[1])):
        size = re.compile(rb"\$(\d+)\r\n").match(buffer, at)
        if size is None:
            return None
        at = size.end() + int(size[1]) + 2
    return at if at <= len(buffer) else None


class RedisProxy:
    """`url` leads to the server at `port`. `filter` sees every command on its way there.

    With `lose_answers` true whatever the server says is swallowed. `cut` drops all connections; while
    `refusing` no new one is let through.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.filter: Filter = bytes
        self.lose_answers = False
        self.refusing = False
        self.lost_bytes = 0
        self.refused = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def stop(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
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
            self.refused += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        if writer.transport.is_closing():  # cut while it was half made
            there.transport.abort()
        self._writers.add(there)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._to_server(reader, there), self._to_client(there_reader, writer))
        self._writers -= {writer, there}
        for one in (writer, there):
            one.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(65536):
            buffer += data
            for command in commands(buffer):
                there.write(self.filter(command))
            await there.drain()
        there.transport.abort()

    async def _to_client(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65536):
            if self.lose_answers:
                self.lost_bytes += len(data)
                continue
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


class LostHints:
    """A filter that makes announcements of messages vanish: they go to a stream that nobody reads.

    Canaries and other controls pass. The key has the same length, so that the command stays whole;
    the stream must exist (`prepare`), because announcing to one that does not is no loss but a nil answer.
    """

    def __init__(self, prefix: bytes = b"chat:") -> None:
        self.count = 0
        self._key = re.compile(rb"(?i)(XADD\r\n\$\d+\r\n" + re.escape(prefix) + rb")worker:\{")

    def __call__(self, command: bytes) -> bytes:
        if b"\r\n!" in command:
            return command
        changed, count = self._key.subn(rb"\1nobody:{", command, count=1)
        self.count += count
        return changed


def prepare(store: Any, workers: list[str], prefix: str = "chat:") -> None:
    """Makes the streams that `LostHints` diverts to."""
    for worker in workers:
        store.xadd(f"{prefix}nobody:{{{worker}}}", {"nobody": "reads this"})
