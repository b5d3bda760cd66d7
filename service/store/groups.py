"""Groups: giving out their numbers, changing who is a member, and what is known of the fan-outs under way."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from service.core.entries import Kind
from service.core.errors import Unavailable
from service.core.groups import (
    CommitStatus,
    Erasure,
    LogEntry,
    Members,
    Numbering,
    current,
    is_member,
    logged,
    stays_of,
    target_of,
)
from service.core.sending import Message, sent_fields
from service.store import scripts
from service.store.client import Clients
from service.store.keys import FANOUT_PARTS, Keys
from service.store.limits import Limits
from service.store.link import Command, Wait, unavailable, unwrapped
from service.store.marks import Mark

log = logging.getLogger("inboxd.groups")

MOST_OPEN = 1000
"""Fan-outs of one group that may be under way; beyond, it takes nothing more: some member's server is away."""
LOG_PAGE, LOG_BYTES = 128, 1 << 20
"""Entries of a log read at a time, and bytes of them, give or take a few entries."""
LOG_LOOK = 16
"""Entries that are read before it is known how large they are."""
ERASE_INBOXES, ERASE_LOOKS, ERASE_BYTES = 16, 2_000, 1 << 20
"""Inboxes that are looked through at a time for a message that was deleted, and entries and bytes of bodies that all of
them may cost then: one call must not hold up everybody else's commands.
"""
CLOCKS_APART = 10_000
"""ms by which the clocks of two servers may differ without a deleted entry being missed: of a Cluster, or one that has
taken the other's place.
"""
INDEX_PAGE = 500
"""Rows of the index read at a time; one that moves meanwhile is seen the next time."""
AT_ONCE = 200
"""Groups or members asked for in one pipeline."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of several sends. `members`: None where the caller knows them, by `changed`."""

    results: list[Numbering]
    changed: str
    members: Members | None


class ChangeStatus(IntEnum):
    """What `group_change.lua` says."""

    DONE = 1
    NO_SUCH_GROUP = 2
    FORBIDDEN = 3
    FULL = 4
    BUSY = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants of a group. `what`: `put`, `join`, `leave`, `delete`; `any_group`: may change all of them."""

    group: str
    by: str
    what: str
    users: tuple[str, ...] = ()
    name: str | None = None
    any_group: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of it. `first` to `last`: its entries, which are to be fanned out; `open`: fan-outs under way."""

    status: ChangeStatus
    created: bool = False
    first: int = 1
    last: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group as it stands. `members`: the longest-standing first."""

    group: str
    name: str | None
    owner: str
    created_at: int
    last: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group, of which only the number of members is known."""

    group: str
    name: str | None
    owner: str
    members: int


class Groups:
    """`wait`: how far a commit must get where the members' servers do not see to it; `least_ms` as of `Appends`."""

    def __init__(self, clients: Clients, keys: Keys, limits: Limits, most_members: int) -> None:
        self._rest = clients.rest
        self._keys = keys
        self._limits = limits
        self._most = most_members
        self.wait: Wait | None = None
        self.least_ms: Callable[[], int] = lambda: 0

    # The index.

    async def announce(self, group: str, until_ms: int) -> None:
        """Something may be committed in this group until then, by the server's clock. Raises Unavailable."""
        await self._rest.run("ZADD", self._keys.fanout_of(group), "GT", until_ms, group)

    async def announced(self, part: int) -> list[tuple[str, int]]:
        """A part of the index: group, until when (ms). Raises Unavailable."""
        found: dict[str, int] = {}
        at = 0
        while True:
            limit = ("LIMIT", at, INDEX_PAGE)
            rows = await self._rest.run("ZRANGEBYSCORE", self._keys.fanout(part), "-inf", "+inf", "WITHSCORES", *limit)
            found.update({group.decode(): int(float(until)) for group, until in _pairs(rows).items()})
            at += INDEX_PAGE
            if len(rows) < 2 * INDEX_PAGE:
                return list(found.items())

    async def forget(self, group: str, until_ms: int) -> None:
        """Nothing is open in a group whose announcement, as it was seen, is over. Raises Unavailable."""
        await scripts.call(self._rest, scripts.GROUP_FORGET, (self._keys.fanout_of(group),), (group, until_ms))

    # Giving out numbers.

    async def commit(self, group: str, messages: Sequence[Message], known: str, deadline_ms: int) -> Committed:
        """Numbers for all of them, in their order. `known`: the membership the caller knows. Raises Unavailable: any of
        them may be committed.
        """
        of = self._keys.group(group)
        args: list[Any] = [deadline_ms, self._window, self.least_ms(), MOST_OPEN, known]
        for message in messages:
            fields = sent_fields(message, ["group", group, "seq", ""])
            erase = 1 if message.kind is Kind.DELETE else 0
            expires = message.expires_in * 1000
            args += (message.identity, message.print, message.sender, expires, target_of(message), erase)
            args += (len(fields), *fields)
        reply = await self._call((scripts.GROUP_COMMIT, tuple(of), args))
        if reply[0] < 0:
            raise Unavailable("the commit came too late")
        changed = reply[1].decode()
        members = None if changed == known else _members(_pairs(reply[2]))
        return Committed([_numbering(row) for row in reply[3:]], changed, members)

    async def change(self, change: Change, deadline_ms: int) -> Changed:
        """Raises Unavailable: it may be done."""
        of = self._keys.group(change.group)
        args = (
            deadline_ms,
            self._window,
            self.least_ms(),
            MOST_OPEN,
            self._most,
            change.group,
            change.by,
            int(change.any_group),
            change.what,
            int(change.name is not None),
            change.name or "",
            *change.users,
        )
        reply = await self._call((scripts.GROUP_CHANGE, tuple(of[:4]), args))
        if reply[0] < 0:
            raise Unavailable("the change came too late")
        if reply[0] != ChangeStatus.DONE:
            return Changed(ChangeStatus(reply[0]))
        return Changed(ChangeStatus.DONE, reply[1] == 1, int(reply[2]), int(reply[3]), int(reply[4]))

    @property
    def _window(self) -> int:
        return int(self._limits.dedupe_window * 1000)

    async def _call(self, call: scripts.Call) -> Any:
        """On one server the appends that follow wait for this write, too."""
        wait = self.wait if self._rest.many else None
        (reply,) = unwrapped(await scripts.call_all(self._rest, [call], wait))
        return reply

    # Fan-outs.

    async def open(self, group: str) -> dict[int, int]:
        """The fan-outs that are not ended: number → since when (ms). Raises Unavailable."""
        rows = await self._rest.run("HGETALL", self._keys.group(group).fanout)
        return {int(number): int(at) for number, at in rows.items()}

    async def opens(self, groups: Sequence[str]) -> list[int | Unavailable | None]:
        """Of each group, since when (ms) its oldest open fan-out is under way; Unavailable where its server is away.
        Raises Unavailable.
        """
        found: list[int | Unavailable | None] = []
        for at in range(0, len(groups), AT_ONCE):
            part = [("HGETALL", self._keys.group(group).fanout) for group in groups[at : at + AT_ONCE]]
            for reply in await self._rest.exchange(part):
                failed = isinstance(reply, Exception)
                found.append(unavailable(reply) if failed else min(map(int, reply[1::2]), default=None))
        return found

    async def log(self, group: str, low: int, high: int) -> list[LogEntry]:
        """What the log has of these numbers, in order: none left out, but not all of them. Nothing: there are no more.
        Raises Unavailable.
        """
        log = self._keys.group(group).log
        found: list[LogEntry] = []
        size, count = 0, min(LOG_LOOK, LOG_PAGE)
        while count > 0 and low <= high:
            rows = await self._rest.run("XRANGE", log, f"{low}-0", f"{high}-0", "COUNT", count)
            page = [logged(int(id.partition(b"-")[0]), fields) for id, fields in rows]
            found += page
            size += sum(entry.size for entry in page)
            if len(page) < count:
                break
            low = page[-1].number + 1
            count = min(LOG_PAGE - len(found), (LOG_BYTES - size) * len(found) // max(size, 1))
        return found

    async def members(self, group: str) -> tuple[str, Members]:
        """The present membership by its name, and everybody's stays. Raises Unavailable."""
        of = self._keys.group(group)
        changed, rows = unwrapped(await self._rest.pipeline([("HGET", of.group, "changed"), ("HGETALL", of.members)]))
        return (changed or b"").decode(), _members(rows)

    async def done(self, group: str, numbers: Sequence[int]) -> None:
        """These are in the inboxes of all that were members. Raises Unavailable."""
        of = self._keys.group(group)
        await scripts.call(self._rest, scripts.GROUP_DONE, tuple(of[:4]), (self._limits.history, *numbers))

    async def renumber(self, group: str, entries: Sequence[LogEntry], highest: int) -> None:
        """Gives these entries, where their fan-outs are open, new numbers above `highest`. Raises Unavailable."""
        args = (group, highest, *(part for entry in entries for part in (entry.number, entry.ts)))
        await self._call((scripts.GROUP_RENUMBER, tuple(self._keys.group(group)), args))

    async def erase(self, group: str, users: Sequence[str], erases: Erasure, id: str, sender: str) -> dict[str, int]:
        """Takes a message that was deleted out of these inboxes, where it is still there. It may
        come yet into those that are returned: user → the number which that one gets next. Raises Unavailable.
        """
        behind: dict[str, int] = {}
        waiting = [(user, str(max(0, erases.ts - CLOCKS_APART))) for user in users]
        while waiting:
            part, waiting = waiting[:ERASE_INBOXES], waiting[ERASE_INBOXES:]
            again = []
            for (user, _), (status, *more) in zip(
                part, await self._erase(group, part, erases, id, sender), strict=True
            ):
                if status == _AGAIN:
                    again.append((user, more[0].decode()))
                elif status == _BEHIND:
                    behind[user] = int(more[0])
                elif status == _FAILED:
                    log.error("the inbox of %s cannot be read: what a group has deleted stays there", user)
            waiting = again + waiting
        return behind

    async def _erase(
        self, group: str, part: Sequence[tuple[str, str]], erases: Erasure, id: str, sender: str
    ) -> list[Any]:
        """What `group_erase.lua` says of each of these inboxes, from where they are to be looked at."""
        keys = []
        for user, _ in part:
            of = self._keys.of(user)
            keys.append((of.state, of.inbox, of.erased, of.groups))
        places = [[n] for n in range(len(part))] if self._rest.many else [list(range(len(part)))]
        # One connection's calls run one behind the other, too.
        looks, size = ERASE_LOOKS // len(places), ERASE_BYTES // len(places)
        head = (group, erases.number, id, sender, looks, size, self._limits.kept)
        calls: list[scripts.Call] = [
            (scripts.GROUP_ERASE, [key for n in place for key in keys[n]], (*head, *(part[n][1] for n in place)))
            for place in places
        ]
        return [row for reply in unwrapped(await scripts.call_all(self._rest, calls)) for row in reply]

    # Asking.

    async def view(self, group: str) -> GroupView | None:
        """None: there is none of this name. Raises Unavailable."""
        of = self._keys.group(group)
        raw, rows = unwrapped(await self._rest.pipeline([("HGETALL", of.group), ("HGETALL", of.members)]))
        about = {name.decode(): value.decode() for name, value in raw.items()}
        if "owner" not in about:
            return None
        members = current(_members(rows))
        created_at, last = int(about["created_at"]), int(about["last"])
        return GroupView(group, about.get("name"), about["owner"], created_at, last, members)

    async def members_of(self, group: str) -> tuple[str, ...]:
        """Those who are members now; () where there is no such group. Raises Unavailable."""
        return current((await self.members(group))[1])

    async def is_member(self, group: str, user: str) -> bool:
        """Raises Unavailable."""
        row = await self._rest.run("HGET", self._keys.group(group).members, user)
        return row is not None and is_member(stays_of(row.decode()))

    async def of_user(self, user: str) -> list[GroupRow]:
        """The groups this user is a member of, by name. Raises Unavailable."""
        met = await self._rest.run("HGETALL", self._keys.of(user).groups)
        names = sorted(name.decode() for name in met if b"/" not in name)
        found: list[GroupRow] = []
        for at in range(0, len(names), AT_ONCE):
            part = names[at : at + AT_ONCE]
            commands: list[Command] = []
            for name in part:
                of = self._keys.group(name)
                commands += [("HMGET", of.group, "name", "owner", "count"), ("HGET", of.members, user)]
            replies = unwrapped(await self._rest.pipeline(commands))
            for group, (name, owner, count), row in zip(part, replies[::2], replies[1::2], strict=True):
                if owner and row and is_member(stays_of(row.decode())):
                    found.append(GroupRow(group, name.decode() if name else None, owner.decode(), int(count)))
        return found

    async def marks(self, group: str, users: Sequence[str]) -> list[tuple[Mark | None, Mark | None]]:
        """How far each of them has got what was sent to the group, and how far read. Raises Unavailable."""
        found = []
        for at in range(0, len(users), AT_ONCE):
            part = [
                ("HMGET", self._keys.marks(user), f"delivered/group/{group}", f"read/group/{group}")
                for user in users[at : at + AT_ONCE]
            ]
            for delivered, read in unwrapped(await self._rest.pipeline(part)):
                found.append((Mark.of(delivered), Mark.of(read)))
        return found

    async def blocked(self, by: str, users: Sequence[str]) -> list[str]:
        """Those of `users` who have blocked `by`. Raises Unavailable."""
        found: list[str] = []
        for at in range(0, len(users), AT_ONCE):
            part = users[at : at + AT_ONCE]
            replies = await self._rest.pipeline([("SISMEMBER", self._keys.of(user).blocks, by) for user in part])
            found += [user for user, blocks in zip(part, unwrapped(replies), strict=True) if blocks]
        return found


_AGAIN, _BEHIND, _FAILED = 2, 3, 6  # what `group_erase.lua` says of an inbox

PARTS = range(FANOUT_PARTS)
"""Of the index."""


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _members(rows: dict[bytes, bytes]) -> Members:
    return {user.decode(): stays_of(row.decode()) for user, row in rows.items()}


def _numbering(row: Sequence[Any]) -> Numbering:
    status = CommitStatus(row[0])
    if status not in (CommitStatus.COMMITTED, CommitStatus.DUPLICATE):
        return Numbering(status)
    number, ts, members, more, erased, erased_ts = (int(part) for part in row[1:])
    erases = Erasure(erased, erased_ts) if erased else None
    if status is CommitStatus.DUPLICATE:
        return Numbering(status, number, ts, members, open=bool(more), erases=erases)
    return Numbering(status, number, ts, members, expires=more, erases=erases)
