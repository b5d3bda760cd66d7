"""One WebSocket connection as it is: everything that came is kept in order, nothing is judged."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.typing import Origin, Subprotocol

from scripts.lab.timing import PATIENCE
from tests.support.arrivals import Arrivals, Frame

Judge = Callable[[Frame, int], None]


class Wire(Arrivals):
    """Frames are JSON objects, one per line of a WebSocket frame. `judge` is called with each and its size.

    What `judge` raises ends the connection and is raised by whatever waits on it, and by `close`.
    """

    unfinished: ClassVar[set["Wire"]] = set()  # what a failing test has left open; a fixture drops them

    def __init__(self, connection: ClientConnection, judge: Judge | None = None) -> None:
        super().__init__()
        self.connection = connection
        self.bundles: list[int] = []  # objects in each WebSocket frame
        self.pings = 0  # WebSocket pings that came
        self.before_pong: Callable[[], None] = lambda: None
        self._answers_pings = True
        self._judge = judge
        self._unclaimed: dict[str, list[Frame]] = {}  # by type: what `next` has not handed out
        self.unfinished.add(self)
        self._watch_pings()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        judge: Judge | None = None,
        headers: Mapping[str, str] | None = None,
        via_port: int | None = None,
        receive_buffer: int | None = None,
        compressed: bool = False,
        origin: str | None = None,
        subprotocols: tuple[str, ...] = (),
    ) -> Self:
        """Connects; raises websockets' InvalidStatus where the handshake is refused.

        `via_port`: the loopback port to connect to, whatever host the URL names. `receive_buffer`: bytes that
        the kernel keeps for us; with few of them a service notices sooner that nobody reads.
        """
        place: dict[str, Any] = {} if via_port is None else {"host": "127.0.0.1", "port": via_port}
        if receive_buffer is not None:
            place = {"sock": await small_socket(url, receive_buffer)}
        connection = await connect(
            url,
            additional_headers=headers or {},
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            compression="deflate" if compressed else None,
            proxy=None,
            ping_interval=None,
            max_size=None,
            max_queue=None,  # the service is not to be held up by the test's own slowness
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            **place,
        )
        return cls(connection, judge)

    # Pings

    def _watch_pings(self) -> None:
        """Counts the pings of the service; the library answers them by itself, in `send_frame`."""
        protocol = self.connection.protocol
        send_frame = protocol.send_frame

        def watching(frame: WebSocketFrame) -> None:
            if frame.opcode is Opcode.PONG:
                self.pings += 1
                self.changed.set()
                if not self._answers_pings:
                    return
                self.before_pong()
            send_frame(frame)

        protocol.send_frame = watching  # type: ignore[method-assign]

    def ignore_pings(self) -> None:
        """Answers no ping any more, but goes on reading."""
        self._answers_pings = False

    # What came

    async def _read(self) -> None:
        try:
            async for data in self.connection:
                self._take(data)
                self.changed.set()
        except ConnectionClosed:
            pass
        except AssertionError as broken:
            self.fault = broken
            self.connection.transport.abort()
        finally:
            self.changed.set()

    def _take(self, data: str | bytes) -> None:
        assert isinstance(data, str), f"a binary frame from the service: {data[:100]!r}"
        lines = data.split("\n")
        self.bundles.append(len(lines))
        for line in lines:
            try:
                frame = json.loads(line)
            except ValueError:
                raise AssertionError(f"not JSON from the service: {line[:200]!r}") from None
            assert isinstance(frame, dict), f"not an object from the service: {line[:200]!r}"
            self.frames.append(frame)
            self._unclaimed.setdefault(str(frame.get("type")), []).append(frame)
            if self._judge is not None:
                self._judge(frame, len(line.encode()))

    @property
    def is_open(self) -> bool:
        return not self._reader.done()

    async def next(self, kind: str, **wanted: Any) -> Frame:
        """The first frame of this type and with these fields that `next` has not handed out yet."""
        return await self.until(lambda: self.claim(kind, **wanted), f"{kind} {wanted or ''}")

    def claim(self, kind: str, **wanted: Any) -> Frame | None:
        """As `next`, of what has come by now."""
        waiting = self._unclaimed.get(kind, [])
        for place, frame in enumerate(waiting):
            if all(frame.get(name, ...) == value for name, value in wanted.items()):
                return waiting.pop(place)
        return None

    # The other direction

    async def send(self, *frames: Frame) -> None:
        """One WebSocket frame, an object a line."""
        await self.send_text("\n".join(json.dumps(frame) for frame in frames))

    async def send_text(self, text: str | bytes) -> None:
        """One text frame of any content; bytes need not be UTF-8. Lost where the connection has ended."""
        with contextlib.suppress(ConnectionClosed):
            await self.connection.send(text.encode() if isinstance(text, str) else text, text=True)

    async def send_binary(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.connection.send(data, text=False)

    def stall(self) -> None:
        """Stops reading from the socket: no frame, no ping is seen any more, and TCP pushes back."""
        self.connection.transport.pause_reading()

    # The end

    async def ended(self) -> int:
        """Waits until the connection is gone; its close code (1006: without a close frame)."""
        await self.until(lambda: not self.is_open, "the end of the connection")
        return self.close_code

    async def over(self) -> int:
        """As `ended`, however long that takes."""
        await asyncio.shield(self._reader)
        if self.fault is not None:
            raise self.fault
        return self.close_code

    @property
    def close_code(self) -> int:
        return self.connection.close_code or 1006

    @property
    def close_reason(self) -> str:
        return self.connection.close_reason or ""

    @property
    def described_end(self) -> str:
        return f"{self.close_code} {self.close_reason}".strip()

    async def close(self) -> None:
        """Closes properly. Raises what the judge found."""
        await self.connection.close()
        await self._finish()

    async def abort(self) -> None:
        """Drops the TCP connection without a word."""
        self.connection.transport.abort()
        await self._finish()

    @classmethod
    async def drop_unfinished(cls) -> None:
        """Aborts every connection that nobody closed."""
        for wire in list(cls.unfinished):
            with contextlib.suppress(AssertionError):
                await wire.abort()

    async def _finish(self) -> None:
        self.unfinished.discard(self)
        await self._reader
        await self.connection.wait_closed()
        if self.fault is not None:
            raise self.fault


async def small_socket(url: str, receive_buffer: int) -> socket.socket:
    """A connected socket that takes few bytes before it must be read."""
    address = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    return sock
