"""How far conversations are read: said until the service's own `read` entry shows that it is stored. Pure.

Other devices read, too; whichever got further counts. Messages between two have no numbers, so of two ids the one that
this device handled later is further.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inboxd_client.frames import Frame
from inboxd_client.inbox import Inbox, place

PREFIX = "read/"
"""Of the names of what is stored."""


@dataclass(frozen=True)
class Read:
    """The newest of one conversation. `upto`: a message's id, in a group its number. `cursor`: that message's, where
    known. `stored`: the service has it.
    """

    group: str | None
    sender: str | None
    upto: str | int
    cursor: str | None = None
    stored: bool = False

    @property
    def name(self) -> str:
        """What it is kept under."""
        return f"{PREFIX}user/{self.sender}" if self.group is None else f"{PREFIX}group/{self.group}"

    @property
    def value(self) -> str:
        """What is kept."""
        return json.dumps([self.group, self.sender, self.upto, self.cursor, self.stored])

    @property
    def frame(self) -> Frame:
        """As it is said."""
        whose = {"from": self.sender} if self.group is None else {"group": self.group}
        return {"type": "read", **whose, "upto": self.upto}

    @property
    def identity(self) -> str:
        """Of the message between two, as the inbox knows it."""
        return f"message/{self.sender}/{self.upto}"


class Reads:
    """`values`: what is stored. `inbox`: knows which message was handled later."""

    def __init__(self, values: Mapping[str, str], inbox: Inbox) -> None:
        self._inbox = inbox
        kept = [Read(*json.loads(value)) for name, value in values.items() if name.startswith(PREFIX)]
        self._newest = {read.name: read for read in kept}

    def to_say(self) -> list[Read]:
        """What the service is not known to have."""
        return [read for read in self._newest.values() if not read.stored]

    def of_message(self, frame: Frame, me: str | None) -> Read | None:
        """What is to be said of it; None where as much was said before, and of one's own message between two.

        Raises ValueError for what is no message.
        """
        group, sender = frame.get("group"), frame.get("from")
        upto = frame.get("id") if group is None else frame.get("seq")
        if not isinstance(upto, str if group is None else int) or (group is None and not isinstance(sender, str)):
            raise ValueError("not a message: one as received, or an object with from and id, or with group and seq")
        if group is None and sender == me:
            return None
        read = Read(group, sender if group is None else None, upto, frame.get("cursor"))
        known = self._newest.get(read.name)
        return None if known is not None and self.reaches(known, read) else read

    def of_entry(self, frame: Frame) -> tuple[Read | None, Read] | None:
        """What a `read` entry changes: what is kept now, and what in its place. None: nothing."""
        if "upto" not in frame:
            return None
        entered = Read(frame.get("group"), frame.get("from"), frame["upto"], stored=True)
        known = self._newest.get(entered.name)
        if known is None:
            return None, entered
        if known.upto == entered.upto:
            return known, replace(known, stored=True)
        if self.reaches(entered, known) or (known.stored and not self.reaches(known, entered)):
            return known, entered
        return None

    def of_refusal(self, frame: Frame) -> tuple[Read, Read] | None:
        """What the service will never have: what is kept now, and what in its place. None: nothing of it is kept."""
        refused = Read(frame.get("group"), frame.get("from"), frame["upto"])
        known = self._newest.get(refused.name)
        if known is None or known.stored or known.upto != refused.upto:
            return None
        return known, replace(known, stored=True)

    def put(self, read: Read) -> None:
        """It is kept."""
        self._newest[read.name] = read

    def newest(self, name: str) -> Read | None:
        """What is kept under it."""
        return self._newest.get(name)

    def reaches(self, one: Read, other: Read) -> bool:
        """It is known that `one` is not before the other."""
        if isinstance(one.upto, int) and isinstance(other.upto, int):
            return one.upto >= other.upto
        if one.upto == other.upto:
            return True
        if one.cursor is not None and other.cursor is not None:
            return place(one.cursor) >= place(other.cursor)
        return self._inbox.handled_after(one.identity, other.identity)
