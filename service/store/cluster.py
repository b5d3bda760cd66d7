"""A Cluster: every command goes to the primary that serves its key's slot.

The routing is our own and small, the connections are the client library's: `WAIT` must follow its appends down the
same connection, `ASKING` must precede its command there, and nothing that may have run may be repeated in secret
(decision 18). What is repeated is what a node has turned away: `MOVED`, `ASK`, `TRYAGAIN`.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError

from service.core.errors import Unavailable
from service.store.address import Node
from service.store.link import Command, Link, Wait, all_closed, translated, unavailable, unwrapped
from service.store.majority import majority
from service.store.single import Single

SLOTS = 16384
KEYLESS = {"PING", "TIME", "INFO", "CONFIG", "ROLE", "SCRIPT", "ACL", "CLIENT", "SCAN", "MEMORY", "LATENCY"}
"""What any primary may answer; who wants them all asks `primaries`."""
TRY_AGAIN = 0.05
"""Seconds between two tries at a slot that is on the move, and at least between two looks at the slots."""

ASK_TIMEOUT = 1.0
"""Seconds the nodes have to say who serves what."""

Connect = Callable[[Node], Single]
Picture = tuple[Node | None, ...]
"""The node of each slot."""


def key_of(command: Command) -> Any:
    """The key that says where a command goes; None for one without. All keys of one command share a slot."""
    name = str(command[0]).upper()
    if name in ("EVALSHA", "EVAL"):
        return command[3]
    if name == "XINFO":
        return command[2]
    if name == "XREAD":
        return command[[str(part).upper() for part in command].index("STREAMS") + 1]
    return None if name in KEYLESS else command[1]


class Slots:
    """Which node serves which slot, as most of the nodes tell it. One for all links of a worker.

    `connect`: links of its own to the nodes, each made once and kept: nobody else's commands are in front.
    """

    def __init__(self, seeds: Iterable[Node], connect: Connect) -> None:
        self._seeds = tuple(seeds)
        self._connect = connect
        self._nodes: dict[Node, Single] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._looked = -1.0
        self._why = ""  # the last look told nothing
        self._looking = asyncio.Lock()
        self._closed = False
        self.stale = True

    @property
    def primaries(self) -> list[Node]:
        return sorted({owner for owner in self._owners if owner})

    def owner(self, slot: int) -> Node:
        """Raises Unavailable where nobody serves it."""
        if (owner := self._owners[slot]) is None:
            raise Unavailable(f"no node serves slot {slot}")
        return owner

    async def fresh(self) -> None:
        """Looks again where something said that the picture is old; all who wait share one look. Raises Unavailable
        where nobody can tell.
        """
        if not self.stale:
            return
        came = time.monotonic()
        async with self._looking:
            if self._looked < came:
                await asyncio.sleep(self._looked + TRY_AGAIN - time.monotonic())
                await self._look()
            if self._why:
                raise Unavailable(self._why)

    async def _look(self) -> None:
        self._looked = time.monotonic()
        self._why = "no node of the Cluster tells who serves what"
        nodes = dict.fromkeys((*self.primaries, *self._seeds))
        if (picture := await majority([self._ask(node) for node in nodes], ASK_TIMEOUT)) is not None:
            self._owners = list(picture)
            self.stale, self._why = False, ""

    async def _ask(self, node: Node) -> Picture | None:
        if self._closed:
            return None
        if node not in self._nodes:
            self._nodes[node] = self._connect(node)
        try:
            with translated():
                owners = _owners(await self._nodes[node].raw("CLUSTER", "SLOTS"), node)
        except Unavailable:
            return None
        return tuple(owners) if any(owners) else None

    async def aclose(self) -> None:
        self._closed = True
        await all_closed(self._nodes.values())


def _owners(rows: Any, asked: Node) -> list[Node | None]:
    """`CLUSTER SLOTS`: [first, last, [host, port, id, …], …]. A node that does not know its own name is the one that
    was asked.
    """
    owners: list[Node | None] = [None] * SLOTS
    for row in _plain(rows):
        host = row[2][0].decode() if row[2][0] else ""
        owner = (asked[0] if host in ("", "?") else host, int(row[2][1]))
        for slot in range(int(row[0]), int(row[1]) + 1):
            owners[slot] = owner
    return owners


def _plain(rows: Any) -> Any:
    """The reply as the server sends it; redis-py makes a mapping of it."""
    if not isinstance(rows, dict):
        return rows
    return [[first, last, [_bytes(row["primary"][0]), row["primary"][1]]] for (first, last), row in rows.items()]


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else text


Send = Callable[[Single, list[Command]], Awaitable[list[Any]]]


class Cluster:
    """A link to all primaries. `connect` makes the link to one node; each is made once and kept.

    `stays`: for who reads on from a place that is known in one node's memory only. Once asked, a slot whose owner
    has changed is `Unavailable` instead of being followed; who then asks again asks the new one.
    """

    many = True

    def __init__(self, slots: Slots, connect: Connect, patience: float, *, stays: bool = False) -> None:
        self._slots = slots
        self._connect = connect
        self._patience = patience
        self._nodes: dict[Node, Single] = {}
        self._stays = stays
        self._homes: dict[int, Node] = {}  # where it stays: slot → who was asked first
        self._closed = False

    def _node(self, node: Node) -> Single:
        if self._closed:
            raise Unavailable("the link is closed")
        if node not in self._nodes:
            self._nodes[node] = self._connect(node)
        return self._nodes[node]

    async def run(self, *command: Any) -> Any:
        return unwrapped(await self.pipeline([command]))[0]

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._everywhere(commands, lambda node, part: node.raw_pipeline(part))
        for reply in replies:
            if isinstance(reply, Unavailable):
                raise reply
        return replies

    async def exchange(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        replies = await self._everywhere(commands, lambda node, part: node.raw_exchange(part, wait))
        if any(isinstance(reply, Exception) for reply in replies):
            self._homes.clear()  # who asks next begins anew
        return replies

    async def _everywhere(self, commands: Sequence[Command], send: Send) -> list[Any]:
        """Sends each command where it belongs, and again what was turned away, for as long as there is patience."""
        replies: list[Any] = [None] * len(commands)
        sent_on: dict[int, Node] = {}
        todo = list(range(len(commands)))
        deadline = time.monotonic() + self._patience
        while todo:
            await self._slots.fresh()
            await self._round(commands, todo, sent_on, replies, send)
            todo = self._turned_away(todo, sent_on, replies)
            if todo and time.monotonic() > deadline:
                for position in todo:
                    replies[position] = unavailable(replies[position])
                break
            if any(isinstance(replies[position], TryAgainError) for position in todo):
                await asyncio.sleep(TRY_AGAIN)
        return replies

    async def _round(
        self, commands: Sequence[Command], todo: list[int], sent_on: dict[int, Node], replies: list[Any], send: Send
    ) -> None:
        """One try at what is to be done: all nodes at once."""
        groups: dict[Node, list[int]] = defaultdict(list)
        for position in todo:
            try:
                groups[sent_on.get(position) or self._owner(commands[position])].append(position)
            except Unavailable as error:
                replies[position] = error
                self._slots.stale = True
        await asyncio.gather(*(self._ask(node, commands, part, replies, send) for node, part in groups.items()))

    def _turned_away(self, todo: list[int], sent_on: dict[int, Node], replies: list[Any]) -> list[int]:
        """The positions of what has not run, in their order, and where a node sent it on to."""
        sent_on.clear()
        again = []
        for position in todo:
            reply = replies[position]
            if self._stays and isinstance(reply, MovedError):  # not ASK: that key has moved with all that was in memory
                self._slots.stale = True
                replies[position] = unavailable(reply)
                continue
            if isinstance(reply, AskError):  # MOVED, too
                sent_on[position] = (reply.host, reply.port)
            elif not isinstance(reply, TryAgainError):
                self._slots.stale |= isinstance(reply, (ClusterDownError, ReadOnlyError))
                continue
            self._slots.stale |= isinstance(reply, MovedError)
            again.append(position)
        return again

    def _owner(self, command: Command) -> Node:
        key = key_of(command)
        if key is None:
            return random.choice(self._slots.primaries)  # who has failed may still be among them
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        owner = self._slots.owner(slot)
        if self._stays and self._homes.setdefault(slot, owner) != owner:  # another link was told of it
            raise Unavailable(f"slot {slot} has moved")
        return owner

    async def _ask(
        self, node: Node, commands: Sequence[Command], part: list[int], replies: list[Any], send: Send
    ) -> None:
        """What one node has to say; where it cannot be reached, `Unavailable` for all it was asked."""
        sent: list[Command] = []
        places: list[int] = []
        for position in part:
            if isinstance(replies[position], AskError) and not isinstance(replies[position], MovedError):
                places.append(-1)
                sent.append(("ASKING",))
            places.append(position)
            sent.append(commands[position])
        try:
            with translated():
                answers = await send(self._node(node), sent)
        except Unavailable as error:
            self._slots.stale = True
            answers = [error] * len(sent)
        for position, answer in zip(places, answers, strict=True):
            if isinstance(answer, AskError):
                answer.host = answer.host or node[0]  # "the host you already talk to"
            if position >= 0:
                replies[position] = answer

    async def primaries(self) -> list[tuple[str, Link]]:
        self._slots.stale = True
        await self._slots.fresh()
        return [(f"{host}:{port}", self._node((host, port))) for host, port in self._slots.primaries]

    async def aclose(self) -> None:
        self._closed = True
        await all_closed((*self._nodes.values(), self._slots))
