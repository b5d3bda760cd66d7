"""Presence: which worker holds which device, and which workers live."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.core.cursor import START, Cursor
from service.core.errors import ClientError, Unavailable
from service.store import scripts
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.link import Link, unwrapped
from service.store.worker_stream import pulse

SCAN_COUNT = 500
NO_DEADLINE = 2**53
TOO_MANY = -2
ENDED_LIFE = 60
"""Seconds in which a stream that was ended may not come back."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A device's connection: the presence row `worker/session/attempt`. `attempt` 0: the device keeps none."""

    user: str
    device: str
    worker: str
    session: str
    attempt: int = 0

    @property
    def row(self) -> str:
        return f"{self.worker}/{self.session}/{self.attempt}"

    @property
    def stream(self) -> str:
        """What a stream of `/v1/events` calls itself: it stands behind its session's name. "" where there is none."""
        return self.session.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Claimed:
    """`stored`: the device's cursor; `last`: the newest of the inbox; `held`: the row this one replaced, or "";
    `owes`: whether receipts may be due for what was acked.
    """

    stored: Cursor
    last: Cursor
    held: str
    owes: bool = field(default=False, compare=False)


Changed = Callable[[str, bool, Sequence[str]], None]
"""(user, online, workers that watch it): the user has just come or gone."""
Left = Callable[[str], Awaitable[None]]
"""This user is connected nowhere any more and has not acked everything. Raises Unavailable: it is called again then."""


class Presence:
    """Claims of devices and heartbeats of workers. `changed` is told what a claim or release from here has changed."""

    def __init__(self, client: Link, keys: Keys, limits: Limits) -> None:
        self._client = client
        self._keys = keys
        self._limits = limits
        self.changed: Changed = lambda *_: None
        self.left: Left | None = None

    async def claim(self, claim: Claim, *, again: bool = False, deadline_ms: int = NO_DEADLINE) -> Claimed | None:
        """This device is connected here. None: a newer connection of it holds the claim.

        `deadline_ms`, by the server's clock: a claim that lay in a paused server's buffer longer must not throw out
        its successor. `again`: only takes back what is free or already its own. Raises Unavailable: it may be in;
        ClientError `too_many_devices`.
        """
        member = f"{claim.user}/{claim.device}/{claim.session}"
        enlist: scripts.Call = (scripts.ENLIST, (self._keys.claims(claim.worker),), (member,))
        claiming = self._claim(claim, "again" if again else "new", deadline_ms)
        if self._client.many:  # the worker's set may lie elsewhere, and must name the claim first
            await scripts.call(self._client, *enlist)
            row = await scripts.call(self._client, *claiming)
        else:  # in one go: whoever claims first must not be overtaken while it waits for the first of two answers
            _, row = unwrapped(await scripts.call_all(self._client, (enlist, claiming)))
        claimed = _claimed(row)
        if claimed is not None and (rows := row[6]):
            self.changed(claim.user, True, _watching(rows))
        return claimed

    async def register(self, user: str, device: str) -> Claimed:
        """Makes a device known without a connection, so that entries are held for it. Raises Unavailable, ClientError
        `too_many_devices`.
        """
        script, keys, args = self._claim(Claim(user, device, "", ""), "register", NO_DEADLINE)
        claimed = _claimed(await scripts.call(self._client, script, keys, args))
        assert claimed is not None  # registering is never refused
        return claimed

    def _claim(self, claim: Claim, mode: str, deadline_ms: int) -> scripts.Call:
        of, limits = self._keys.of(claim.user), self._limits
        return (
            scripts.CLAIM,
            (of.state, of.inbox, of.cursors, of.devices, of.presence, of.watchers, of.erased),
            (
                claim.device,
                claim.worker,
                claim.session,
                claim.attempt,
                mode,
                int(limits.device_expiry * 1000),
                limits.max_pending,
                limits.kept,
                deadline_ms,
                limits.devices,
            ),
        )

    async def lingers(self, claim: Claim) -> bool:
        """Whether a replaced claim's worker has yet to give it back. Raises Unavailable."""
        member = f"{claim.user}/{claim.device}/{claim.session}"
        return bool(await self._client.run("SISMEMBER", self._keys.claims(claim.worker), member))

    async def stored(self, user: str, device: str) -> Cursor | None:
        """The device's cursor. Raises Unavailable."""
        raw = await self._client.run("HGET", self._keys.of(user).cursors, device)
        return Cursor.of(raw) if raw else None

    async def end_stream(self, claim: Claim, why: str) -> None:
        """This stream shall not come back by itself. Raises Unavailable."""
        key = self._keys.ended(claim.user, claim.device, claim.stream)
        await self._client.run("SET", key, why, "EX", ENDED_LIFE)

    async def stream_ended(self, claim: Claim) -> bool:
        """Whether this stream was ended a moment ago. Raises Unavailable."""
        key = self._keys.ended(claim.user, claim.device, claim.stream)
        return bool(claim.stream) and bool(await self._client.run("EXISTS", key))

    async def release(self, claim: Claim) -> bool:
        """Takes the claim back if it is still this one. Raises Unavailable."""
        released = await self.release_row(claim.user, claim.device, f"{claim.worker}/{claim.session}/")
        member = f"{claim.user}/{claim.device}/{claim.session}"
        await self._client.run("SREM", self._keys.claims(claim.worker), member)
        return released

    async def release_row(self, user: str, device: str, row: str) -> bool:
        """As `release`, for a claim known only by its presence row (or the start of it). Raises Unavailable."""
        of = self._keys.of(user)
        released, waits, rows = await scripts.call(
            self._client, scripts.RELEASE, (of.state, of.presence, of.devices, of.watchers), (device, row)
        )
        if rows:
            self.changed(user, False, _watching(rows))
        if waits and self.left is not None:
            await self.left(user)
        return bool(released)

    # Workers.

    async def enter(self, worker: str) -> bool:
        """A new identity. False: it was taken before. Raises Unavailable."""
        return bool(await self._client.run("HSETNX", self._keys.workers(), worker, 0))

    async def beat(self, worker: str) -> bool:
        """This worker lives. False: it was called dead, or is forgotten, and must take a new identity."""
        return int(await scripts.call(self._client, scripts.BEAT, (self._keys.workers(),), (worker,))) > 0

    async def pulse(self, worker: str, about: dict[str, str | int], canary: int) -> tuple[int, str]:
        """Writes who the worker is, keeps its keys alive and puts a canary into its stream. The server's clock in
        ms, and the stream's newest id. Raises Unavailable.
        """
        return await pulse(self._client, self._keys, worker, about, canary)

    async def counters(self) -> dict[str, str]:
        """Worker → heartbeat counter, or `dead`. Raises Unavailable."""
        rows = await self._client.run("HGETALL", self._keys.workers())
        return {worker.decode(): counter.decode() for worker, counter in rows.items()}

    async def reap(self, worker: str, counter: str) -> bool:
        """Calls it dead for ever if its counter still stands there; True when it is dead now. Raises Unavailable."""
        return int(await scripts.call(self._client, scripts.REAP, (self._keys.workers(),), (worker, counter))) > 0

    async def claims_of(self, worker: str) -> list[tuple[str, str, str]]:
        """(user, device, session) of some claims that name this worker; [] when none is left. Raises Unavailable."""
        members = await self._client.run("SRANDMEMBER", self._keys.claims(worker), SCAN_COUNT)
        found = []
        for member in members:
            user, device, session = member.decode().split("/")
            found.append((user, device, session))
        return found

    async def noted(self, worker: str) -> set[tuple[str, str, str]]:
        """(user, device, session) of all claims that name this worker. Raises Unavailable."""
        found: set[tuple[str, str, str]] = set()
        position: Any = None
        while position != 0:
            command = ("SSCAN", self._keys.claims(worker), position or 0, "COUNT", SCAN_COUNT)
            position, members = await self._client.run(*command)
            position = int(position)
            for member in members:
                user, device, session = member.decode().split("/")
                found.add((user, device, session))
        return found

    async def forget(self, worker: str) -> None:
        """Deletes what is left of a dead worker, except that it is dead. Raises Unavailable."""
        keys = self._keys
        for key in (keys.claims(worker), keys.worker(worker), keys.about(worker)):
            await self._client.run("UNLINK", key)

    async def sweep(self, worker: str) -> None:
        """Forgets that it was dead: a worker whose row is gone takes a new identity just the same."""
        await self._client.run("HDEL", self._keys.workers(), worker)


def _watching(rows: list[bytes]) -> list[str]:
    """Some may have stopped; they ignore it, or are gone."""
    return [worker.decode() for worker in rows[::2]]


def _claimed(row: list[Any]) -> Claimed | None:
    """What `claim.lua` answered; None: refused. Raises ClientError `too_many_devices`."""
    if row[0] == TOO_MANY:
        raise ClientError("too_many_devices", "as many devices are known as a user may have, and this is none of them")
    if row[0] < 0:
        raise Unavailable("the claim came too late")
    if row[0] == 0:
        return None
    return Claimed(Cursor.of(row[1]), Cursor.of(row[2] or START.raw()), row[3].decode(), row[5] == 1)
