"""A user of Centrifugo: subscribed to a channel of their own over WebSocket, publishing over the server's HTTP API.

JSON both ways, as all other peers. A sender publishes over a connection of its own, made with the first send, by
`/api/batch`: what is sent while one batch is under way goes with the next. The batch is not `parallel`, which would be
faster for one sender and give up the order of what it sends.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson

from scripts.bench.http_client import split_answer, with_body
from scripts.bench.peers.nodes import remember, remembered
from scripts.bench.peers.peer import ignore_id, ignore_loss, ignore_message
from scripts.bench.peers.websocket import WebSocket, open_websocket

PATH = "/connection/websocket"
BATCH = 32  # commands; the answer to more is long enough for Go to send it in chunks
CONNECT_TIMEOUT = 30.0  # s
OK = 200


def channel(user: str) -> str:
    """Which only this user may subscribe to (Centrifugo's user-limited channels)."""
    return f"inbox:#{user}"


class Publisher(asyncio.Protocol):
    """One keep-alive connection to the API; one batch at a time. `accepted` gets the ids that have a result.

    When the connection ends, `lost` is called, and what was not answered is forgotten.
    """

    transport: asyncio.Transport | None = None

    def __init__(self, port: int, key: str, accepted: Callable[[str], None], lost: Callable[[], None]) -> None:
        self._accepted = accepted
        self._lost = lost
        self._head = (
            f"POST /api/batch HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._waiting: list[tuple[str, bytes]] = []
        self._under_way: list[str] = []
        self._answer = b""
        self._connecting = asyncio.get_running_loop().create_task(self._connect(port))

    def publish(self, to: str, id: str, text: str) -> None:
        command = f'{{"publish":{{"channel":"{channel(to)}","data":{{"id":"{id}","text":"{text}"}}}}}}'
        self._waiting.append((id, command.encode()))
        if len(self._waiting) == 1 and not self._under_way:
            # What this turn of the loop still sends goes along.
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        self._connecting.cancel()
        if self.transport is not None:
            self.transport.close()

    async def _connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            self._lost()

    def _flush(self) -> None:
        if self._under_way or not self._waiting or self.transport is None or self.transport.is_closing():
            return
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._under_way = [id for id, _ in batch]
        self.transport.write(with_body(self._head, b'{"commands":[%b]}' % b",".join(command for _, command in batch)))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # no instance of it under uvloop
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        split = split_answer(self._answer)
        if split is None:
            return
        (status, body), self._answer = split
        if status != OK:
            raise ConnectionError(f"the API says {status}: {body.decode()}")
        ids, self._under_way = self._under_way, []
        for id, reply in zip(ids, orjson.loads(body)["replies"], strict=True):
            if "error" not in reply:
                self._accepted(id)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


class CentrifugoClient:
    """One user. Remembers the position (epoch and offset) in the channel, as Centrifugo's SDKs do."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, user: str, token: str, key: str, port: int, memory: Path) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self._user = user
        self._token = token
        self._key = key
        self._port = port
        self._memory = memory
        self._position: dict[str, Any] = {}
        self._socket: WebSocket | None = None
        self._publisher: Publisher | None = None

    async def connect(self) -> None:
        if not self._position:
            self._position = remembered(self._memory, self._user) or {"epoch": "", "offset": 0}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        socket = await open_websocket(self._port, PATH, self._frame, self._gone)
        subscribe = {"channel": channel(self._user), "recover": True, **self._position}
        commands = ({"id": 1, "connect": {"token": self._token}}, {"id": 2, "subscribe": subscribe})
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                socket.send(b"\n".join(map(orjson.dumps, commands)))
                await self._ready
        except BaseException:
            socket.close()
            raise
        self._socket = socket

    def send(self, to: str, id: str, text: str) -> None:
        if self._socket is None:
            return
        if self._publisher is None:
            self._publisher = Publisher(self._port, self._key, self._accepted, self._publisher_gone)
        self._publisher.publish(to, id, text)

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._publisher is not None:
            self._publisher.close()
        remember(self._memory, self._user, self._position)

    def _accepted(self, id: str) -> None:
        self.on_accepted(id)

    def _frame(self, frame: bytes) -> None:
        for line in frame.split(b"\n"):
            if line == b"{}":
                self._pong()
            elif line:
                self._reply(orjson.loads(line))

    def _pong(self) -> None:
        if self._socket is not None:
            self._socket.send(b"{}")

    def _reply(self, reply: dict[str, Any]) -> None:
        push = reply.get("push")
        if push is not None:
            if "pub" in push:
                self._publication(push["pub"])
        elif "error" in reply and not self._ready.done():
            self._ready.set_exception(ConnectionError(reply["error"]["message"]))
        elif "subscribe" in reply:
            self._subscribed(reply["subscribe"])

    def _subscribed(self, result: dict[str, Any]) -> None:
        self._position = {"epoch": result.get("epoch", ""), "offset": result.get("offset", 0)}
        if not self._ready.done():
            self._ready.set_result(None)
        for publication in result.get("publications", ()):
            self._publication(publication)

    def _publication(self, publication: dict[str, Any]) -> None:
        self._position["offset"] = publication["offset"]
        data = publication["data"]
        self.on_message(data["id"], data["text"])

    def _gone(self) -> None:
        if not self._ready.done():
            self._ready.set_exception(ConnectionError("cut off before it was connected"))
        elif self._socket is not None:
            self._socket = None
            if self._publisher is not None:
                self._publisher.close()
            self.on_lost()

    def _publisher_gone(self) -> None:
        self._publisher = None
