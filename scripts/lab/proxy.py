"""A TCP proxy between the service and its server that understands what passes, to lose what a network may lose."""

import re
from collections.abc import Callable
from typing import Any

from scripts.lab.tcp_proxy import TcpProxy, Way

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


class RedisProxy(TcpProxy):
    """`url` leads to the server at `port`, with a `login` (`user:password@`). `filter` sees every command on its way
    there. With `lose_answers` true whatever the server says is swallowed, and the connection stays.
    """

    def __init__(self, port: int, *, seed: int = 0, login: str = "") -> None:
        super().__init__(port, seed=seed)
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        self.filter: Filter = bytes
        self.lose_answers = False
        self.lost_bytes = 0

    @property
    def refused(self) -> int:
        return self.counts["refused"]

    def changed(self, data: bytes, way: Way, rest: bytearray) -> list[bytes]:
        if way == "up":
            rest += data
            return [b"".join(self.filter(command) for command in commands(rest))]
        if self.lose_answers:
            self.lost_bytes += len(data)
            return []
        return [data]


class LostHints:
    """A filter that makes announcements of messages vanish: they go to a stream that nobody reads. (Of the scripts
    `hint.lua` alone has a worker stream as its one key.)

    Canaries and other controls pass. The key has the same length, so that the command stays whole;
    the stream must exist (`prepare`), because announcing to one that does not is no loss but a nil answer.
    """

    def __init__(self, prefix: bytes = b"chat:") -> None:
        self.count = 0
        self._key = re.compile(rb"(?i)(\r\n\$1\r\n1\r\n\$\d+\r\n" + re.escape(prefix) + rb")worker:\{")

    def __call__(self, command: bytes) -> bytes:
        return command if b"\r\n!" in command else self.diverted(command)

    def diverted(self, command: bytes) -> bytes:
        changed, count = self._key.subn(rb"\1nobody:{", command, count=1)
        self.count += count
        return changed


class LostControls(LostHints):
    """As `LostHints`, of the controls with one name (`!…`); all else passes."""

    def __init__(self, name: str, prefix: bytes = b"chat:") -> None:
        super().__init__(prefix)
        self._name = f"\r\n{name}\r\n".encode()

    def __call__(self, command: bytes) -> bytes:
        return self.diverted(command) if self._name in command else command


def prepare(store: Any, workers: list[str], prefix: str = "chat:") -> None:
    """Makes the streams that `LostHints` diverts to."""
    for worker in workers:
        store.xadd(f"{prefix}nobody:{{{worker}}}", {"nobody": "reads this"})
