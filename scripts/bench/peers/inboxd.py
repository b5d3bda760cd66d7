"""inboxd as it is compared: two workers, `fsynced`, tokens checked; the sender's own copy and receipts off or on."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import orjson

from scripts.bench import machine
from scripts.bench.peers.peer import Client, ignore_id, ignore_loss, ignore_message
from scripts.bench.redis_info import RedisView
from scripts.bench.ws_client import Device, Endpoint, Manners
from scripts.bench.ws_frames import encode
from scripts.lab import processes
from scripts.lab.service import QUICK, Service

WORKERS = 2
KEEPS = 200_000
AGAIN = 0.2  # s, until what the service could not take is sent again
LIFE = 6 * 3600  # s, of a token
MANNERS = Manners(window=1024, ack_every=16)

EXTRAS = {"OWN_COPY": "own copy", "RECEIPTS": "receipts"}
SETTINGS = {
    **dict.fromkeys(QUICK, ""),  # as by default, not as in tests
    "WORKERS": WORKERS,
    "DURABILITY": "fsynced",
    "AUTH": "jwt",
    "MAX_PENDING": KEEPS,
    # They are counted all the same; only, nobody is slowed down.
    "RATE": 1_000_000,
    "BURST": 1_000_000,
}


class InboxdDevice(Device):
    """A device that names ids, and tells what it gets to a client."""

    def __init__(self, client: "InboxdClient") -> None:
        super().__init__(client.endpoint, client.user, MANNERS)
        self.bearer = client.token
        self._client = client

    def text(self, payload: bytes) -> None:
        """All objects of a frame at once: a replay is full of them, and the load must not be the limit."""
        for frame in orjson.loads(b"[%b]" % payload.strip().replace(b"\n", b",")):
            self._object(frame)

    def _object(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "accepted":
            self._client.accepted(frame["id"])
        else:
            super()._object(frame)
            if frame["type"] == "error" and frame["code"] == "unavailable":
                self._client.send_again(frame["id"])

    def entry(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message" and frame["from"] != self.user:
            self._client.on_message(frame["id"], frame["body"]["text"])

    def connection_lost(self, exc: Exception | None) -> None:
        leaving, was_live = self._leaving, self.live.done()
        super().connection_lost(exc)
        if was_live and (not leaving or self.errors):
            self._client.on_lost()


class InboxdClient:
    """A user's one device; its cursor is kept by the service."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, endpoint: Endpoint, user: str, token: str) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self.endpoint = endpoint
        self.user = user
        self.token = token
        self._device: InboxdDevice | None = None
        self._unconfirmed: dict[str, bytes] = {}

    async def connect(self) -> None:
        self._unconfirmed.clear()
        self._device = InboxdDevice(self)
        await self._device.connect()

    def send(self, to: str, id: str, text: str) -> None:
        if self._device is not None:
            words = b'{"type":"send","id":"%b","to":"%b","body":{"text":"%b"}}'
            frame = self._unconfirmed[id] = encode(words % (id.encode(), to.encode(), text.encode()))
            self._device.write(frame)

    def accepted(self, id: str) -> None:
        self._unconfirmed.pop(id, None)
        self.on_accepted(id)

    def send_again(self, id: str) -> None:
        """Its outcome is not known: under the same id it may be sent as often as one likes."""
        asyncio.get_running_loop().call_later(AGAIN, self._once_more, id)

    def _once_more(self, id: str) -> None:
        if self._device is not None and id in self._unconfirmed:
            self._device.write(self._unconfirmed[id])

    async def close(self) -> None:
        if self._device is not None:
            self._device.leave()


class Inboxd:
    """The service with its embedded server. None of the others keeps a sender's copy or sends receipts."""

    keeps = KEEPS
    confirms = "in the recipient's inbox, fsynced"

    def __init__(self, *extras: str) -> None:
        """`extras`: of `OWN_COPY` and `RECEIPTS`, what is on."""
        self.name = f"inboxd, {' and '.join(map(EXTRAS.__getitem__, extras))} on" if extras else "inboxd"
        self.in_full = not extras
        self._extras = {extra: "on" if extra in extras else "off" for extra in EXTRAS}
        self._secret = secrets.token_hex(32)
        self._service: Service | None = None

    def missing(self) -> str:
        return ""

    @property
    def service(self) -> Service:
        assert self._service is not None, "not started"
        return self._service

    def start(self, folder: Path) -> None:
        settings = SETTINGS | self._extras | {"JWT_SECRET": self._secret}
        self._service = Service(folder, operator=self._operator, **settings)
        self._service.start()

    def _operator(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token('operator', 'ops')}"}

    def _token(self, user: str, scope: str = "chat") -> str:
        claims = {"sub": user, "scope": scope, "exp": int(time.time()) + LIFE}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    @property
    def redis_url(self) -> str:
        return self.service.redis_url

    @property
    def pids(self) -> list[int]:
        return [self.service.pid, *(child.pid for child in processes.descendants(self.service.pid))]

    @property
    def versions(self) -> dict[str, str]:
        view = RedisView(self.service.redis_url)
        try:
            return {"inboxd": f"{machine.version('inboxd')} ({machine.commit()})", "server": view.facts().version}
        finally:
            view.close()

    def client(self, user: str) -> Client:
        return InboxdClient(Endpoint("127.0.0.1", self.service.port), user, self._token(user))

    def kill_one(self) -> None:
        processes.kill(self.service.workers()[0].pid)
        self.service.await_ready()

    def stop(self) -> None:
        if self._service is not None:
            self._service.close()
