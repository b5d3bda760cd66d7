"""A server that answers as a test tells it to: late, wrongly or not at all. It counts what it is asked."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import hiredis

Answer = bytes | None | Awaitable[bytes]
"""Bytes to send; None: the connection is dropped after the command was read."""
GREETINGS = (b"HELLO", b"CLIENT", b"SELECT", b"AUTH")
OK = b"+OK\r\n"


class ScriptedServer:
    """Speaks RESP2 on a loopback port. `answer` is asked for every command but the client library's greetings. While
    `full` it takes no further connections, as a server does that has `maxclients`.
    """

    def __init__(self, answer: Callable[[list[bytes]], Answer]) -> None:
        self.commands: list[list[bytes]] = []
        self.asked = asyncio.Event()  # once the first command has come
        self.connections = 0
        self.full = False
        self.refused = 0
        self._answer = answer
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{port}/0"

    @property
    def names(self) -> list[str]:
        """The commands that came, by name."""
        return [command[0].decode().upper() for command in self.commands]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    def reset(self) -> None:
        """Ends all connections with an RST."""
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.full:
            self.refused += 1
            writer.write(b"-ERR max number of clients reached\r\n")
            writer.close()
            return
        self.connections += 1
        self._open.add(writer)
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    answer = await self._answer_to(command)
                    if answer is None:
                        return
                    writer.write(answer)
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer_to(self, command: list[bytes]) -> bytes | None:
        if command[0].upper() in GREETINGS:
            return OK
        self.commands.append(command)
        self.asked.set()
        answer = self._answer(command)
        return answer if answer is None or isinstance(answer, bytes) else await answer
