"""Worker streams: the hints for the sockets one worker holds, and what operators tell it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from service.core import cursor
from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link, unwrapped

IDENTITY_LIFE = 3600
"""Seconds the keys of a worker outlive its last heartbeat, where nobody reaps it."""
CAP = 5_000
"""Entries a worker stream keeps at most (approximately); what falls off is read from the inboxes."""
READ_COUNT = 128
CANARY, REPLACED, KICK, BROADCAST, ACKED = "!canary", "!replaced", "!kick", "!broadcast", "!acked"
SIGNAL, PRESENCE = "!signal", "!presence"
"""Control fields; `!` is in no user's name."""


@dataclass(slots=True)
class Hint:
    """An entry was appended to `user`'s inbox after `prev`. `tail` None: too large to be carried along."""

    user: str
    prev: Cursor
    cursor: Cursor
    tail: bytes | None


@dataclass(frozen=True, slots=True)
class Control:
    """A control field and its value."""

    name: str
    value: str


Event = Hint | Control
Field = tuple[str, bytes | str]


def hint_field(hint: Hint, *others: Hint) -> Field:
    """`user/prev/cursor` and the entry's frame without its position (empty: read the inbox). `others`: of the same
    entry in further inboxes.
    """
    (was_ms, was), (ms, seq) = hint.prev, hint.cursor
    name = f"{hint.user}/{was_ms}-{was}/{ms}-{seq}"
    if others:
        name = " ".join((name, *(f"{one.user}/{one.prev}/{one.cursor}" for one in others)))
    return name, hint.tail or b""


_PLAIN = re.compile(rf"([^ /]*)/{cursor.FORM}/{cursor.FORM}", re.ASCII)
"""Of one recipient, as nearly all are."""


def read_field(name: bytes, value: bytes) -> list[Event]:
    """The events one field stands for; several recipients are separated by spaces. Raises ValueError."""
    text = name.decode()
    if text.startswith("!"):
        return [Control(text, value.decode())]
    if (found := _PLAIN.fullmatch(text)) is not None:
        user, was_ms, was, ms, seq = found.groups()
        return [Hint(user, Cursor(int(was_ms), int(was)), Cursor(int(ms), int(seq)), value or None)]
    events: list[Event] = []
    for part in text.split(" "):
        user, prev, last = part.split("/")
        events.append(Hint(user, Cursor.parse(prev), Cursor.parse(last), value or None))
    return events


async def pulse(client: Link, keys: Keys, worker: str, about: dict[str, str | int], canary: int) -> tuple[int, str]:
    """A canary for oneself, `about` ({}: left as it is), and another hour for the worker's keys. The one call that may
    create a worker stream. The server's clock in ms, and the stream's newest id. Raises Unavailable.
    """
    fields = [part for item in about.items() for part in item]
    now, newest = await scripts.call(
        client,
        scripts.PULSE,
        (keys.about(worker), keys.worker(worker)),
        (IDENTITY_LIFE, canary, *fields),
    )
    return int(now), bytes(newest).decode()


class WorkerStreams:
    """Writing to any worker's stream, reading one's own."""

    def __init__(self, client: Link, reader: Link, keys: Keys) -> None:
        self._client = client
        self._reader = reader
        self._keys = keys

    async def announce(self, fields: Sequence[tuple[str, Sequence[Field]]]) -> list[bool | None]:
        """(worker, fields) each: one entry each, which is kept in memory only. None where there is no such worker,
        False where its stream is none, or its node may not have taken it. Raises Unavailable where that is all there
        is to say of any.
        """
        calls: list[scripts.Call] = []
        for worker, pairs in fields:
            flat = [part for pair in pairs for part in pair]
            calls.append((scripts.HINT, (self._keys.worker(worker),), (CAP, *flat)))
        replies = await scripts.call_all(self._client, calls) if calls else []
        if all(isinstance(reply, Unavailable) for reply in replies):
            unwrapped(replies)
        return [None if reply is None else not (reply == 0 or isinstance(reply, Unavailable)) for reply in replies]

    async def tell(self, worker: str, name: str, value: str | bytes) -> bool:
        """One control to one worker; whether it is there to hear it. Raises Unavailable."""
        return bool((await self.announce([(worker, [(name, value)])]))[0])

    async def position(self, worker: str) -> str:
        """The id reading goes on from: the newest ever given out there (the stream exists after this).

        Raises Unavailable.
        """
        return (await pulse(self._reader, self._keys, worker, {}, 0))[1]  # of the server that is read then

    async def read(self, worker: str, position: str, block: float) -> tuple[str, list[Event], int]:
        """Waits up to `block` s for what comes after `position`: the new position, the events in order,
        and how many fields could not be read. Raises Unavailable.
        """
        key = self._keys.worker(worker)
        command = ("XREAD", "COUNT", READ_COUNT, "BLOCK", int(block * 1000), "STREAMS", key, position)
        [reply] = unwrapped(await self._reader.exchange([command]))
        events: list[Event] = []
        unreadable = 0
        for id, fields in reply[0][1] if reply else []:  # of the one stream that was asked for
            position = id.decode()
            for name, value in zip(fields[::2], fields[1::2], strict=True):
                try:
                    events += read_field(name, value)
                except ValueError:
                    unreadable += 1
        return position, events, unreadable

    async def trim(self, worker: str, position: str) -> None:
        """Drops what was read. Raises Unavailable."""
        await self._client.run("XTRIM", self._keys.worker(worker), "MINID", "~", position)
