"""The store's calls on fakeredis and on the real server, with limits of the test's own."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from scripts.lab.timing import PATIENCE
from service.core.cursor import Cursor
from service.core.entries import Fields, Kind
from service.core.errors import Unavailable
from service.core.sending import Appended, Message
from service.store.appends import Appends, Attempt
from service.store.client import Clients
from service.store.history import Histories
from service.store.inbox import Inboxes
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.link import Command
from service.store.marks import Marks
from service.store.presence import Presence
from service.store.single import Single
from service.store.worker_stream import WorkerStreams
from tests.conftest import Backend
from tests.support.fake_redis import fake_client

LIMITS = Limits(max_pending=1000, history=1000, retention=3600, device_expiry=600, dedupe_window=60)


@dataclass(frozen=True)
class Server:
    """What `service.store.client.Settings` asks for."""

    redis_url: str | None
    redis_timeout: float = PATIENCE


@dataclass
class Store:
    """One server's typed calls, and a client of its own to look behind them."""

    clients: Any
    real: bool
    limits: Limits = LIMITS
    keys: Keys = field(default_factory=Keys)
    admin: Any = None  # a client with all rights, where the service's own have fewer

    def __post_init__(self) -> None:
        self.raw: Any = self.admin or getattr(self.clients.rest, "redis", None)
        self.appends = Appends(self.clients, self.keys, self.limits)
        self.inboxes = Inboxes(self.clients, self.keys, self.limits)
        self.histories = Histories(self.clients, self.keys)
        self.marks = Marks(self.clients, self.keys)
        self.presence = Presence(self.clients.rest, self.keys, self.limits)
        self.streams = WorkerStreams(self.clients.rest, self.clients.read, self.keys)

    def limited(self, **changes: float) -> "Store":
        """The same server with other limits."""
        return replace(self, limits=Limits(**{**vars_of(self.limits), **changes}))

    async def do(self, *command: Any) -> Any:
        return await self.raw.execute_command(*command)

    async def state(self, user: str = "bob") -> dict[str, str]:
        return text(await self.do("HGETALL", self.keys.state(user)))

    async def hash(self, key: str) -> dict[str, str]:
        return text(await self.do("HGETALL", key))

    async def entries(self, user: str = "bob") -> list[str]:
        """The ids (cursors) in an inbox."""
        return [id.decode() for id, _ in await self.do("XRANGE", self.keys.inbox(user), "-", "+")]

    async def append(self, messages: Sequence[Message], *, own_copy: bool) -> list[list[Appended]]:
        """As `appends.append`, where nothing is left unknown. Raises Unavailable."""
        return known(await self.appends.append(messages, own_copy))

    async def send(self, id: str = "m1", to: str = "bob", **more: Any) -> Appended:
        """One message from Alice to one user; the recipient's result."""
        own_copy = more.pop("own_copy", False)
        [results] = await self.append([message(id, to, **more)], own_copy=own_copy)
        return results[0]

    async def fill(self, count: int, user: str = "bob", prefix: str = "f") -> list[Cursor]:
        """So many messages to a user; their cursors."""
        batch = [message(f"{prefix}{n}", user) for n in range(count)]
        return [accepted(results[0]) for results in await self.append(batch, own_copy=False)]


def known(attempts: Sequence[Attempt]) -> list[list[Appended]]:
    """Raises what became of the first message of which nothing is known."""
    for attempt in attempts:
        if isinstance(attempt, Unavailable):
            raise attempt
    return [attempt for attempt in attempts if not isinstance(attempt, Unavailable)]


def vars_of(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


def text(rows: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in rows.items()}


def message(
    id: str = "m1",
    *to: str,
    sender: str = "alice",
    body: bytes = b'{"text":"hi"}',
    print: str = "p1",
    expires_in: int = 0,
    receipts: bool = True,
) -> Message:
    return Message(id, sender, to or ("bob",), body, print, expires_in, listed=len(to) > 1, receipts=receipts)


def deletion(cursor: Cursor, target: str, id: str = "d1", *to: str, sender: str = "alice") -> Message:
    """Of a message that lies at `cursor` in the one inbox it went to."""
    users = to or ("bob",)
    rows = tuple((user, f"{cursor} {target} {sender} to {user}") for user in users)
    return Message(id, sender, users, b"", "p1", kind=Kind.DELETE, target=target, target_from=sender, erases=rows)


def group_fields(number: int, group: str = "team", sender: str = "alice") -> Fields:
    return ["kind", "message", "id", f"g{number}", "from", sender, "group", group, "seq", str(number), "body", b"1"]


def accepted(result: Appended) -> Cursor:
    """The cursor of a result that has one."""
    assert result.cursor is not None
    return result.cursor


class FakeLink(Single):
    """fakeredis has no socket, and hands a script's first line `#!lua …` to Lua as it is: here it is a comment."""

    async def replies(self, commands: Sequence[Command]) -> list[Any]:
        connection = await self.redis.connection_pool.get_connection()
        try:
            return [await _reply(connection, c) for c in commands]
        finally:
            await self.redis.connection_pool.release(connection)


async def _reply(connection: Any, command: Command) -> Any:
    plain = (command[0], f"--{command[1]}", *command[2:]) if command[0] == "EVAL" else command
    try:
        await connection.send_command(*plain)
        return await connection.read_response()
    except ResponseError as error:
        return error


class FakeClients:
    """As `Clients`, of one fakeredis."""

    def __init__(self) -> None:
        self.write = self.read = self.beat = self.rest = FakeLink(fake_client())

    async def aclose(self) -> None:
        await self.rest.aclose()


async def on_real(backend: Backend) -> AsyncIterator[Store]:
    clients, admin = Clients(Server(backend.service_url)), backend.async_client()
    yield Store(clients, real=True, admin=admin)
    await clients.aclose()
    await admin.aclose()


@pytest.fixture(params=("fake", "real", "oldest"))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty server; the test runs on fakeredis, on a real one, and on the oldest that is served."""
    if request.param == "fake":
        clients: Any = FakeClients()
        yield Store(clients, real=False)
        await clients.aclose()
        return
    backend = request.getfixturevalue("backends")("one" if request.param == "real" else request.param)
    backend.flush()
    async for store in on_real(backend):
        yield store


@pytest.fixture
async def real_store(backend: Backend) -> AsyncIterator[Store]:
    """An empty real server, for what fakeredis cannot follow."""
    async for store in on_real(backend):
        yield store


@pytest.fixture
def aged(store: Store) -> Callable[..., Any]:
    """Moves the turn of a user's dedupe hashes back by so many ms, instead of waiting for it."""

    async def age(ms: int, user: str = "bob") -> None:
        turned = int((await store.state(user))["turned"])
        await store.do("HSET", store.keys.state(user), "turned", turned - ms)

    return age
