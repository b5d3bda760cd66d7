"""Conversations: an inbox seen as talks with users and in groups, the newest first."""

from dataclasses import dataclass
from typing import Any

from service.core.cursor import START, Cursor
from service.core.entries import read_entry
from service.store.client import Clients
from service.store.keys import Keys
from service.store.link import unwrapped
from service.store.marks import SKIMMED, Mark, Marks, Skim, was_read, was_read_in

LOOKED_AT = 10_000
"""Entries of an inbox that are looked at; what is older is in no list, and does not count as unread."""
TOGETHER = 20
"""Messages fetched at a time: each may be as large as a message may be."""


@dataclass(slots=True)
class Talk:
    """With a user (`peer`), or in a `group`. `last`: the newest message, `tail` what its frame says; `read`: how far
    the user has read it.
    """

    peer: str
    group: str
    last: Cursor
    read: Mark | None
    unread: int = 0
    tail: bytes = b""

    def take(self, user: str, one: Skim) -> None:
        """A message of it. One's own are never unread."""
        if one.sender == user:
            return
        if self.group:
            self.unread += one.number > (int(self.read.what) if self.read else 0)
        else:
            self.unread += one.cursor > (self.read.cursor if self.read else START)


def talks(user: str, messages: list[Skim], marks: dict[str, Mark], now_ms: int, found: dict[str, Talk]) -> None:
    """Sorts messages, newest first, into `found`: field of the marks → talk. Pure."""
    for one in messages:
        if one.expires and one.expires <= now_ms:
            continue
        peers = () if one.group else one.to if one.sender == user else (one.sender,)
        for name in [was_read_in(one.group)] if one.group else map(was_read, peers):
            if name not in found:
                peer = "" if one.group else name.removeprefix(was_read(""))
                found[name] = Talk(peer, one.group, one.cursor, marks.get(name))
            found[name].take(user, one)


class Conversations:
    """Reads only."""

    def __init__(self, clients: Clients, keys: Keys, marks: Marks) -> None:
        self._link = clients.rest
        self._keys = keys
        self._marks = marks

    async def of(self, user: str, limit: int, now_ms: int) -> list[Talk]:
        """Up to `limit` talks of the user, newest first. Raises Unavailable."""
        marks = await self._marks.all(user)
        found: dict[str, Talk] = {}
        begin: bytes | str = "+"
        looked_at = 0
        while begin and looked_at < LOOKED_AT:
            begin, messages = await self._marks.skim(user, begin)
            looked_at += SKIMMED
            talks(user, messages, marks, now_ms, found)
        newest = list(found.values())[:limit]  # in the order of their newest messages
        for at in range(0, len(newest), TOGETHER):
            await self._fetch(user, newest[at : at + TOGETHER], now_ms)
        return [talk for talk in newest if talk.tail]  # what went meanwhile had a last message that is gone

    async def _fetch(self, user: str, some: list[Talk], now_ms: int) -> None:
        inbox = self._keys.of(user).inbox
        commands: list[tuple[Any, ...]] = [("XRANGE", inbox, talk.last.raw(), talk.last.raw()) for talk in some]
        for talk, rows in zip(some, unwrapped(await self._link.pipeline(commands)), strict=True):
            tail = read_entry(talk.last, rows[0][1], now_ms).tail if rows else None
            talk.tail = tail if isinstance(tail, bytes) else b""
