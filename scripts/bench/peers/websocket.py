"""A lean WebSocket for clients of the peers: text in, text out; what one turn gives rise to goes out in one write."""

import asyncio
import base64
import os
from collections.abc import Callable

from scripts.bench.outbox import Outbox
from scripts.bench.ws_frames import CLOSE, PING, PONG, TEXT, Decoder, encode

CONNECT_TIMEOUT = 30.0  # s
SWITCHING = b"101"


class WebSocket(Outbox):
    """One connection. `on_text` gets each text, `on_lost` is called when it ends without `close`."""

    def __init__(self, request: bytes, on_text: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        super().__init__()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._request = request
        self._on_text = on_text
        self._on_lost = on_lost
        self._decoder = Decoder()
        self._head = b""
        self._leaving = False

    def send(self, text: bytes) -> None:
        """One text frame, with whatever else this turn of the loop gives rise to; nothing once it is lost."""
        self.write(encode(text))

    def close(self) -> None:
        self._leaving = True
        self.end(encode((1000).to_bytes(2, "big"), CLOSE))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            data = self._handshake(data)
        for opcode, payload in self._decoder.feed(data):
            if opcode == TEXT:
                self._on_text(payload)
            elif opcode == PING:
                self.write(encode(payload, PONG))
            elif opcode == CLOSE:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("cut off during the handshake"))
        elif not self._leaving:
            self._on_lost()

    def _handshake(self, data: bytes) -> bytes:
        """What follows the server's answer."""
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head += data
            return b""
        if head.split(b" ", 2)[1] == SWITCHING:
            self.opened.set_result(None)
            return rest
        self.opened.set_exception(ConnectionError(f"handshake refused: {head.splitlines()[0].decode()}"))
        self.transport.close()
        return b""


async def open_websocket(
    port: int, path: str, on_text: Callable[[bytes], None], on_lost: Callable[[], None], *headers: str
) -> WebSocket:
    """A WebSocket to this loopback port; `headers` as lines without their ends."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        *(f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"),
        *(f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers),
    )
    request = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, socket = await loop.create_connection(lambda: WebSocket(request, on_text, on_lost), "127.0.0.1", port)
        await socket.opened
    return socket
