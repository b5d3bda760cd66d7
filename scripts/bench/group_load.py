"""A group: a few of its members write, all of them are connected and get everything.

First the latency, with one message under way; then as much as the service takes.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from scripts.bench.content import Sends
from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.http_client import connect, head, with_body
from scripts.bench.waiting import until
from scripts.bench.ws_client import Device, Endpoint, Manners, connect_all
from scripts.bench.ws_load import ACCEPTED, DRAIN, entries, faults

SENDERS = 8  # spread over all members, so that they are on all workers
IN_FLIGHT = 800  # deliveries, over all members; at least one message of each sender
CREATED = 201
MESSAGE = b'{"type":"message"'
ENTRY_OF_CREATION = 1


@dataclass
class Room:
    """What the members share: the messages under way, and what became of them."""

    name: str
    accepted: int = 0
    sent: int = 0
    began: float = 0.0  # of the one message whose deliveries are timed; 0: none
    samples: list[float] = field(default_factory=list)
    running: bool = False


class Member(Device):
    """One device of one member. Deliveries are counted, not parsed one by one."""

    def __init__(self, endpoint: Endpoint, user: str, manners: Manners, room: Room) -> None:
        super().__init__(endpoint, user, manners)
        self.room = room
        self._frames = Sends(room.name.encode(), b"group")
        self._sent = 0

    def say(self) -> None:
        self._sent += 1
        self.room.sent += 1
        self.write(self._frames.frame(self._sent))

    def text(self, payload: bytes) -> None:
        lines = payload.split(b"\n")
        for line in lines:
            if line.startswith(ACCEPTED):
                self.accepted()
            elif line:
                self._object(orjson.loads(line))

    def accepted(self) -> None:
        self.room.accepted += 1
        if self.room.running:
            self.say()

    def entry(self, frame: dict[str, Any]) -> None:
        if self.room.began:
            self.room.samples.append(time.monotonic() - self.room.began)


@dataclass(frozen=True)
class GroupLoad:
    """`samples` of the outcome: from the send to each member, one message under way; `done` counts messages."""

    endpoint: Endpoint
    tag: str
    seconds: float
    warm_up: float
    manners: Manners
    members: int
    timed: int  # messages whose deliveries are timed

    async def run(self, gate: Gate) -> Outcome:
        room = Room(self.tag)
        members = [Member(self.endpoint, f"{self.tag}-{n}", self.manners, room) for n in range(self.members)]
        await connect_all(list(members))
        await self._create(members)
        samples = await self._one_by_one(room, members)
        await self._send_for(room, members, self.warm_up)
        await self._drain(room, members)
        before = room.accepted
        await gate.wait()
        watch = Stopwatch()
        at_end = await self._send_for(room, members, self.seconds)
        await self._drain(room, members)
        total = room.accepted - before
        outcome = Outcome(
            *(watch.started, watch.started + self.seconds, at_end - before, total, watch.cpu(), watch.wall()),
            appends=total * self.members,
            faults=faults(members),
            samples=samples,
        )
        for member in members:
            member.leave()
        return outcome

    async def _create(self, members: list[Member]) -> None:
        connection = await connect(self.endpoint)
        body = orjson.dumps({"members": [member.user for member in members]})
        start = head(self.endpoint, "PUT", f"/v1/groups/{self.tag}", members[0].user)
        answer = await connection.request(with_body(start, body))
        connection.close()
        if answer.status != CREATED:
            raise RuntimeError(f"the group was not made: {answer.status} {answer.body.decode()}")
        await until(lambda: entries(members) == len(members) * ENTRY_OF_CREATION, DRAIN)

    async def _one_by_one(self, room: Room, members: list[Member]) -> list[float]:
        for number in range(self.timed):
            room.began = time.monotonic()
            members[number % len(members)].say()
            await self._drain(room, members)
        room.began = 0.0
        return room.samples

    async def _send_for(self, room: Room, members: list[Member], seconds: float) -> int:
        """How many messages had been accepted, in all, when the time was up."""
        room.running = True
        for member in members[:: -(-len(members) // SENDERS)]:
            for _ in range(max(1, IN_FLIGHT // self.members // SENDERS)):
                member.say()
        await asyncio.sleep(seconds)
        at_end = room.accepted
        room.running = False
        return at_end

    async def _drain(self, room: Room, members: list[Member]) -> None:
        """Waits until every member has everything; what is missing is counted as `undelivered`."""
        await until(lambda: room.accepted == room.sent, DRAIN)
        expected = len(members) * (room.sent + ENTRY_OF_CREATION)
        if not await until(lambda: entries(members) >= expected, DRAIN):
            members[0].errors["undelivered"] += expected - entries(members)
