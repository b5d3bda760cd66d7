"""Socket.IO 4 on `@socket.io/redis-streams-adapter`: two Node.js processes, connection state recovery on.

Every send is one entry of the adapter's one stream, which every process reads whole. The server answers a send (an
acknowledgement callback) when the adapter's XADD was answered, so when Redis has it on disk; most applications emit
and do not wait for that. What was sent to a user who is away is found again by recovery: the session (its rooms) is
in Redis once a process saw the connection end, and the stream is read again from the client's offset. A process that
is killed stores no session: what its clients are sent before they are back is lost to them.
"""

import asyncio
import fcntl
import hashlib
import hmac
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import orjson

from scripts import tools
from scripts.bench.peers.nodes import Child, answers, of_user, remember, remembered, server_version
from scripts.bench.peers.peer import ignore_id, ignore_loss, ignore_message
from scripts.bench.peers.websocket import WebSocket, open_websocket
from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually

FOLDER = Path(__file__).with_name("socketio")
PATH = "/socket.io/?EIO=4&transport=websocket"
NODES = 2
KEEPS = 100_000
STREAM = 300_000  # entries: what one user may miss, and what others get meanwhile
INSTALL_TIMEOUT = 300.0  # s
CONNECT_TIMEOUT = 30.0  # s

# Engine.IO's packet types, then Socket.IO's.
OPEN, PING, PONG = b"0", b"2", b"3"
CONNECTED, EVENT, ACK, REFUSED = b"40", b"42", b"43", b"44"


class SocketIOClient:
    """One user. Remembers its session (`pid`) and the offset of the last event, as `socket.io-client` does."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, user: str, token: str, port: int, memory: Path) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self._user = user
        self._token = token
        self._port = port
        self._memory = memory
        self._session: dict[str, str] = {}
        self._unconfirmed: dict[bytes, str] = {}
        self._sent = 0
        self._socket: WebSocket | None = None

    async def connect(self) -> None:
        if not self._session:
            self._session = remembered(self._memory, self._user)
        loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        socket = await open_websocket(self._port, PATH, self._packet, self._gone)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._greeted
                socket.send(CONNECTED + orjson.dumps({"user": self._user, "token": self._token, **self._session}))
                await self._ready
        except BaseException:
            socket.close()
            raise
        self._socket = socket

    def send(self, to: str, id: str, text: str) -> None:
        if self._socket is None:
            return
        self._sent += 1
        number = b"%d" % self._sent
        self._unconfirmed[number] = id
        self._socket.send(b'42%b["send","%b","%b","%b"]' % (number, to.encode(), id.encode(), text.encode()))

    async def close(self) -> None:
        """The transport only: after Socket.IO's own `disconnect` a session cannot be recovered."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        remember(self._memory, self._user, self._session)

    def _packet(self, packet: bytes) -> None:
        kind = packet[:2]
        if kind == EVENT:
            self._event(orjson.loads(packet[2:]))
        elif kind == ACK:
            id = self._unconfirmed.pop(packet[2 : packet.index(b"[")], None)
            if id is not None:
                self.on_accepted(id)
        elif packet == PING:
            if self._socket is not None:
                self._socket.send(PONG)
        else:
            self._about_the_session(kind, packet)

    def _event(self, event: list[str]) -> None:
        self._session["offset"] = event[-1]
        if event[0] == "message":
            self.on_message(event[1], event[2])
        else:  # the welcome
            _settle(self._ready)

    def _about_the_session(self, kind: bytes, packet: bytes) -> None:
        if kind[:1] == OPEN:
            _settle(self._greeted)
        elif kind == CONNECTED:
            pid = orjson.loads(packet[2:])["pid"]
            if pid == self._session.get("pid"):
                _settle(self._ready)  # recovered: no welcome comes
            self._session["pid"] = pid
        elif kind == REFUSED:
            _settle(self._ready, ConnectionError(packet.decode()))

    def _gone(self) -> None:
        self._unconfirmed.clear()
        if self._socket is None:
            waiting = self._ready if self._greeted.done() else self._greeted
            _settle(waiting, ConnectionError("cut off before it was connected"))
        else:
            self._socket = None
            self.on_lost()


def _settle(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class SocketIO:
    """The servers of `socketio/server.js`, and their Redis."""

    name = "Socket.IO + streams adapter"
    confirms = "in the adapter's stream, fsynced"
    keeps = KEEPS
    in_full = True

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._nodes: list[Child] = []
        self._ports: list[int] = []
        self._redis: RedisServer | None = None
        self._memory = Path()

    def missing(self) -> str:
        return "" if tools.node() else tools.NO_NODE

    def start(self, folder: Path) -> None:
        node = tools.node()
        assert node is not None, self.missing()
        install(node)
        self._memory = folder / "clients"
        self._memory.mkdir()
        self._redis = RedisServer(folder / "redis")
        self._redis.start()
        for _ in range(NODES):
            port = free_port()
            environ = {
                "NODE_ENV": "production",
                "PORT": str(port),
                "REDIS_URL": self._redis.url,
                "SECRET": self._secret,
                "KEEP": str(STREAM),
            }
            child = Child([node.program, str(FOLDER / "server.js")], environ, folder / f"node-{port}.log")
            self._ports.append(port)
            self._nodes.append(child)
            child.start()
        for at in range(NODES):
            self._await(at)

    @property
    def redis_url(self) -> str:
        assert self._redis is not None
        return self._redis.url

    @property
    def pids(self) -> list[int]:
        assert self._redis is not None
        return [*(node.pid for node in self._nodes), self._redis.pid]

    @property
    def versions(self) -> dict[str, str]:
        node = tools.node()
        assert node is not None
        assert self._redis is not None
        said = subprocess.run([node.program, "--version"], capture_output=True, text=True, check=True)
        return {
            "Socket.IO": _version_of("socket.io"),
            "redis-streams-adapter": _version_of("@socket.io/redis-streams-adapter"),
            "ioredis": _version_of("ioredis"),
            "Node.js": said.stdout.strip().removeprefix("v"),
            **server_version(self._redis),
        }

    def client(self, user: str) -> SocketIOClient:
        token = hmac.new(self._secret.encode(), user.encode(), hashlib.sha256).hexdigest()
        return SocketIOClient(user, token, of_user(user, self._ports), self._memory)

    def kill_one(self) -> None:
        self._nodes[0].kill()
        self._nodes[0].start()
        self._await(0)

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()
        if self._redis is not None and self._redis.is_running:
            self._redis.stop()

    def _await(self, at: int) -> None:
        eventually(lambda: self._is_ready(self._nodes[at], self._ports[at]), "a Socket.IO server that reads")

    def _is_ready(self, node: Child, port: int) -> bool:
        """It listens, and its adapter waits for what is new in the stream."""
        node.check()
        assert self._redis is not None
        reader = f" name=node-{node.pid} "
        clients = str(self._redis.do("CLIENT", "LIST"))
        return answers(port) and any(reader in line and " cmd=xread " in line for line in clients.splitlines())


def install(node: tools.Node) -> None:
    """`npm ci`, unless it was done for this lock file. RuntimeError with what npm said."""
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = FOLDER / "node_modules" / ".of"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(FOLDER / "node_modules", ignore_errors=True)
        command = [*node.npm, "ci", "--omit=dev", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=FOLDER, env=node.environ, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        stamp.write_text(wanted)


def _version_of(package: str) -> str:
    said = json.loads((FOLDER / "node_modules" / package / "package.json").read_text())
    return str(said["version"])
