"""The audit: walks all keys of all primaries, reads what belongs together, and holds it against the laws.

Read-only, in bounded memory, one pipeline at a time. On a live service what is read in two steps may have moved
between them: what looks off is read again, twice, before it is told. A quiet service gives the exact answer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.ops import audit_reads as reads
from service.ops.audit_laws import DEAD, Asked, Entries, Finding, User, Worker, dropped, gone, judge_user, judge_worker
from service.ops.audit_laws import missing as missing_between
from service.ops.audit_reads import PAGE, text
from service.store.keys import CATALOGUE, Keys
from service.store.link import Link

USERS = 50
"""Users read in one pipeline."""
LOOK_AGAIN = (0.2, 1.0)
"""Seconds to wait before each further look at what seems off: for what was on its way."""
MOST_FINDINGS = 1000
"""After so many that are off the walk ends: it is clear that something is."""
OF_USERS = ("inbox", "cursors", "devices", "presence", "seen", "erased")
OF_WORKERS = ("worker", "claims", "about")
OF_GROUPS = ("group:members", "group:log", "group:fanout", "group:seen")

S = TypeVar("S")


@dataclass(slots=True)
class Totals:
    """`given`: numbers given out = `dropped` by retention + `trimmed` + `deleted` + `present`; `expired` of
    those present, None where entries were not read.
    """

    keys: int = 0
    users: int = 0
    connected: int = 0
    workers: int = 0
    given: int = 0
    dropped: int = 0
    trimmed: int = 0
    deleted: int = 0
    present: int = 0
    expired: int | None = None

    def add(self, user: User, entries: Entries | None) -> None:
        self.users += 1
        self.connected += len(user.presence)
        self.given += user.last.seq
        self.dropped += dropped(user)
        if user.stream is not None:
            self.present += user.stream.length
            self.deleted += missing_between(user.stream)
            self.trimmed += gone(user.stream) - dropped(user)
        if entries is not None:
            self.expired = (self.expired or 0) + entries.expired


@dataclass(slots=True)
class Report:
    """`complete`: the walk came to its end. `left_out`: notes beyond the most that are kept."""

    totals: Totals = field(default_factory=Totals)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    left_out: int = 0

    @property
    def off(self) -> int:
        return sum(finding.level == "off" for finding in self.findings)


async def audit(
    link: Link, asked: Asked, *, entries: bool = False, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """`entries`: also reads every entry. `progress`: told the number of keys now and then. Raises Unavailable."""
    return await _Walk(link, asked, entries, progress).run()


class _Walk:
    def __init__(self, link: Link, asked: Asked, entries: bool, progress: Callable[[int], None]) -> None:
        self._link = link
        self._asked = asked
        self._entries = entries
        self._progress = progress
        self._shapes = shapes(asked.keys)
        self._report = Report()
        self._told: set[Finding] = set()

    async def run(self) -> Report:
        await self._workers()
        async for page in self._pages():
            self._report.totals.keys += len(page)
            self._progress(self._report.totals.keys)
            await self._page(page)
            if self._report.off >= MOST_FINDINGS:
                self._report.complete = False
                break
        return self._report

    async def _pages(self) -> AsyncIterator[list[bytes]]:
        for _, primary in await self._link.primaries():
            position: Any = None
            while position != 0:
                command = ("SCAN", position or 0, "MATCH", f"{self._asked.keys.prefix}*", "COUNT", PAGE)
                position, page = await primary.run(*command)
                position = int(position)
                if page:
                    yield page

    # Keys.

    async def _page(self, page: Sequence[bytes]) -> None:
        self._note(await self._settled(page, self._judge_keys))
        users = [name for kind, name in map(self._place, page) if kind == "state"]
        for at in range(0, len(users), USERS):
            batch = users[at : at + USERS]
            seen: dict[str, User] = {}

            async def judge(names: Sequence[str], seen: dict[str, User] = seen) -> dict[str, list[Finding]]:
                return await self._judge_users(names, seen)

            self._note(await self._settled(batch, judge))
            for user in seen.values():
                self._report.totals.add(user, user.entries if self._entries else None)

    def _place(self, key: bytes) -> tuple[str, str]:
        """Which row of the catalogue a key belongs to, and whose it is; ("", "") for none."""
        for kind, _, shape in self._shapes:
            if found := shape.fullmatch(text(key)):
                return kind, found["name"]
        return "", ""

    async def _judge_keys(self, page: Sequence[bytes]) -> dict[bytes, list[Finding]]:
        """Whether the catalogue knows them, and whether each belongs to somebody who is there."""
        keys, types = self._asked.keys, {kind: type for kind, type, _ in self._shapes}
        places = {key: self._place(key) for key in page}
        owners = {key: keys.state(name) for key, (kind, name) in places.items() if kind in OF_USERS}
        groups = {key: keys.group(name).group for key, (kind, name) in places.items() if kind in OF_GROUPS}
        owners |= {key: text(group) for key, group in groups.items()}
        kinds = await self._ask(("TYPE", key) for key in page)
        there = dict(zip(owners, await self._ask(("EXISTS", key) for key in owners.values()), strict=True))
        counters = await reads.counters(self._link, keys)
        found: dict[bytes, list[Finding]] = {}
        for key, type in zip(page, map(text, kinds), strict=True):
            kind, name = places[key]
            found[key] = []
            if type == "none":
                continue  # gone meanwhile
            if not kind:
                found[key].append(Finding(text(key), "unknown key", "the catalogue of keys has none like it"))
            elif type != types[kind]:
                found[key].append(Finding(text(key), "type", f"it is a {type}, and should be a {types[kind]}"))
            elif key in there and not there[key]:
                found[key].append(Finding(text(key), "no state", f"there is no {owners[key]}"))
            elif kind in OF_WORKERS and counters.get(name, DEAD) == DEAD:
                found[key] += judge_worker(Worker(name, counters.get(name), None, frozenset({kind})), self._asked)
        return found

    # Users.

    async def _judge_users(self, names: Sequence[str], seen: dict[str, User]) -> dict[str, list[Finding]]:
        counters = await reads.counters(self._link, self._asked.keys)
        found = {}
        for user in await reads.users(self._link, self._asked.keys, names, entries=self._entries):
            seen[user.name] = user
            found[user.name] = judge_user(user, counters, self._asked)
        return found

    # Workers.

    async def _workers(self) -> None:
        counters = await reads.counters(self._link, self._asked.keys)
        living = [name for name, counter in counters.items() if counter != DEAD]
        self._report.totals.workers = len(living)
        self._note(await self._settled(living, self._judge_workers))
        for worker in living:
            async for page in reads.claims(self._link, self._asked.keys, worker):
                members = [(worker, member) for member in page]
                self._note(await self._settled(members, self._judge_claims))

    async def _judge_workers(self, names: Sequence[str]) -> dict[str, list[Finding]]:
        counters = await reads.counters(self._link, self._asked.keys)
        living = [name for name in names if counters.get(name, DEAD) != DEAD]  # the others have left meanwhile
        found: dict[str, list[Finding]] = {name: [] for name in names}
        for worker in await reads.workers(self._link, self._asked.keys, living, counters):
            found[worker.name] = judge_worker(worker, self._asked)
        return found

    async def _judge_claims(self, members: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Finding]]:
        """Whether each noted claim is one."""
        keys = self._asked.keys
        held = await reads.held(self._link, keys, members)
        found: dict[tuple[str, str], list[Finding]] = {}
        for worker, member in members:
            said = held[worker, member]
            found[worker, member] = [Finding(keys.claims(worker), "claim", said)] if said else []
        return found

    # Looking again.

    async def _settled(
        self, subjects: Sequence[S], judge: Callable[[Sequence[S]], Awaitable[Mapping[S, list[Finding]]]]
    ) -> list[Finding]:
        """What is found, after further looks at what seemed off."""
        found = dict(await judge(subjects)) if subjects else {}
        for pause in LOOK_AGAIN:
            odd = [subject for subject, findings in found.items() if any(one.level == "off" for one in findings)]
            if not odd:
                break
            await asyncio.sleep(pause)
            found.update(await judge(odd))
        return [finding for findings in found.values() for finding in findings]

    def _note(self, findings: Iterable[Finding]) -> None:
        report = self._report
        for finding in findings:
            if finding in self._told:
                continue  # SCAN may name a key twice
            if finding.level == "note" and len(report.findings) >= MOST_FINDINGS:
                report.left_out += 1
                continue
            self._told.add(finding)
            report.findings.append(finding)

    async def _ask(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        return await reads.ask(self._link, *commands)


def shapes(keys: Keys) -> list[tuple[str, str, re.Pattern[str]]]:
    """Kind, type and form of every key of the catalogue, under the prefix in use. `name`: whose it is."""
    found = []
    for doc in CATALOGUE:
        head, _, rest = doc.pattern.removeprefix("chat:").partition("{")
        tail = rest.partition("}")[2]
        name = r"\{(?P<name>[^{}]*)\}" if rest else r"(?P<name>)"
        form = re.compile(re.escape(keys.prefix + head) + name + re.escape(tail))
        kind = head.rstrip(":") + tail.removesuffix(":a").removesuffix(":b")  # those two take turns, as one kind
        found.append((kind, doc.type, form))
    return found
