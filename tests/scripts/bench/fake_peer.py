"""A system in a thread. It accepts at once and delivers later; a kill loses what lies between, if it is told so."""

import asyncio
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from scripts.bench.peers.peer import Client, ignore_id, ignore_loss, ignore_message
from scripts.lab.timing import PATIENCE, eventually

T = TypeVar("T")


class FakePeer:
    """Speaks lines: `user`, `send to id text` and `ack id` in; `accepted id` and `message id text` out.

    After the first `delivers` messages it delivers nothing until it is killed, and dies with `holds` in its memory.
    """

    name = "fake"
    confirms = "in memory"
    keeps = 1000
    in_full = True
    redis_url = ""
    versions: dict[str, str] = {}  # noqa: RUF012 - as the protocol has it
    pids: list[int] = []  # noqa: RUF012

    def __init__(self, *, forgets: bool, delivers: float = math.inf, holds: int = 0) -> None:
        self._forgets = forgets
        self._delivers = delivers
        self._holds = holds
        self._accepted = 0
        self._kept: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._online: dict[str, asyncio.StreamWriter] = {}
        self._port = 0
        self.kills = 0

    def missing(self) -> str:
        return ""

    def start(self, folder: Path) -> None:
        del folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._port = self._do(self._listen())

    def client(self, user: str) -> Client:
        return FakeClient(self._port, user)

    def kill_one(self) -> None:
        if self._delivers < math.inf:
            eventually(lambda: self._accepted >= self._delivers + self._holds, "all is accepted that can be")
        self._do(self._die())
        self.kills += 1

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _die(self) -> None:
        self._delivers = math.inf
        if self._forgets:
            self._kept.clear()
        for writer in self._online.values():
            writer.close()  # not aborted: what it has accepted its clients are to know

    async def _end(self) -> None:
        self._server.close()
        for writer in self._online.values():
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = (await reader.readline()).decode().strip()
        self._online[user] = writer
        self._deliver(user, *self._kept[user])
        try:
            while line := (await reader.readline()).decode().split():
                self._command(user, writer, line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _command(self, user: str, writer: asyncio.StreamWriter, line: list[str]) -> None:
        if line[0] == "ack":
            self._kept[user].pop(line[1], None)
            return
        _, to, id, text = line
        self._kept[to][id] = text
        writer.write(f"accepted {id}\n".encode())
        self._accepted += 1
        if self._accepted <= self._delivers:
            self._deliver(to, id)

    def _deliver(self, user: str, *ids: str) -> None:
        writer = self._online.get(user)
        for id in ids:
            text = self._kept[user].get(id)
            if writer is not None and text is not None and not writer.is_closing():
                writer.write(f"message {id} {text}\n".encode())


class FakeClient:
    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, port: int, user: str) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self._port = port
        self._user = user
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(f"{self._user}\n".encode())
        self._task = asyncio.get_running_loop().create_task(self._read(reader, self._writer))

    def send(self, to: str, id: str, text: str) -> None:
        if self._writer is not None:
            self._writer.write(f"send {to} {id} {text}\n".encode())

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None and self._task is not None:
            writer.close()
            await self._task

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode().split():
                if line[0] == "accepted":
                    self.on_accepted(line[1])
                else:
                    writer.write(f"ack {line[1]}\n".encode())
                    self.on_message(line[1], line[2])
        except ConnectionError:
            pass
        writer.close()
        if self._writer is writer:
            self._writer = None
            self.on_lost()
