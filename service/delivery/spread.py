"""The spread: a group's numbered entries into the inboxes of all that were members, each member's in order.

Anybody may do it, twice and at once: a member takes only its next number. Who is behind gets what it lacks from the
log.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.core.entries import Fields
from service.core.errors import Unavailable
from service.core.groups import LogEntry, Members, chunked, first_of, gets, last_of, run_of
from service.core.sending import Appended, AppendStatus
from service.store.appends import CALL_OPS, Appends, Numbered
from service.store.groups import Groups
from service.telemetry import GROUP_BEHIND, GROUP_REFUSED

log = logging.getLogger("inboxd.spread")

PART_BYTES = 1 << 20
"""Of bodies in one call, give or take one entry."""

Tell = Callable[[Fields, Sequence[tuple[str, Appended]]], None]
"""An entry, and the inboxes it has just come into."""


@dataclass(slots=True)
class Given:
    """What became of entries: number → members that did not take it (full); numbers of which somebody's copy is not
    known to be in; `away`: members whose server did not answer, and is not asked again; `rewound`: numbers that some
    member has had from a history that the group has lost, `had` the highest of those.
    """

    refused: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    unknown: set[int] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    rewound: set[int] = field(default_factory=set)
    had: int = 0


class Spread:
    """`tell` hears of everything that was appended."""

    def __init__(self, groups: Groups, appends: Appends, tell: Tell) -> None:
        self._groups = groups
        self._appends = appends
        self._tell = tell

    async def give(
        self, group: str, members: Members, entries: Sequence[LogEntry], given: Given | None = None
    ) -> Given:
        """Entries in the order of their numbers. Never raises Unavailable: it says what is not known. `given`: what is
        known from before; it is added to.
        """
        given = Given() if given is None else given
        users = sorted(members)
        for some in (entries[:1], entries[1:]):  # one each at first: who does not answer is found in few calls
            for part in chunked(some, users, members, CALL_OPS, PART_BYTES):
                if part:
                    await self._part(group, members, part, given)
                await asyncio.sleep(0)  # others are served, too, though it is long until the next part
            if rewound := [n for n, entry in enumerate(entries) if entry.number in given.rewound]:
                await self._renumber(group, entries[rewound[0] :], given)
                break
        for entry in entries:
            if entry.erases is not None:
                await self._erase(group, members, entry, given)
        return given

    async def _renumber(self, group: str, again: Sequence[LogEntry], given: Given) -> None:
        """The group has lost its tail: these go on above what its members have had, for whoever ends their fan-outs."""
        given.unknown.update(entry.number for entry in again)
        highest = max(given.had, again[-1].number)
        log.warning("a group has lost numbers that its members have had: it goes on above %d", highest)
        try:
            await self._groups.renumber(group, again, highest)
        except Unavailable as error:
            log.info("its entries have no new numbers yet: %s", error.why)

    async def logged(self, group: str, members: Members, numbers: Sequence[int], given: Given | None = None) -> Given:
        """As `give`, for numbers that are open, as the log has them. What is not there any more was deleted."""
        given = Given() if given is None else given
        wanted, low = set(numbers), min(numbers, default=1)
        while wanted:
            try:
                page = await self._groups.log(group, low, max(wanted))
            except Unavailable:
                given.unknown |= {number for number in wanted if number >= low}
                break
            await self.give(group, members, [entry for entry in page if entry.number in wanted], given)
            if not page or page[-1].number >= max(wanted):
                break
            low = page[-1].number + 1
        return given

    async def _part(self, group: str, members: Members, part: Sequence[tuple[str, LogEntry]], given: Given) -> None:
        ops = [
            Numbered(user, group, entry.number, first_of(members[user]), entry.fields, entry.ts) for user, entry in part
        ]
        owed: dict[str, list[int]] = defaultdict(list)
        for op in ops:
            owed[op.user].append(op.number)
        behind: dict[str, int] = {}
        for op, result in zip(ops, await self._number(ops, given.away), strict=True):
            if isinstance(result, Unavailable):
                given.unknown.add(op.number)
            elif result.status is AppendStatus.BEHIND:
                behind.setdefault(op.user, result.number)
            elif result.status is AppendStatus.REWOUND:
                given.rewound.add(op.number)
                given.had = max(given.had, result.number)
            elif result.status not in _IN:
                self._refused(given, op, result)
        if behind:
            GROUP_BEHIND.inc(len(behind))
            await self._catch_up(group, members, behind, owed, given)

    async def _catch_up(
        self, group: str, members: Members, behind: dict[str, int], owed: dict[str, list[int]], given: Given
    ) -> None:
        """Members that lack something: it comes from the log, up to what they are owed. `behind`: user → the first."""
        while behind:
            high = max(owed[user][-1] for user in behind)
            try:
                page = await self._groups.log(group, min(behind.values()), high)
            except Unavailable:
                break
            top = page[-1].number if page else high
            entries = {entry.number: entry for entry in page}
            ops: list[Numbered] = []
            ahead: dict[str, int] = {}
            for user, expected in behind.items():
                # What lies in front of a run is no business of this member, or was deleted: it is passed over.
                run = [n for n in run_of(members[user], expected, entries) if n <= owed[user][-1]]
                ops += (Numbered(user, group, n, run[0], entries[n].fields, entries[n].ts) for n in run)
                ahead[user] = run[-1] + 1 if run else max(expected, top + 1)
            behind = await self._round(ops, ahead, owed, given)
        for user in behind:
            given.unknown.update(owed[user])

    async def _round(
        self, ops: Sequence[Numbered], ahead: dict[str, int], owed: dict[str, list[int]], given: Given
    ) -> dict[str, int]:
        """Who lacks something still, and from which number on. `ahead`: where each stands if all goes well."""
        for op, result in zip(ops, await self._number(ops, given.away), strict=True):
            if op.user not in ahead:
                continue
            if isinstance(result, Unavailable) or result.status in (AppendStatus.BEHIND, AppendStatus.REWOUND):
                given.unknown.update(owed[op.user])  # behind what it had before: its inbox was lost
                del ahead[op.user]
            elif result.status not in _IN:
                self._refused(given, op, result)
                if result.status is AppendStatus.FAILED:
                    for number in owed[op.user]:
                        given.refused[number].add(op.user)
                    del ahead[op.user]
        return {user: number for user, number in ahead.items() if number <= owed[user][-1]}

    async def _number(self, ops: Sequence[Numbered], away: set[str]) -> list[Appended | Unavailable]:
        """Part by part: to heal many members of much would else fill the memory."""
        results: list[Appended | Unavailable] = []
        part: list[Numbered] = []
        size = 0
        for op in ops:
            part.append(op)
            size += sum(len(value) for value in op.fields)
            if len(part) >= CALL_OPS or size >= PART_BYTES:
                results += await self._number_part(part, away)
                part, size = [], 0
        results += await self._number_part(part, away)
        return results

    async def _number_part(self, part: Sequence[Numbered], away: set[str]) -> Sequence[Appended | Unavailable]:
        """A server that does not answer costs a time-out: once for each of its members, else it holds up all others."""
        skipped = set(away)
        ops = [op for op in part if op.user not in skipped]
        try:
            results = await self._appends.number(ops) if ops else []
        except Unavailable as error:
            results = [error] * len(ops)
        away.update(op.user for op, result in zip(ops, results, strict=True) if isinstance(result, Unavailable))
        self._tell_all(ops, results)
        answers = iter(results)
        return [_AWAY if op.user in skipped else next(answers) for op in part]

    def _tell_all(self, ops: Sequence[Numbered], results: Sequence[Appended | Unavailable]) -> None:
        told: dict[int, tuple[Fields, list[tuple[str, Appended]]]] = {}
        for op, result in zip(ops, results, strict=True):
            if not isinstance(result, Unavailable) and result.status is AppendStatus.APPENDED:
                told.setdefault(op.number, (op.fields, []))[1].append((op.user, result))
        for number in sorted(told):
            self._tell(*told[number])

    def _refused(self, given: Given, op: Numbered, result: Appended) -> None:
        GROUP_REFUSED.inc()
        given.refused[op.number].add(op.user)
        if result.status is AppendStatus.FAILED:
            log.error("the inbox of %s cannot be written to: it misses number %d of a group", op.user, op.number)

    async def _erase(self, group: str, members: Members, entry: LogEntry, given: Given) -> None:
        """After the deletion itself is in: what it erases cannot come any more to whoever has that. Who has left before
        may still lack the message, and somebody have it in hand: such an inbox is first brought past its number.
        """
        assert entry.erases is not None  # looked at by the caller
        users = [user for user, stays in members.items() if gets(stays, entry.erases.number)]
        try:
            behind = await self._erase_in(group, users, entry)
            behind = {user: number for user, number in behind.items() if not gets(members[user], entry.number)}
            if not behind:
                return
            lacking = Given(away=given.away)
            owed = {user: [last_of(members[user], entry.number)] for user in behind}
            await self._catch_up(group, members, dict(behind), owed, lacking)
            await self._erase_in(group, list(behind), entry)
        except Unavailable:
            given.unknown.add(entry.number)
            return
        if lacking.unknown:
            given.unknown.add(entry.number)

    async def _erase_in(self, group: str, users: Sequence[str], entry: LogEntry) -> dict[str, int]:
        """As `Groups.erase`. Raises Unavailable."""
        assert entry.erases is not None  # looked at by the caller
        fields = {_text(name): _text(value) for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True)}
        return await self._groups.erase(group, users, entry.erases, fields["target"], fields["target_from"])


_AWAY = Unavailable("its server has not answered just now")
_IN = (AppendStatus.APPENDED, AppendStatus.DUPLICATE)


def _text(part: str | bytes) -> str:
    return part if isinstance(part, str) else part.decode()
