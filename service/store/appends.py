"""Appends: the only way into an inbox. One typed call for `append.lua`."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.cursor import Cursor
from service.core.entries import Fields, Kind, flat
from service.core.errors import Unavailable
from service.core.sending import Appended, AppendStatus, Message
from service.store import scripts
from service.store.client import Clients
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.link import Link, Wait
from service.store.majority import ended
from service.store.push import Reminders

CALL_OPS = 128
"""Appends after which a call is full: a longer one would hold up everybody else's commands."""

Attempt = list[Appended] | Unavailable
"""One try to append a message: a result per recipient; or unknown, it may be in some of their inboxes."""


@dataclass(frozen=True, slots=True)
class Note:
    """An entry that follows from what happened, and that nobody is refused for: a receipt, or what a user has read.
    Left out where the user has no live device, or too much pending. `identity`: `receipt/…` or `read/…`, a derived one,
    so that doing it twice does no harm.
    """

    user: str
    identity: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Numbered:
    """A group's entry for one member. `first`: the first number that is this member's; `fields` say when it expires;
    `ts`: when the group gave the number out (ms; 0: not known).
    """

    user: str
    group: str
    number: int
    first: int
    fields: Fields
    ts: int = 0


class Appends:
    """`wait`: how far an append must get before it counts; None: the answer will do. `least_ms`: what the `ms` of a new
    entry must reach, even where the server's clock is behind. `remind`: what is written before messages are appended,
    so that whoever does not get them is told by push; None: push is not configured.
    """

    def __init__(self, clients: Clients, keys: Keys, limits: Limits) -> None:
        self._write = clients.write
        self._rest = clients.rest
        self._keys = keys
        self._limits = limits
        self.wait: Wait | None = None
        self.least_ms: Callable[[], int] = lambda: 0
        self.remind: Reminders | None = None

    @property
    def copies_apart(self) -> bool:
        """Whether the sender's own copy may lie on another server than the recipients' entries: `copy` appends it."""
        return self._write.many

    async def append(self, messages: Sequence[Message], own_copy: bool) -> list[Attempt]:
        """Appends all of them, each to all its recipients, and the sender's own copy with them.

        One attempt per message: a result per recipient and, with `own_copy` and a sender who is none of them, a last
        one for the copy. Raises Unavailable: any of them may be in.
        """
        ops: list[_Op] = []
        shape: list[int] = []
        for message in messages:
            users = targets(message, own_copy)
            first, further = "xy" if message.kind is Kind.DELETE else "mn"
            for position, user in enumerate(users):
                what = first if position == 0 else further if position < len(message.to) else "o"
                ops.append(_sent(message, user, what, first=position == 0))
            shape.append(len(users))
        rows = await self._append(ops, self._write, self.wait)
        attempts: list[Attempt] = []
        at = 0
        for count in shape:
            attempts.append(_attempt(rows[at : at + count]))
            at += count
        return attempts

    async def copy(self, messages: Sequence[Message]) -> list[Attempt]:
        """Appends the senders' own copies of messages that were accepted: no promise hangs on them, so nothing is
        waited for, and they hold up no appends. Raises Unavailable.
        """
        ops = [_sent(message, message.sender, "c", first=True) for message in messages]
        return [_attempt([row]) for row in await self._append(ops, self._rest, None)]

    async def note(self, notes: Sequence[Note]) -> list[Appended | Unavailable]:
        """Appends receipts and the like. Raises Unavailable: any of them may be in."""
        ops = [_Op(note.user, "c", note.identity, "-", 0, "", note.fields, first=True) for note in notes]
        return [_result(row) for row in await self._append(ops, self._rest, None)]

    async def number(self, entries: Sequence[Numbered]) -> list[Appended | Unavailable]:
        """Appends groups' entries, each at the durability of any message: `DUPLICATE` (without a cursor) what was there
        before, `BEHIND` with the number that must come first, `FULL` what was passed over, `REWOUND` what a group
        gives out again. Raises Unavailable.
        """
        ops = [
            _Op(one.user, "g", one.group, "", 0, f"{one.number} {one.first} {one.ts}", one.fields, first=True)
            for one in entries
        ]
        return [_result(row) for row in await self._append(ops, self._rest, self.wait)]

    async def _append(self, ops: Sequence["_Op"], link: Link, wait: Wait | None) -> list[Any]:
        """One row of `append.lua` for each op, or `Unavailable`."""
        limits = self._limits
        head = (int(limits.dedupe_window * 1000), limits.kept, limits.max_pending, self.least_ms())
        parts = list(_parts(ops, apart=link.many))
        calls = [(scripts.APPEND, *self._said([ops[n] for n in part], head)) for part in parts]
        rows: list[Any] = [None] * len(ops)
        replies, unreminded = await self._reminded(link, calls, wait, ops)
        for part, reply in zip(parts, replies, strict=True):
            said = [reply] * len(part) if isinstance(reply, Unavailable) else reply
            for n, row in zip(part, said, strict=True):
                rows[n] = row
        if unreminded:
            rows = [unreminded.get(op.user, row) for op, row in zip(ops, rows, strict=True)]
        return rows

    def _said(self, ops: Sequence["_Op"], head: Sequence[int]) -> tuple[list[bytes], list[Any]]:
        """KEYS and ARGV of one call."""
        keys: list[bytes] = []
        args: list[Any] = [*head]
        places: dict[bytes, int] = {}
        for op in ops:
            what, fields = op.what, op.fields
            of = self._keys.of(op.user)
            sixth = of.blocks if what in "mn" else of.groups if what == "g" else of.erased
            place = places.get(sixth)
            if place is None:
                place = places[sixth] = len(keys) + 1
                keys += of[:5]
                keys.append(sixth)
            if op.plain:
                _, _, _, id, _, sender, _, to, _, body = fields
                args += (what.upper(), place, op.identity, op.print, id, sender, to, body)
            else:
                args += (what, place, op.identity, op.print, op.expires, op.aside, len(fields))
                args += fields
        return keys, args

    async def _reminded(
        self, link: Link, calls: Sequence[scripts.Call], wait: Wait | None, ops: Sequence["_Op"]
    ) -> tuple[list[Any], dict[str, Unavailable]]:
        """The calls' replies, after the reminders; and whom those did not reach: of what was appended for them nothing
        counts as accepted.
        """
        reminders = self.remind.of({op.user for op in ops if op.wakes}) if self.remind is not None else []
        first = [reminder.call for reminder in reminders]
        if link.many and first:  # they may lie on other servers
            said = await scripts.call_all(link, first)
            replies = await scripts.call_all(link, calls, wait)
        else:
            # Parts of one server hold the same inboxes: a later one must not be in before an earlier one.
            together = await scripts.call_all(link, [*first, *calls], wait, in_order=not link.many and len(calls) > 1)
            said, replies = together[: len(first)], together[len(first) :]
        failed = [(one.users, reply) for one, reply in zip(reminders, said, strict=True)]
        return replies, {user: why for users, why in failed if isinstance(why, Unavailable) for user in users}

    async def ping(self) -> None:
        """Whether appends have a server to go to: the first of many that answers will do. Raises Unavailable."""
        pings = [asyncio.create_task(one.run("PING")) for _, one in await self._write.primaries()]
        unknown = Unavailable("no primary is known")
        try:
            for ping in asyncio.as_completed(pings):
                try:
                    await ping
                except Unavailable as error:
                    unknown = error
                else:
                    return
        finally:
            await ended(pings)
        raise unknown


@dataclass(slots=True)
class _Op:
    """One append into one user's inbox, as `append.lua` takes it. `first`: of its message; `plain`: as it has it."""

    user: str
    what: str
    identity: str
    print: str
    expires: int
    aside: str
    fields: Fields
    first: bool
    plain: bool = False

    @property
    def wakes(self) -> bool:
        """Whether it is somebody else's message."""
        said = flat(self.fields) if self.what in "mng" else {}
        return said.get(b"kind") == b"message" and said.get(b"from") != self.user.encode()


def _sent(message: Message, user: str, what: str, *, first: bool) -> _Op:
    aside = message.erased_in(user) if message.erases else ""
    expires = message.expires_in * 1000
    plain = message.kind is Kind.MESSAGE and message.receipts and not expires
    return _Op(user, what, message.identity, message.print, expires, aside, message.fields(user), first, plain)


def _parts(ops: Sequence[_Op], *, apart: bool) -> Iterator[list[int]]:
    """Which ops share a call: those of one inbox where inboxes lie `apart`, else of whole messages."""
    if apart:
        of_user: dict[str, list[int]] = defaultdict(list)
        for n, op in enumerate(ops):
            of_user[op.user].append(n)
        yield from of_user.values()
        return
    part: list[int] = []
    for n, op in enumerate(ops):
        if op.first and len(part) >= CALL_OPS:
            yield part
            part = []
        part.append(n)
    if part:
        yield part


def _attempt(rows: list[Any]) -> Attempt:
    results = []
    for row in rows:
        if isinstance(row, Unavailable):
            return row
        results.append(_appended(row))
    return results


def _result(row: Any) -> Appended | Unavailable:
    return row if isinstance(row, Unavailable) else _appended(row)


def targets(message: Message, own_copy: bool) -> tuple[str, ...]:
    """Whose inboxes a message goes to: the recipients, then the sender for its own copy, each once."""
    return (*message.to, message.sender) if own_copy and message.sender not in message.to else message.to


APPENDED = AppendStatus.APPENDED
_STATUSES = {int(status): status for status in AppendStatus}


def _presence(parts: list[bytes]) -> tuple[tuple[str, str], ...]:
    rows = map(bytes.decode, parts)
    return tuple(zip(rows, rows, strict=True))


def _appended(row: list[Any]) -> Appended:
    status = _STATUSES[row[0]]
    if status is APPENDED:
        return Appended(status, Cursor.of(row[1]), Cursor.of(row[2]), _presence(row[3]) if row[3] else ())
    if status in (AppendStatus.BEHIND, AppendStatus.REWOUND):
        return Appended(status, number=int(row[1]))
    if status is AppendStatus.DUPLICATE and len(row) > 1:
        return Appended(status, Cursor.of(row[1]))
    return Appended(status)
