"""FastAPI with PUBLISH and SUBSCRIBE, two uvicorn workers: `pubsub_server` and its clients."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson

from scripts.bench import machine
from scripts.bench.peers.peer import Client, ignore_id, ignore_loss, ignore_message
from scripts.bench.peers.websocket import WebSocket, open_websocket
from scripts.lab import processes
from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import ROOT
from scripts.lab.timing import eventually

WORKERS = 2


class PubSubClient:
    """Knows nothing of acceptance: a message counts as accepted when it is written."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, port: int, user: str) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self._port = port
        self._user = user
        self._socket: WebSocket | None = None

    async def connect(self) -> None:
        self._socket = await open_websocket(self._port, f"/ws/{self._user}", self._text, self._gone)

    def send(self, to: str, id: str, text: str) -> None:
        if self._socket is not None:
            self._socket.send(b'{"to":"%b","id":"%b","text":"%b"}' % (to.encode(), id.encode(), text.encode()))
            self.on_accepted(id)

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _text(self, payload: bytes) -> None:
        message = orjson.loads(payload)
        if "id" in message:
            self.on_message(message["id"], message["text"])

    def _gone(self) -> None:
        self._socket = None
        self.on_lost()


class PubSub:
    """Two workers behind one port, and a Redis of their own."""

    name = "FastAPI + PUBLISH/SUBSCRIBE"
    confirms = ""
    keeps = 0
    in_full = True

    def __init__(self) -> None:
        self._port = 0
        self._redis: RedisServer | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        return ""

    def start(self, folder: Path) -> None:
        self._redis = RedisServer(folder / "redis")
        self._redis.start()
        self._port = free_port()
        options = (
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--workers",
            str(WORKERS),
            "--log-level",
            "warning",
        )
        with (folder / "uvicorn.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "scripts.bench.peers.pubsub_server:app", *options],
                cwd=ROOT,
                env={"REDIS_URL": self._redis.url},
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, "uvicorn answers")
        self._await_workers()

    def _await_workers(self) -> None:
        """Every worker holds two connections to Redis once it serves: what it listens with, and the first answer's."""
        eventually(lambda: len(self._workers()) == WORKERS, "all workers run")
        redis = self._redis
        assert redis is not None
        eventually(lambda: redis.do("PUBSUB", "NUMSUB", "everybody")[1] == WORKERS, "all workers listen")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _workers(self) -> list[int]:
        """Processes that serve: all children but multiprocessing's own helper."""
        assert self._process is not None
        children = processes.descendants(self._process.pid)
        return [child.pid for child in children if any("spawn_main" in word for word in child.cmdline())]

    @property
    def redis_url(self) -> str:
        assert self._redis is not None
        return self._redis.url

    @property
    def pids(self) -> list[int]:
        assert self._process is not None
        assert self._redis is not None
        return [self._process.pid, *(child.pid for child in processes.descendants(self._process.pid)), self._redis.pid]

    @property
    def versions(self) -> dict[str, str]:
        return {name: machine.version(name) for name in ("fastapi", "uvicorn", "redis")}

    def client(self, user: str) -> Client:
        return PubSubClient(self._port, user)

    def kill_one(self) -> None:
        processes.kill(self._workers()[0])
        self._await_workers()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        if self._redis is not None and self._redis.is_running:
            self._redis.kill()
