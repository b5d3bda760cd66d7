"""One write to a socket for all that one turn of the loop gives rise to: a system call costs more than a message."""

import asyncio
from typing import cast


class Outbox(asyncio.Protocol):
    """A connection that gathers what it is to write until the turn of the loop is over.

    uvloop writes at once, one system call each time. What arrives on one connection of a load makes it write on
    another, so a turn has several writes for one connection, whatever the system.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._due = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # no instance of it under uvloop

    def write(self, data: bytes) -> None:
        """With whatever else is written before the loop turns; nothing once the connection closes."""
        self._out.append(data)
        if not self._due:
            self.flush_soon()

    def flush_soon(self) -> None:
        """When the turn of the loop is over."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Now. Does nothing where nothing waits."""
        self._due = False
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            if not self.transport.is_closing():
                self.transport.write(data)

    def end(self, last: bytes) -> None:
        """Last words, and what waits before them; then the connection is closed."""
        self._out.append(last)
        self.flush()
        self.transport.close()
