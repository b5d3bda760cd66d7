"""Centrifugo with Redis, history and recovery: two nodes. Where there is none, the library it is made of.

A publication is one Lua script of the broker's: the channel's stream, its offset, and PUBLISH to the nodes. Its result
comes after that, so when Redis has it on disk. PUBLISH may be lost between the nodes; a subscriber's node compares
positions (every 40 s) and cuts off who has missed something, and recovery on reconnect reads the stream from the
client's position. All that a user has missed comes in the one answer to the subscription.
"""

import functools
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import jwt
import orjson

from scripts.bench.peers.centrifugo_client import CentrifugoClient
from scripts.bench.peers.nodes import Child, answers, of_user, server_version
from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inboxd-bench"
MODULE = "github.com/centrifugal/centrifugo/v6"
SOURCE = Path(__file__).with_name("centrifuge")
OLDEST_GO = (1, 26)
NODES = 2
KEEPS = 100_000
QUEUE = 256 * 1024 * 1024  # bytes: what a user has missed is one answer
DAY = 24 * 3600  # s
BUILD_TIMEOUT = 900.0  # s
LOOK_TIMEOUT = 60.0  # s


class Nodes:
    """Two nodes and their Redis; which program they are is the subclass's affair."""

    confirms = "in the channel's stream, fsynced"
    keeps = KEEPS
    in_full = True

    def __init__(self) -> None:
        self._secret = secrets.token_hex(32)
        self._key = secrets.token_hex(16)
        self._nodes: list[Child] = []
        self._ports: list[int] = []
        self._redis: RedisServer | None = None
        self._memory = Path()

    def start(self, folder: Path) -> None:
        self._memory = folder / "clients"
        self._memory.mkdir()
        self._redis = RedisServer(folder / "redis")
        self._redis.start()
        for number in range(NODES):
            port = free_port()
            child = self._node(folder / f"node-{number}", port, f"127.0.0.1:{self._redis.port}")
            self._ports.append(port)
            self._nodes.append(child)
            child.start()
        eventually(self._are_ready, "all nodes know of each other")

    def _node(self, folder: Path, port: int, redis: str) -> Child:
        raise NotImplementedError

    @property
    def redis_url(self) -> str:
        assert self._redis is not None
        return self._redis.url

    @property
    def pids(self) -> list[int]:
        assert self._redis is not None
        return [*(node.pid for node in self._nodes), self._redis.pid]

    def client(self, user: str) -> CentrifugoClient:
        token = jwt.encode({"sub": user, "exp": int(time.time()) + DAY}, self._secret, "HS256")
        return CentrifugoClient(user, token, self._key, of_user(user, self._ports), self._memory)

    def kill_one(self) -> None:
        self._nodes[0].kill()
        self._nodes[0].start()
        eventually(self._are_ready, "all nodes know of each other again")

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()
        if self._redis is not None and self._redis.is_running:
            self._redis.stop()

    def _are_ready(self) -> bool:
        """They listen, and hear each other over Redis."""
        for node in self._nodes:
            node.check()
        assert self._redis is not None
        controls = self._redis.do("PUBSUB", "CHANNELS", "*.control")
        heard = self._redis.do("PUBSUB", "NUMSUB", *controls)[1::2]
        return sum(heard) == NODES and all(map(answers, self._ports))


class Centrifugo(Nodes):
    """The server itself: the one on the PATH, else built by the Go client, once."""

    name = "Centrifugo"

    def missing(self) -> str:
        if _installed() or _is_to_be_had():
            return ""
        return (
            "no `centrifugo` on the PATH, and the Go client is not given its module "
            f"({MODULE}): build version 6 from it elsewhere and put it on the PATH"
        )

    def start(self, folder: Path) -> None:
        if _installed() is None:
            CACHE.mkdir(parents=True, exist_ok=True)
            _go("install", f"{MODULE}@latest", GOBIN=str(CACHE))
        super().start(folder)

    def _node(self, folder: Path, port: int, redis: str) -> Child:
        configuration = folder.with_suffix(".json")
        configuration.write_bytes(orjson.dumps(self._configuration(port, redis)))
        program = _installed()
        assert program is not None
        return Child([program, "--config", str(configuration)], {}, folder.with_suffix(".log"))

    def _configuration(self, port: int, redis: str) -> dict[str, object]:
        inbox = {
            "name": "inbox",
            "history_size": KEEPS,
            "history_ttl": "600s",
            "force_recovery": True,
            "allow_user_limited_channels": True,
        }
        return {
            "http_server": {"address": "127.0.0.1", "port": port},
            "log": {"level": "error"},
            "engine": {"type": "redis", "redis": {"address": redis}},
            "http_api": {"key": self._key},
            "websocket": {"write_timeout": "30s"},
            "client": {
                "token": {"hmac_secret_key": self._secret},
                "queue_max_size": QUEUE,
                "recovery_max_publication_limit": KEEPS,
            },
            "channel": {"namespaces": [inbox]},
        }

    @property
    def versions(self) -> dict[str, str]:
        program = _installed()
        assert program is not None
        assert self._redis is not None
        said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"\d+\.\d+\.\d+", said)
        return {"Centrifugo": found[0] if found else said.strip(), **server_version(self._redis)}


class Centrifuge(Nodes):
    """The library that Centrifugo is made of, in a small server of our own (`centrifuge/main.go`).

    It does less than Centrifugo around each request, so it is no slower than that.
    """

    name = "Centrifuge library (Centrifugo's core)"

    def missing(self) -> str:
        if _built().exists() or _has_go():
            return ""
        return f"no Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer on the PATH to build it with"

    def start(self, folder: Path) -> None:
        program = _built()
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            partial = program.with_suffix(f".{os.getpid()}")
            _go("build", "-trimpath", "-o", str(partial), ".", cwd=SOURCE)
            partial.replace(program)
        super().start(folder)

    def _node(self, folder: Path, port: int, redis: str) -> Child:
        environ = {"PORT": str(port), "REDIS": redis, "KEY": self._key, "SECRET": self._secret, "KEEP": str(KEEPS)}
        return Child([str(_built())], environ, folder.with_suffix(".log"))

    @property
    def versions(self) -> dict[str, str]:
        assert self._redis is not None
        said = subprocess.run([str(_built()), "version"], capture_output=True, text=True, check=True).stdout
        library, go = said.split()
        return {"Centrifuge": library.removeprefix("v"), "Go": go.removeprefix("go"), **server_version(self._redis)}


def _installed() -> str | None:
    """A `centrifugo` that can be run."""
    return shutil.which("centrifugo") or shutil.which("centrifugo", path=CACHE)


def _built() -> Path:
    """Where the server of these very sources is, or will be."""
    sources = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")))
    return CACHE / f"centrifuge-{sources.hexdigest()[:12]}"


@functools.cache
def _has_go() -> bool:
    if shutil.which("go") is None:
        return False
    said = subprocess.run(["go", "version"], capture_output=True, text=True, check=False).stdout  # noqa: S607 - it is looked for on the PATH
    found = re.search(r"go(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO


@functools.cache
def _is_to_be_had() -> bool:
    """Whether the Go client, as it is set up here, is given Centrifugo's module."""
    if not _has_go():
        return False
    try:
        _go("list", "-m", f"{MODULE}@latest", timeout=LOOK_TIMEOUT)
    except (RuntimeError, subprocess.TimeoutExpired):
        return False
    return True


def _go(*words: str, cwd: Path | None = None, timeout: float = BUILD_TIMEOUT, **environ: str) -> None:
    """RuntimeError with what the Go client said."""
    done = subprocess.run(
        ["go", *words],  # noqa: S607 - it is looked for on the PATH
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"go {' '.join(words)}: {done.stdout}{done.stderr}")
