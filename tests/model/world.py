"""Two real workers over a real server, in this process, with devices on them; and the truth beside it."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import UNIT
from service.core.cursor import START
from service.core.entries import Kind
from service.core.errors import Fault
from service.core.frames import ReadUpto
from service.core.groups import GroupResult
from service.core.sending import Appended, AppendStatus, Message, fingerprint
from service.delivery.worker import Worker
from service.ops.audit import audit
from service.ops.audit_laws import Asked
from service.store.groups import Change
from service.store.history import Asked as Page
from tests.delivery.rig import LOOK, quick, ticks, troubled, until, until_stored, within
from tests.model.handset import Frame, Handset, identity_of, position
from tests.model.truth import GROUP, Identity, Truth, identity

USERS = ("alice", "bob", "carol", "dave")
OWNER = "alice"
TIMES = {"heartbeat": 0.1, "dead_after": 0.4, "audit_interval": 0.2, "ack_delay": 0.002}
STOPS = ("groups.commit", "appends.number", "groups.done", "groups.erase", "appends.append", "receipter._settle")
"""Calls in front of which a worker may die, and behind which."""


class World:
    """`device(user, n)`, `worker(n)`: picks, whatever the number."""

    def __init__(self, server: RedisServer) -> None:
        self._url = server.service_url
        self.store: Any = server.async_client(decode_responses=True)
        self.truth = Truth(USERS)
        self.workers: list[Worker] = []
        self.dead: list[str] = []
        self.handsets: list[Handset] = []
        self._count = 0
        self._asked: set[Identity] = set()  # messages whose deletion was asked for: maybe done, not answered

    async def begin(self) -> None:
        for _ in range(2):
            await self._start()
        for number, user in enumerate(USERS):
            await self.connect(self.device(user), number, 256, named=False)

    async def end(self) -> None:
        for handset in self.handsets:
            if handset.client is not None:
                handset.client.hang_up()
        for worker in self.workers:
            await worker.stop()
        await self.store.aclose()

    async def _start(self) -> None:
        worker = Worker(quick(self._url, **{name: value * UNIT for name, value in TIMES.items()}), lambda _: None)
        self.workers.append(worker)
        await worker.start()
        await until(lambda: worker.reader.position, "it reads")

    # What people do.

    def message(self, sender: str, to: Sequence[str]) -> Message:
        """A new one; with a body that is nowhere else. To nobody: for the group."""
        self._count += 1
        body = f"secret-{self._count}."
        return Message(
            f"m{self._count}", sender, tuple(to), json.dumps(body).encode(), fingerprint(body), listed=len(to) > 1
        )

    def change(self, kind: Kind, sender: str, target: Message) -> Message:
        self._count += 1
        body = {Kind.DELETE: b"", Kind.EDIT: b'"edited"', Kind.REACT: b'"+1"'}[kind]
        to = target.to if sender == target.sender or not target.to else (target.sender,)
        return Message(
            f"c{self._count}", sender, to, body, fingerprint([target.id, target.sender, body.decode()]),
            listed=len(to) > 1, kind=kind, target=target.id, target_from=target.sender,
        )  # fmt: skip

    async def say(self, *messages: Message, on: int) -> None:
        """All at once, every other one on another worker; each is said again until it has an answer."""
        await within(asyncio.gather(*(self._say(message, on + n) for n, message in enumerate(messages))), "answers")

    async def _say(self, message: Message, on: int) -> None:
        answer = await self._submit(message, self.worker(on))
        while isinstance(answer, Fault) and answer.retryable:
            await asyncio.sleep(LOOK)
            on += 1
            answer = await self._submit(message, self.worker(on))
        self._believe(message, answer)

    async def _submit(self, message: Message, worker: Worker) -> Any:
        """What its sender is told."""
        if message.kind is Kind.DELETE:
            self._asked.add((Kind.MESSAGE, message.target_from, message.target))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(told: Any) -> None:
            if not answer.done():
                answer.set_result(told)

        if not message.to:
            worker.fanout.submit(GROUP, message, done)
        elif message.target:
            await worker.changes.submit(message, done)
        else:
            worker.committer.submit(message, done)
        return await answer

    def _believe(self, message: Message, answer: Sequence[Appended] | GroupResult | Fault) -> None:
        deleted = (Kind.MESSAGE, message.target_from, message.target) in self._asked
        if isinstance(answer, GroupResult):
            assert answer.refused == 0
            self.truth.numbered(message, answer.number)
        elif isinstance(answer, Fault):
            gone = answer.code == "no_such_message" and deleted
            out = answer.code == "no_such_group" and message.sender not in self.truth.members
            assert gone or out, f"{message} was refused: {answer}"
        else:
            taken = {user: str(one.cursor) for user, one in zip(message.to, answer, strict=True) if one.cursor}
            refused = {one.status for one in answer if one.cursor is None}
            assert not refused or (refused == {AppendStatus.UNKNOWN} and deleted), refused
            if taken:
                self.truth.accepted(message, taken)

    async def read(self, user: str, message: Message, on: int) -> None:
        upto = {"from": message.sender, "upto": message.id}
        self.truth.read(user, message)
        await self.worker(on).reads.take(user, ReadUpto.model_validate(upto))

    async def create(self, members: Sequence[str], on: int) -> None:
        await self.worker(on).fanout.change(Change(GROUP, OWNER, "put", tuple(members)))
        self.truth.event(OWNER, *members)

    async def join(self, user: str, on: int) -> None:
        await self.worker(on).fanout.change(Change(GROUP, OWNER, "join", (user,)))
        self.truth.event(user)

    async def leave(self, user: str, by: str, on: int) -> None:
        await self.worker(on).fanout.change(Change(GROUP, by, "leave", (user,)))
        self.truth.event(left=user)

    # What machines do.

    def worker(self, number: int) -> Worker:
        return self.workers[number % len(self.workers)]

    def device(self, user: str) -> Handset:
        """A new one."""
        handset = Handset(user, f"device-{len(self.handsets)}", self._judge)
        self.handsets.append(handset)
        return handset

    def _judge(self, user: str, receipt: Frame) -> None:
        """By now whoever is named must have acked it, or said to have read it."""
        by, one = receipt["by"], (Kind.MESSAGE, user, receipt["target"])
        lies = self.truth.inboxes[by].get(one)
        if lies is None:
            return  # its sender has no answer yet
        if receipt["kind"] == "delivered":
            assert position(lies) <= self._acked(by), f"{by} has not acked {one}"
        else:
            said = [self.truth.inboxes[by].get(read) for read in self.truth.reads[by]]
            assert any(read is not None and position(read) >= position(lies) for read in said), f"{by}: {one}"

    def _acked(self, user: str) -> tuple[int, int]:
        return max(handset.acked for handset in self.handsets if handset.user == user)

    async def connect(self, handset: Handset, on: int, window: int, *, named: bool) -> None:
        await handset.connect(self.worker(on), window, named=named)

    async def die(
        self,
        victim: Worker,
        where: str = "",
        *,
        messages: Sequence[Message],
        after: bool = False,
        turns: int = 0,
        again: bool = True,
    ) -> None:
        """The worker is given these, gets as far as that call, or for so many turns of its loop, and is no more.
        Whoever sent them says them `again`; or, if it was to the group, has gone for good.
        """
        trouble = None
        if where:
            name, _, method = where.partition(".")
            trouble = troubled(getattr(victim, name), method)
            trouble.after = 1_000_000 if after else 0
            if not after:
                trouble.gate.clear()
        tasks = [asyncio.create_task(self._submit(message, victim)) for message in messages]
        await ticks(turns)
        if trouble is not None:
            with suppress(TimeoutError):  # it may never get there
                async with asyncio.timeout(0.1 * UNIT):
                    await until(lambda: trouble.failed if after else trouble.calls, where)
        await self._kill(victim)
        answers = [task.result() if task.done() else None for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._start()
        for message, answer in zip(messages, answers, strict=True):
            if (answer is None or isinstance(answer, Fault)) and not (again or message.to):
                await self._look_for(message)
            elif answer is None or isinstance(answer, Fault):
                await self.say(message, on=0)
            else:
                self._believe(message, answer)
        self._asked &= self.truth.deleted  # what was asked for and not done is no excuse any more

    async def _look_for(self, message: Message) -> None:
        """Where it got a number, every member must have it, though nobody asks for it any more."""
        for place, fields in await self.store.xrange(f"chat:group:{{{GROUP}}}:log"):
            if (fields["kind"], fields.get("from"), fields["id"]) == identity(message):
                self.truth.numbered(message, int(place.partition("-")[0]))
                self.truth.untold.add(identity(message))

    async def _kill(self, victim: Worker) -> None:
        """Nothing is given back, told or ended in order."""
        self.workers.remove(victim)
        self.dead.append(victim.id)
        for handset in self.handsets:
            if handset.worker is victim and handset.client is not None:
                handset.take()
                connection, handset.client = handset.client.connection, None
                connection.closed = True
                if connection._reading is not None:
                    connection._reading.cancel()
                if connection._patience is not None:
                    connection._patience.cancel()
        await victim.stop()

    # What must hold.

    async def rest(self) -> None:
        """Everybody is there, and acks, until nothing moves any more."""
        for number, handset in enumerate(self.handsets):
            if handset.client is None:
                await self.connect(handset, number, 64, named=False)
        await until_stored(self._quiet, "it comes to rest")

    async def _quiet(self) -> bool:
        heads = await self._heads()
        for handset in self.handsets:
            handset.take()
            handset.ack()
        there = all((handset.cursor or handset.began) == heads[handset.user] for handset in self.handsets)
        if not there:
            return False
        for worker in self.workers:
            await worker.acker.flush()
            await worker.receipter.drained()
        counters = await self.store.hgetall("chat:workers")
        reaped = all(counters.get(name) == "dead" for name in self.dead)
        owing = [await self.store.hmget(f"chat:state:{{{user}}}", "best", "receipted") for user in USERS]
        settled = all(best == receipted for best, receipted in owing)
        over = not await self.store.hlen(f"chat:group:{{{GROUP}}}:fanout")
        return reaped and over and settled and await self._heads() == heads

    async def _heads(self) -> dict[str, str]:
        return {user: await self.store.hget(f"chat:state:{{{user}}}", "last") or "0-0" for user in USERS}

    async def check(self) -> None:
        """The inboxes are as the model says, the devices have seen just them, and the audit finds nothing."""
        inboxes = {user: await self._inbox(user) for user in USERS}
        for user, entries in inboxes.items():
            self._check_inbox(user, entries)
        for handset in self.handsets:
            self._check_handset(handset, inboxes[handset.user])
        self._check_receipts(inboxes)
        await self._nothing_left_of_what_was_deleted()
        worker = self.workers[0]
        settings = worker.settings
        asked = Asked(worker.keys, settings.max_pending, settings.retention, settings.device_expiry, 60)
        report = await audit(worker.clients.rest, asked, entries=True)
        off = [one for one in report.findings if one.level == "off"]
        assert not off, off
        self.truth.untold &= self.truth.deleted  # all the others have been found everywhere

    async def _inbox(self, user: str) -> list[Frame]:
        """What is in an inbox, as frames, and what is left of what was there."""
        histories = self.workers[0].histories
        entries, more = await histories.read(user, Page(after=START, limit=100_000), 0)
        assert not more
        return [{**json.loads(entry.tail), "cursor": str(entry.cursor)} for entry in entries]

    def _check_inbox(self, user: str, entries: list[Frame]) -> None:
        truth = self.truth
        told = [entry for entry in entries if entry["type"] not in ("receipt", "read")]
        found = [identity_of(entry) for entry in told]
        assert len(set(found)) == len(found), f"{user} has something twice"
        wanted = truth.expected(user) - (truth.overtaken - set(found))
        assert set(found) == wanted, f"{user}: too much {set(found) - wanted}, too little {wanted - set(found)}"
        deleted = {identity_of(entry) for entry in told if entry["type"] == "deleted"}
        gone = truth.deleted & set(found)
        assert deleted == gone, f"{user}: {deleted - gone} is gone, {gone - deleted} is there"
        cursors = dict(zip(found, (entry["cursor"] for entry in told), strict=True))
        for one, cursor in truth.inboxes[user].items():
            assert cursor in (None, cursors[one]), f"{one} is not where its sender was told"
        numbers = [entry["seq"] for entry in told if "group" in entry]
        owed = [number for number in truth.numbers_of(user) if truth.numbers[number] in wanted]
        assert numbers == owed, f"{user}: {numbers}, not {owed}"
        for number, entry in zip(numbers, (entry for entry in told if "group" in entry), strict=True):
            assert identity_of(entry) == truth.numbers[number]

    def _check_handset(self, handset: Handset, entries: list[Frame]) -> None:
        """From where it began, everything in its order; what was deleted meanwhile it may have had before."""
        began = position(handset.began)
        wanted = [entry for entry in entries if position(entry["cursor"]) > began]
        seen, there = [identity_of(one) for one in handset.log], [identity_of(one) for one in wanted]
        assert seen == there, f"{handset.user}/{handset.name} saw {seen}, and there is {there}"
        before = [entry for entry in entries if position(entry["cursor"]) <= began]
        assert {entry["type"] for entry in before} <= {"deleted"}, "a new device gets what is there"

    def _check_receipts(self, inboxes: dict[str, list[Frame]]) -> None:
        """Cumulative: whatever was acked, some receipt says so in the end."""
        furthest: dict[tuple[str, str], int] = {}
        lies = {user: {identity_of(entry): entry["cursor"] for entry in inboxes[user]} for user in USERS}
        for sender, entries in inboxes.items():
            for entry in entries:
                if entry["type"] == "receipt" and entry["kind"] == "delivered":
                    pair, at = (sender, entry["by"]), lies[entry["by"]][Kind.MESSAGE, sender, entry["target"]]
                    furthest[pair] = max(furthest.get(pair, 0), position(at)[1])
        for by, entries in inboxes.items():
            for entry in entries:
                direct = entry["type"] == "message" and "to" in entry and entry["from"] != by
                if direct and position(entry["cursor"]) <= self._acked(by):
                    number = position(entry["cursor"])[1]
                    assert furthest.get((entry["from"], by), 0) >= number, f"no receipt for {entry} by {by}"

    async def _nothing_left_of_what_was_deleted(self) -> None:
        gone = [json.loads(self.truth.messages[one].body) for one in self.truth.deleted if one in self.truth.messages]
        keys = [f"chat:inbox:{{{user}}}" for user in USERS] + [f"chat:group:{{{GROUP}}}:log"]
        text = json.dumps([await self.store.xrange(key) for key in keys if await self.store.type(key) == "stream"])
        left = [body for body in gone if body in text]
        assert not left, left
