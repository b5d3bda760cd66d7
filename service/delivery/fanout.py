"""The fan-out: what is sent into groups, and what changes them. Commits it in the group, then sees it into every inbox.

Each group has a queue here, and one runner at a time: several sends that wait are committed in one call and spread
together. What is committed is owed: a record in the store stays until every member has it, whoever dies (`sweeper.py`).
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.core.errors import ClientError, Fault, Unavailable
from service.core.groups import (
    REFUSALS,
    CommitStatus,
    GroupResult,
    LogEntry,
    Members,
    Numbering,
)
from service.core.lane import Lane
from service.core.sending import OUT_OF_ORDER, UNAVAILABLE, Message, sent_fields
from service.delivery.spread import Given, Spread
from service.store.groups import Change, Changed, ChangeStatus, Groups
from service.telemetry import GROUP_COMMITS, GROUP_SENDS, SENDS_UNAVAILABLE

log = logging.getLogger("inboxd.fanout")

BATCH, BATCH_BYTES = 32, 256 << 10
"""Sends that are committed together at most, and bytes of their bodies, give or take one."""
MOST_QUEUED, MOST_QUEUED_BYTES = 10_000, 64 << 20
"""Sends waiting in all groups, and bytes of their bodies; beyond, they are answered `unavailable` at once."""
RUNNERS = 16
"""Groups served at a time: each may hold one connection to the store."""
WORKERS = RUNNERS // 2
"""Of them, those with a change or with what somebody has left open: sends go on beside it."""
ANNOUNCED = 60_000
"""ms for which a group is put into the index ahead: so seldom a send waits for that."""
KNOWN_STAYS = 200_000
"""Members of groups that are remembered: about 50 MiB."""

Done = Callable[[GroupResult | Fault], None]


@dataclass(slots=True)
class Submission:
    """Something on its way into a group. Of one `lane` none is accepted after one before it was not."""

    message: Message
    done: Done
    lane: Lane | None = None


@dataclass(slots=True)
class Work:
    """Something else to be done in a group's turns: a change, or what somebody has left open (None). `changed`: once
    it is committed; then `rest` are the numbers that are still to be given, `given` what became of the others.
    """

    change: Change | None
    answer: "asyncio.Future[Changed]"
    changed: Changed | None = None
    rest: Sequence[int] = ()
    given: Given = field(default_factory=Given)


class Fanout:
    """`refuses`: whether nothing is taken now. `now_ms`, `deadline`: the server's clock, and until when by it a call
    that is made now may count.
    """

    def __init__(
        self,
        groups: Groups,
        spread: Spread,
        refuses: Callable[[], bool],
        now_ms: Callable[[], int],
        deadline: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._spread = spread
        self._refuses = refuses
        self._now_ms = now_ms
        self._deadline = deadline
        self._queues: dict[str, deque[Submission | Work]] = {}  # of groups that wait for a runner, or have one
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._working = 0
        self._held: deque[str] = deque()  # groups whose work waits until less of it is done
        self._count = self._bytes = 0  # of what waits
        self._known = _Known()
        self._announced: dict[str, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    # What others ask for.

    def submit(self, group: str, message: Message, done: Done, lane: Lane | None = None) -> None:
        """`done` is called once, later or at once. Never blocks, never queues without bound."""
        if self._refuses() or self._count >= MOST_QUEUED or self._bytes >= MOST_QUEUED_BYTES:
            SENDS_UNAVAILABLE.inc()
            if lane is not None:
                lane.fail(message.id)
            done(UNAVAILABLE)
            return
        self._count += 1
        self._bytes += len(message.body)
        self._add(group, Submission(message, done, lane))

    async def change(self, change: Change) -> Changed:
        """Once every member has heard of it. Raises Unavailable: it may be done; ClientError `no_such_group`,
        `forbidden`, `group_full`.
        """
        if self._refuses() or self._count >= MOST_QUEUED:
            raise Unavailable("nothing is taken now")
        changed = await self._work(change.group, change)
        if (fault := _FAULTS.get(changed.status)) is not None:
            raise ClientError(fault.code, fault.detail, fault.field)
        return changed

    async def finish(self, group: str) -> None:
        """Ends what is open in a group, whoever began it. Raises Unavailable."""
        await self._work(group, None)

    async def drained(self) -> None:
        """Returns when nothing waits or is under way."""
        await self._idle.wait()

    async def _work(self, group: str, change: Change | None) -> Changed:
        answer: asyncio.Future[Changed] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._add(group, Work(change, answer))
        return await answer

    def _add(self, group: str, job: "Submission | Work") -> None:
        queue = self._queues.get(group)
        if queue is None:
            queue = self._queues[group] = deque()
            self._ready.put_nowait(group)
            self._idle.clear()
        queue.append(job)

    # Running.

    async def run(self) -> None:
        """Serves one group after the other until cancelled; several run at a time."""
        while True:
            group = await self._ready.get()
            if not isinstance(self._queues[group][0], Work):
                await self._serve(group)
            elif self._working >= WORKERS:
                self._held.append(group)
            else:
                await self._serve_work(group)

    async def _serve_work(self, group: str) -> None:
        self._working += 1
        await self._serve(group)
        while self._held:
            await self._serve(self._held.popleft())
        self._working -= 1

    async def _serve(self, group: str) -> None:
        queue = self._queues[group]
        await self._turn(group, queue)
        if queue:
            self._ready.put_nowait(group)  # behind the others
            return
        del self._queues[group]
        if not self._queues:
            self._idle.set()

    async def _turn(self, group: str, queue: "deque[Submission | Work]") -> None:
        batch: list[Submission] = []
        size = 0
        while queue and len(batch) < BATCH and size < BATCH_BYTES:
            job = queue[0]
            if isinstance(job, Work):
                break
            batch.append(job)
            size += len(job.message.body)
            queue.popleft()
        if not batch:
            work = queue[0]
            assert isinstance(work, Work)  # only work ends a batch
            if await self._do(group, work):
                queue.popleft()
                self._count -= 1
            return  # else it comes first again: what is sent here would have to bring the rest
        self._count -= len(batch)
        self._bytes -= size
        await self._send(group, queue, batch)

    async def _do(self, group: str, work: Work) -> bool:
        """A turn of it; whether that was the last."""
        try:
            if work.changed is None:
                work.changed = await self._begun(group, work)
            await self._part(group, work)
            if work.rest:
                return False
            if work.given.unknown:
                raise Unavailable("not every member has it")
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.exception("the keys of a group hold what they should not")
            if not work.answer.done():  # its request may have been cancelled
                work.answer.set_exception(error)
            return True
        if not work.answer.done():
            work.answer.set_result(work.changed)
        return True

    async def _begun(self, group: str, work: Work) -> Changed:
        """Commits a change, and says which numbers are to be given. Raises Unavailable."""
        changed = Changed(ChangeStatus.DONE)
        if work.change is not None:
            changed = await self._groups.change(work.change, await self._announce(group))
            if changed.status is ChangeStatus.BUSY:
                raise Unavailable("too many fan-outs of this group are open")
            work.rest = range(changed.first, changed.last + 1)
        if work.change is None or (changed.open and not work.rest):  # a repeat, maybe, of a change that was not ended
            work.rest = sorted(await self._groups.open(group))
        return changed

    async def _part(self, group: str, work: Work) -> None:
        """Sees what the log has under the next numbers into all inboxes. Raises Unavailable."""
        numbers, work.rest = work.rest[:BATCH], work.rest[BATCH:]
        if not numbers:
            return
        name, members = await self._groups.members(group)
        self._known.put(group, name, members)
        given = await self._spread.logged(group, members, numbers, work.given)
        await self._done(group, [number for number in numbers if number not in given.unknown])

    async def _announce(self, group: str) -> int:
        """Puts the group into the index, if it will not stand there for long; until when a commit may count."""
        deadline = self._deadline()
        if self._announced.get(group, 0) < deadline:
            until = self._now_ms() + ANNOUNCED
            await self._groups.announce(group, until)
            if len(self._announced) > MOST_QUEUED:
                self._announced.clear()
            self._announced[group] = until
        return min(deadline, self._announced[group])

    async def _done(self, group: str, numbers: Sequence[int]) -> None:
        try:
            if numbers:
                await self._groups.done(group, numbers)
        except Unavailable:
            log.info("a fan-out is ended, but not crossed out: somebody does it again")

    # Sending.

    async def _send(self, group: str, queue: "deque[Submission | Work]", batch: list[Submission]) -> None:
        GROUP_COMMITS.inc()
        GROUP_SENDS.inc(len(batch))
        try:
            results, given = await self._commit(group, batch)
        except Unavailable as error:
            log.warning("sends to a group may or may not be in: %s", error.why)
            self._answer(queue, batch, [None] * len(batch))
            return
        except Exception:  # one group's keys, in which somebody has put something else, must not end all groups
            log.exception("the keys of a group hold what they should not")
            self._answer(queue, batch, [REFUSALS[CommitStatus.FAILED]] * len(batch))
            return
        self._answer(queue, batch, [_result(one, given) for one in results])
        ended = [one.number for one in results if one.number and one.number not in given.unknown]
        await self._done(group, ended)

    async def _commit(self, group: str, batch: list[Submission]) -> tuple[list[Numbering], Given]:
        """What became of each send. Raises Unavailable."""
        deadline = await self._announce(group)
        name, members = self._known.get(group)
        committed = await self._groups.commit(group, [one.message for one in batch], name, deadline)
        if committed.members is not None:
            members = committed.members
            self._known.put(group, committed.changed, members)
        return committed.results, await self._spread_all(group, members, batch, committed.results)

    async def _spread_all(
        self, group: str, members: Members, batch: list[Submission], results: Sequence[Numbering]
    ) -> Given:
        """Repeats of what is still under way first: their numbers are lower."""
        entries = [
            _entry(group, one.message, number)
            for one, number in zip(batch, results, strict=True)
            if number.status is CommitStatus.COMMITTED
        ]
        fresh = {entry.number for entry in entries}
        again = sorted({one.number for one in results if one.open} - fresh)
        given = await self._spread.logged(group, members, again) if again else Given()
        more = await self._spread.give(group, members, entries)
        more.unknown |= given.unknown
        more.refused.update(given.refused)
        return more

    def _answer(
        self, queue: "deque[Submission | Work]", batch: list[Submission], results: Sequence[GroupResult | Fault | None]
    ) -> None:
        """None: not known. So that order holds, what a lane has sent behind something that failed comes again, too."""
        broken: set[Lane] = set()
        answers: list[tuple[Submission, GroupResult | Fault]] = []
        for one, result in zip(batch, results, strict=True):
            lane = one.lane
            if result is None or (lane is not None and lane in broken):
                SENDS_UNAVAILABLE.inc()
                if lane is not None:
                    lane.fail(one.message.id)
                    broken.add(lane)
                answers.append((one, UNAVAILABLE))
                continue
            if lane is not None:
                lane.settle(one.message.id)
            answers.append((one, result))
        answers += [(one, OUT_OF_ORDER) for one in self._take_behind(queue, broken)]
        for one, answer in answers:
            one.done(answer)

    def _take_behind(self, queue: "deque[Submission | Work]", broken: set[Lane]) -> list[Submission]:
        """What waits behind a failure of its lane: a lane sends to one place at a time."""
        if not broken:
            return []
        waiting = list(queue)
        behind = [one for one in waiting if isinstance(one, Submission) and one.lane in broken]
        if behind:
            queue.clear()
            queue.extend(one for one in waiting if not (isinstance(one, Submission) and one.lane in broken))
            self._count -= len(behind)
            self._bytes -= sum(len(one.message.body) for one in behind)
        for one in behind:
            assert one.lane is not None  # it is among the broken
            one.lane.refuse(one.message.id)
        return behind


class _Known:
    """Members of the groups that were used last, with the name of that membership."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, tuple[str, Members]] = OrderedDict()
        self._stays = 0

    def get(self, group: str) -> tuple[str, Members]:
        """("", {}) where it is not known."""
        if group not in self._groups:
            return "", {}
        self._groups.move_to_end(group)
        return self._groups[group]

    def put(self, group: str, name: str, members: Members) -> None:
        if group in self._groups:
            self._stays -= len(self._groups.pop(group)[1])
        self._groups[group] = (name, members)
        self._stays += len(members)
        while self._stays > KNOWN_STAYS and len(self._groups) > 1:
            _, (_, gone) = self._groups.popitem(last=False)
            self._stays -= len(gone)


def _entry(group: str, message: Message, number: Numbering) -> LogEntry:
    """As the log has it."""
    fields = sent_fields(message, ["group", group, "seq", str(number.number)])
    if number.expires:
        fields = ["expires", str(number.expires), *fields]
    return LogEntry(number.number, fields, number.erases, number.ts)


def _result(number: Numbering, given: Given) -> GroupResult | Fault | None:
    if number.status is CommitStatus.BUSY or (number.number and number.number in given.unknown):
        return None
    if (fault := REFUSALS.get(number.status)) is not None:
        return fault
    refused = len(given.refused.get(number.number, ()))
    duplicate = number.status is CommitStatus.DUPLICATE
    return GroupResult(number.number, number.ts, number.members, refused, duplicate)


_FAULTS = {
    ChangeStatus.NO_SUCH_GROUP: Fault("no_such_group", "no group of this name has you as a member", "group"),
    ChangeStatus.FORBIDDEN: Fault("forbidden", "only the group's owner may do this"),
    ChangeStatus.FULL: Fault("group_full", "the group has as many members as it may"),
}
