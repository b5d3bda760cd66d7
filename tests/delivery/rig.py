"""Workers in the test's own process, the far side of their connections, and ways to get between the stages."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from prometheus_client import Counter

from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE, UNIT
from service.config import Settings
from service.core.cursor import Cursor
from service.core.errors import Fault, Unavailable
from service.core.frames import Hello
from service.core.lane import Lane
from service.core.sending import Appended, Message, fingerprint
from service.delivery.committer import Committer
from service.delivery.connection import Connection
from service.delivery.worker import Worker
from service.store.appends import Appends, Attempt
from service.store.inbox import AckStatus, Inboxes
from service.store.presence import Claim
from tests.store.conftest import known
from tests.support.rules import Rules

T = TypeVar("T")
Frame = dict[str, Any]
Answer = Sequence[Appended] | Fault

NEVER = 3600.0
"""Seconds: an interval that does not end within a test, so that something else must have done the work."""


LOOK = 0.002
"""Seconds between two looks at something that does not say when it changes."""


async def until(probe: Callable[[], T | None], what: str) -> T:
    """The first answer of `probe` that is true; fails naming `what`."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := probe()):  # noqa: ASYNC110 - any state may be looked at
                await asyncio.sleep(LOOK)
            return found
    except TimeoutError:
        raise AssertionError(f"did not happen within {PATIENCE:.0f} s: {what}") from None


async def within(waiting: Awaitable[T], what: str) -> T:
    """The result of something that must come."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await waiting
    except TimeoutError:
        raise AssertionError(f"did not come within {PATIENCE:.0f} s: {what}") from None


async def ticks(count: int = 20) -> None:
    """Lets whatever is ready on the loop happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until_stored(probe: Callable[[], Awaitable[T]], what: str) -> T:
    """As `until`, for a probe that asks the server."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := await probe()):  # noqa: ASYNC110 - the server does not tell
                await asyncio.sleep(LOOK)
            return found
    except TimeoutError:
        raise AssertionError(f"did not happen within {PATIENCE:.0f} s: {what}") from None


def total(counter: Counter) -> float:
    """What a counter of this process stands at."""
    return sum(s.value for family in counter.collect() for s in family.samples if s.name.endswith("_total"))


async def ended(task: asyncio.Task[Any]) -> Any:
    """Cancels a task until it is over; its result or exception. Once is not enough: below Python 3.12 `wait_for`,
    and with it the Redis client, may swallow a cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.05)
    return (await asyncio.gather(task, return_exceptions=True))[0]


# Workers.


def quick(redis_url: str, **settings: Any) -> Settings:
    """Settings in which everything happens soon, times in units; those given are in seconds."""
    times = {
        "heartbeat": 0.2,
        "dead_after": 1.0,
        "audit_interval": 0.3,
        "presence_settle": 0.1,
        "redis_timeout": 1.0,
        "reader_block": 0.2,
        "drain_timeout": 4.0,
        "ack_delay": 0.02,
    }
    return Settings(**{"redis_url": redis_url, **{name: value * UNIT for name, value in times.items()}, **settings})


@asynccontextmanager
async def running(settings: Settings, *, may_die: bool = False) -> AsyncIterator[Worker]:
    """A worker that has settled down. Its tasks must all live until the end, unless they `may_die`."""
    worker = Worker(settings, lambda _: None)
    await worker.start()
    try:
        await until(lambda: worker.reader.position and not worker.audit._now.is_set(), "it has settled down")
        yield worker
        assert may_die or not worker.tasks.dead, f"died: {worker.tasks.dead}"
    finally:
        await worker.stop()


def ready(worker: Worker) -> bool:
    return not worker.problems()


# Messages.


def a_message(id: str, to: str | Iterable[str] = "bob", sender: str = "alice", body: Any = "hi") -> Message:
    users = (to,) if isinstance(to, str) else tuple(to)
    return Message(id, sender, users, json.dumps(body).encode(), fingerprint(body), listed=not isinstance(to, str))


def submit(committer: Committer, message: Message, lane: Lane | None = None) -> asyncio.Future[Answer]:
    """Sends a message; what its sender is told."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    committer.submit(message, answer.set_result, lane)
    return answer


async def send(worker: Worker, *messages: Message) -> list[Cursor]:
    """Sends messages to one user each; their cursors."""
    answers = [submit(worker.committer, message) for message in messages]
    return [accepted(answer) for answer in await within(asyncio.gather(*answers), "answers")]


async def store_quietly(worker: Worker, *messages: Message) -> list[Appended]:
    """Appends without telling anybody: every hint is lost."""
    return [results[0] for results in known(await worker.appends.append(messages, own_copy=False))]


def accepted(answer: Answer) -> Cursor:
    """The cursor of a message to one user that was accepted."""
    assert not isinstance(answer, Fault), answer
    cursor = answer[0].cursor
    assert cursor is not None, answer
    return cursor


def code(answer: Answer) -> str:
    """The code of a refusal of the whole message."""
    assert isinstance(answer, Fault), answer
    return answer.code


# The far side of a connection.


class Client:
    """Plays the socket and the device behind it; holds every frame to the protocol. Made by `connect`."""

    def __init__(self, worker: Worker, user: str, device: str, attempt: int = 0, session: str = "") -> None:
        self.worker = worker
        self.user, self.device = user, device
        self.bundles: list[list[bytes]] = []
        self.frames: list[Frame] = []
        self.closes: list[tuple[int, str]] = []
        self.fault: Exception | None = None
        self.gone = False
        self.flooded = False
        self._opening = False
        self.rules = Rules(user, device)
        self.connection = Connection(worker, self, user, device, attempt, session)

    # As the connection sees it.

    def send(self, lines: list[bytes]) -> None:
        self.bundles.append(list(lines))
        for line in lines:
            try:
                assert b"\n" not in line, f"two lines in one: {line!r}"
                frame = json.loads(line)
                self.frames.append(frame)
                self.rules.received(frame, len(line))
            except (AssertionError, ValueError) as broken:
                self.fault = self.fault or broken

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        asyncio.get_running_loop().call_soon(self.hang_up)

    # As the edge does it.

    def hang_up(self) -> None:
        """The socket is gone; while the connection opens, nobody reads it and so nobody is told."""
        if not self.gone:
            self.gone = True
            if not self._opening:
                self.connection.lost()

    # As the device does it.

    async def hello(self, **hello: Any) -> None:
        cursor, window = hello.get("cursor"), hello.get("window")
        self.rules = Rules(self.user, self.device, cursor, window)
        self._opening = True
        try:
            await within(self.connection.open(Hello(type="hello", device=self.device, **hello)), "the opening")
        finally:
            self._opening = False
            if self.gone:
                self.connection.lost()

    async def come(self, count: int) -> list[str]:
        """Waits for so many entries and gaps on this connection; the cursors of all so far."""
        await self.until(lambda: len(self.cursors) >= count, f"{count} entries")
        return self.cursors

    async def next(self, kind: str) -> Frame:
        """The first frame of a type."""
        return await self.until(lambda: next(iter(self.of(kind)), None), kind)

    async def answer(self, id: str) -> Frame:
        """The first answer to a send."""
        answers = ("accepted", "error")
        return await self.until(lambda: next((f for f in self.of(*answers) if f.get("id") == id), None), id)

    async def closed(self) -> int:
        """Waits for the close; its code."""
        await self.until(lambda: bool(self.closes), "the close")
        assert len(self.closes) == 1
        return self.closes[0][0]

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        def fair() -> T | None:
            if self.fault is not None:
                raise self.fault
            return probe()

        return await until(fair, f"{what}, after {[frame['type'] for frame in self.frames]} {self.closes}")

    def say(self, message: Message) -> None:
        """Sends a message over this connection."""
        self.rules.sent({"type": "send", "id": message.id})
        self.connection.sends.submit(message)

    def ack(self, cursor: str | Cursor | None = None) -> None:
        """Acks up to a cursor, by default everything."""
        upto = str(cursor or self.cursors[-1])
        self.rules.sent({"type": "ack", "cursor": upto})
        self.connection.ack(Cursor.parse(upto))

    def of(self, *kinds: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] in kinds]

    @property
    def cursors(self) -> list[str]:
        return [frame["cursor"] for frame in self.of("message", "gap")]

    @property
    def ids(self) -> list[str]:
        return [frame["id"] for frame in self.of("message")]

    @property
    def claim(self) -> Claim:
        return self.connection.claim


async def connect(worker: Worker, user: str = "bob", device: str = "phone", **hello: Any) -> Client:
    """A connection that has been welcomed and is live."""
    client = Client(worker, user, device, hello.get("attempt", 0))
    await client.hello(**hello)
    await client.next("live")
    return client


# Getting between.


@contextmanager
def proxied(server: RedisServer) -> Iterator[RedisProxy]:
    """A way to the server that can be cut."""
    proxy = RedisProxy(server.port, login=server.rights.login if server.rights else "")
    proxy.start()
    yield proxy
    proxy._run(_last_visitors_gone(proxy))
    proxy.stop()


async def _last_visitors_gone(proxy: RedisProxy) -> None:
    """A worker that has just stopped may have left connections half made; asyncio trips over those that it accepts
    while it closes. Every turn of the loop accepts what waits.
    """
    calm = 0
    while calm < 5:
        await proxy._cut()
        await asyncio.sleep(0)
        calm = 0 if len(asyncio.all_tasks()) > 1 else calm + 1


class Trouble:
    """Hooks of one call: `gate` holds it up, `before` and `after` so many times fail it, before or after it ran."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.before = 0
        self.after = 0
        self.calls = 0
        self.landed = 0
        self.failed = 0

    async def enter(self) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.before:
            self.before -= 1
            self._fail()

    def leave(self) -> None:
        if self.after:
            self.after -= 1
            self._fail()

    def _fail(self) -> None:
        self.failed += 1
        raise Unavailable("as the test wants it")


def troubled(target: object, method: str) -> Trouble:
    """Puts hooks around an async method of one object. The real method runs in between."""
    trouble = Trouble()
    real = getattr(target, method)

    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            await trouble.enter()
            result = await real(*args, **kwargs)
            trouble.leave()
            return result
        finally:
            trouble.landed += 1

    setattr(target, method, call)
    return trouble


class RecordedAppends(Appends):
    """Appends that note who asked for what."""

    asked: list[list[str]]

    @classmethod
    def of(cls, appends: Appends) -> "RecordedAppends":
        """Takes the place of another."""
        recorder = cls.__new__(cls)
        recorder.__dict__.update(appends.__dict__)
        recorder.asked = []
        return recorder

    async def append(self, messages: Sequence[Message], own_copy: bool) -> list[Attempt]:
        self.asked.append([message.id for message in messages])
        return await super().append(messages, own_copy)


class Recorder(Inboxes):
    """Inboxes that note who acked what."""

    acks: list[list[tuple[str, str, Cursor]]]

    @classmethod
    def of(cls, inboxes: Inboxes) -> "Recorder":
        """Takes the place of another."""
        recorder = cls.__new__(cls)
        recorder.__dict__.update(inboxes.__dict__)
        recorder.acks = []
        return recorder

    async def ack(self, acks: Sequence[tuple[str, str, Cursor]]) -> list[AckStatus]:
        self.acks.append(list(acks))
        return await super().ack(acks)
