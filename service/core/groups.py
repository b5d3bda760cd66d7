"""Groups: who was a member when, which numbers a member is owed, and what a sender is told. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from service.core.entries import Fields, Kind
from service.core.errors import Fault
from service.core.sending import Message, Outcome

_STAY = re.compile(r"(\d+)-(?:(\d+)/(\d+))?")


@dataclass(frozen=True, slots=True)
class Stay:
    """A time as a member: of the numbers above `joined`, up to and including `left` (None: still there). `at`: when it
    left (ms).
    """

    joined: int
    left: int | None = None
    at: int = 0


Stays = tuple[Stay, ...]
Members = Mapping[str, Stays]
"""user → its stays, the oldest first; those who left are named for as long as something may still be owed to them."""


def stays_of(row: str) -> Stays:
    """`<joined>-<left>/<at>` each, the last without what is behind the dash while it lasts. Raises ValueError."""
    found = []
    for part in row.split(" "):
        if (match := _STAY.fullmatch(part)) is None:
            raise ValueError(f"not a stay: {part!r}")
        joined, left, at = match.groups()
        found.append(Stay(int(joined), int(left) if left else None, int(at or 0)))
    return tuple(found)


def gets(stays: Stays, number: int) -> bool:
    """Whether a number is for whoever stayed so."""
    return any(stay.joined < number and (stay.left is None or number <= stay.left) for stay in stays)


def is_member(stays: Stays) -> bool:
    """Whether the last stay goes on."""
    return bool(stays) and stays[-1].left is None


def first_of(stays: Stays) -> int:
    """The lowest number that may still be owed."""
    return stays[0].joined + 1


def last_of(stays: Stays, before: int) -> int:
    """The highest number below `before` that is owed; 0 for none."""
    low = [stay for stay in stays if stay.joined < before - 1]
    return max((before - 1 if stay.left is None else min(stay.left, before - 1) for stay in low), default=0)


def current(members: Members) -> tuple[str, ...]:
    """Those who are members now, the longest-standing first."""
    there = [(stays[-1].joined, user) for user, stays in members.items() if is_member(stays)]
    return tuple(user for _, user in sorted(there))


def run_of(stays: Stays, expected: int, there: Iterable[int]) -> list[int]:
    """What is to be appended next for a member that has everything below `expected`: of the numbers that are `there`
    (in order) its own, up to the first hole. What lies in front of them is not its own, or gone for good.
    """
    run: list[int] = []
    for number in there:
        if number < expected or not gets(stays, number):
            continue
        if run and number != run[-1] + 1:
            break
        run.append(number)
    return run


@dataclass(frozen=True, slots=True)
class Erasure:
    """The message that a deletion takes out of the inboxes: its number in the group, and when it was accepted (ms)."""

    number: int
    ts: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A numbered entry of a group. `fields`: as every member's inbox gets them; `ts`: when it got its number (ms)."""

    number: int
    fields: Fields
    erases: Erasure | None = None
    ts: int = 0

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.fields)


def logged(number: int, rows: Mapping[bytes, bytes]) -> LogEntry:
    """What the log holds under a number."""
    fields: Fields = []
    erases, ts = None, 0
    for name, value in rows.items():
        if name == b"erases":
            erased, since = value.split(b" ")
            erases = Erasure(int(erased), int(since))
        elif name == b"ts":
            ts = int(value)
        else:
            fields += [name, value]
    return LogEntry(number, fields, erases, ts)


class CommitStatus(IntEnum):
    """What `group_commit.lua` says of one op."""

    COMMITTED = 1
    DUPLICATE = 2
    REUSED = 3
    NO_SUCH_GROUP = 4
    BUSY = 5
    NO_SUCH_MESSAGE = 6
    FAILED = 7


@dataclass(frozen=True, slots=True)
class Numbering:
    """What became of one send in its group. `ts`: of the first time (ms); `members`: how many it went to then; `open`:
    it may not be in all their inboxes yet; `erases`: of a deletion.
    """

    status: CommitStatus
    number: int = 0
    ts: int = 0
    members: int = 0
    open: bool = False
    expires: int = 0
    erases: Erasure | None = None


@dataclass(frozen=True, slots=True)
class GroupResult:
    """A send that is in the inboxes of all members, but for `refused` of them, which were full."""

    number: int
    ts: int
    members: int
    refused: int
    duplicate: bool


REFUSALS = {
    CommitStatus.REUSED: Fault("id_reused", "this id was used in this group for another body", "id"),
    CommitStatus.NO_SUCH_GROUP: Fault("no_such_group", "no group of this name has the sender as a member", "group"),
    CommitStatus.NO_SUCH_MESSAGE: Fault("no_such_message", "the group knows no such message (any more)", "target"),
    CommitStatus.FAILED: Fault("internal", "this group cannot be written to"),
}


def group_outcome(message: Message, group: str, result: GroupResult | Fault, durability: str) -> Outcome:
    """What its sender is told: as `outcome`, with `group`, `seq` and `members` in place of `recipients`."""
    if isinstance(result, Fault):
        return Outcome(result.status, {}, result)
    content: dict[str, Any] = {
        "id": message.id,
        "from": message.sender,
        "ts": result.ts,
        "duplicate": result.duplicate,
        "durability": durability,
        "group": group,
        "seq": result.number,
        "members": result.members,
    }
    if result.refused:
        content["refused"] = result.refused
    return Outcome(200 if result.duplicate else 202, content)


def target_of(message: Message) -> str:
    """The identity of the message that something sent is about; "" for none."""
    return f"{Kind.MESSAGE[0]}/{message.target_from}/{message.target}" if message.target else ""


class Event:
    """Names of membership events, as entries of kind `group` have them."""

    CREATED = "created"
    JOINED = "joined"
    LEFT = "left"
    RENAMED = "renamed"
    DELETED = "deleted"


MOST_LOOKED = 4096
"""Pairs of a member and an entry that are looked at for one part: some ms."""


def chunked(entries: Sequence[LogEntry], users: Sequence[str], members: Members, most: int, most_bytes: int
            ) -> "Iterator[list[tuple[str, LogEntry]]]":  # fmt: skip
    """Who gets what, in parts of at most so many appends and, give or take one, so many bytes. Each user's entries
    stand in their order. A part is smaller, or empty, where looking for more would take long.
    """
    part: list[tuple[str, LogEntry]] = []
    size = looked = 0
    for user in users:
        for entry in entries:
            if len(part) >= most or size >= most_bytes or looked >= MOST_LOOKED:
                yield part
                part, size, looked = [], 0, 0
            looked += 1
            if gets(members[user], entry.number):
                part.append((user, entry))
                size += entry.size
    if part:
        yield part
