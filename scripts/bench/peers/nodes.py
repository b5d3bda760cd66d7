"""The processes of a peer, and what its clients remember between two connections."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from scripts.lab.processes import die_with_parent, is_alive
from scripts.lab.redis_server import RedisServer

LOOPBACK = "127.0.0.1"
STOP_TIMEOUT = 10.0  # s


class Child:
    """One process of a peer; what it prints goes into `log`. It ends with the thread that starts it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.command = command
        self.environ = environ
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread of the benchmark holds a lock then
            )

    def check(self) -> None:
        """RuntimeError with what it printed, once it has ended."""
        if not is_alive(self.pid):
            raise RuntimeError(self.log.read_text(errors="replace")[-4000:])

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL. Does nothing to one that was never started."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()


def answers(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


def of_user(user: str, ports: Sequence[int]) -> int:
    """The port of the process this user connects to."""
    return ports[crc32(user.encode()) % len(ports)]


def server_version(server: RedisServer) -> dict[str, str]:
    """Of the Redis or Valkey a peer has."""
    said = server.info("server")
    if "valkey_version" in said:
        return {"Valkey": str(said["valkey_version"])}
    return {"Redis": str(said["redis_version"])}


def remember(folder: Path, user: str, what: Mapping[str, Any]) -> None:
    """What a browser would put into its storage: another process of the load may be the one to come back."""
    (folder / user).write_bytes(orjson.dumps(what))


def remembered(folder: Path, user: str) -> dict[str, Any]:
    """Nothing for a user who has never left."""
    try:
        found: dict[str, Any] = orjson.loads((folder / user).read_bytes())
    except FileNotFoundError:
        return {}
    return found
