"""mosquitto: MQTT 3.1.1, QoS 1, persistent sessions; one process, as it has no more."""

import asyncio
import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from scripts.bench.outbox import Outbox
from scripts.bench.peers.peer import Client, ignore_id, ignore_loss, ignore_message
from scripts.lab import processes
from scripts.lab.ports import free_port, is_free
from scripts.lab.timing import eventually

CONNECT_TIMEOUT = 30.0  # s
KEEPS = 200_000
KEEP_ALIVE = 60  # s
IDS = 65536  # packet ids are 1 to 65535

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14
QOS_1 = 0x02
TOPIC = "to/"

# Whatever is kept is in memory, and saved every half hour and at the end: it has nothing more durable.
CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {folder}/
max_queued_messages {keeps}
max_inflight_messages 1000
log_dest file {folder}/mosquitto.log
log_type error
"""


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """One MQTT packet."""
    return head(kind << 4 | flags, len(body)) + body


@functools.lru_cache(1024)  # almost all that a load sends is of a few sizes
def head(first: int, size: int) -> bytes:
    """Kind and flags, then the length in groups of seven bits."""
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((first, *length))


def string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def publish(topic: str, number: int, payload: bytes) -> bytes:
    return packet(PUBLISH, QOS_1, string(topic) + number.to_bytes(2, "big") + payload)


def packets(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(first byte, body) of every whole packet in `data`, and what is left."""
    found, at, end = [], 0, len(data)
    while end - at >= 2:
        size, shift, start = 0, 0, at + 1
        while start < end:
            byte = data[start]
            size |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if byte < 0x80:
                break
        else:
            break
        if start + size > end:
            break
        found.append((data[at], data[start : start + size]))
        at = start + size
    return found, data[at:]


class Connection(Outbox):
    """One TCP connection; what one turn of the loop gives rise to goes out in one write."""

    def __init__(self, client: "MosquittoClient") -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.leaving = False
        self._client = client
        self._rest = b""
        self._pinging: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        kept = b"\x00"  # no clean session: subscriptions and messages outlast the connection
        body = string("MQTT") + b"\x04" + kept + KEEP_ALIVE.to_bytes(2, "big") + string(self._client.user)
        self.transport.write(packet(CONNECT, 0, body))
        self._ping_later()

    def data_received(self, data: bytes) -> None:
        whole, self._rest = packets(self._rest + data)
        for first, body in whole:
            self._take(first, body)

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == PUBLISH:
            at = 2 + int.from_bytes(body[:2], "big")
            self.write(b"\x40\x02" + body[at : at + 2])
            id, _, text = body[at + 2 :].partition(b" ")
            self._client.on_message(id.decode(), text.decode())
        elif kind == PUBACK:
            self._client.confirmed(int.from_bytes(body, "big"))
        elif kind == CONNACK:
            self._connected(body)
        elif kind == SUBACK and not self.ready.done():
            self.ready.set_result(None)

    def _connected(self, body: bytes) -> None:
        if body[1] != 0:
            self.ready.set_exception(ConnectionError(f"refused with {body[1]}"))
            return
        self.write(packet(SUBSCRIBE, QOS_1, b"\x00\x01" + string(TOPIC + self._client.user) + b"\x01"))

    def _ping_later(self) -> None:
        self._pinging = self._loop.call_later(KEEP_ALIVE / 2, self._ping)

    def _ping(self) -> None:
        self.write(packet(PINGREQ, 0, b""))
        self._ping_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("cut off before it was ready"))
        elif not self.leaving:
            self._client.on_lost()


class MosquittoClient:
    """A user is a client id with a persistent session, subscribed to a topic of its own name."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, port: int, user: str) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self.user = user
        self._port = port
        self._connection: Connection | None = None
        self._number = 0
        self._unconfirmed: dict[int, str] = {}

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._unconfirmed.clear()
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, self._connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
            await self._connection.ready

    def send(self, to: str, id: str, text: str) -> None:
        if self._connection is None:
            return
        self._number = self._number % (IDS - 1) + 1
        self._unconfirmed[self._number] = id
        self._connection.write(publish(TOPIC + to, self._number, f"{id} {text}".encode()))

    def confirmed(self, number: int) -> None:
        id = self._unconfirmed.pop(number, None)
        if id is not None:
            self.on_accepted(id)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.leaving = True
            self._connection.end(packet(DISCONNECT, 0, b""))


class Mosquitto:
    """Debian's, with a configuration of our own."""

    name = "mosquitto, QoS 1"
    confirms = "in the broker's memory"
    keeps = KEEPS
    in_full = True
    redis_url = ""

    def __init__(self) -> None:
        self._port = 0
        self._configuration = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        return "" if program() else "no mosquitto on the PATH: `apt-get install mosquitto`"

    def start(self, folder: Path) -> None:
        self._port = free_port()
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(CONFIGURATION.format(port=self._port, folder=folder, keeps=KEEPS))
        self._run()

    def _run(self) -> None:
        found = program()
        assert found is not None
        with self._configuration.with_name("stderr.log").open("ab") as log:
            self._process = subprocess.Popen([found, "-c", str(self._configuration)], stderr=log)
        eventually(lambda: not is_free(self._port), "mosquitto listens")

    @property
    def pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    @property
    def versions(self) -> dict[str, str]:
        said = subprocess.run([program() or "", "-h"], capture_output=True, text=True, check=False).stdout
        return {"mosquitto": said.splitlines()[0].rpartition(" ")[2]}

    def client(self, user: str) -> Client:
        return MosquittoClient(self._port, user)

    def kill_one(self) -> None:
        """The only one there is."""
        assert self._process is not None
        processes.kill(self._process.pid)
        self._process.wait()
        self._run()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def program() -> str | None:
    """Debian has it where the PATH of a plain user does not lead."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
