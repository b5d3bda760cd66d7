"""What the scripted server remembers: a log for each user, cursors of devices, ids that were accepted. Pure."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.cursors import START, Cursor

Frame = dict[str, Any]

FIRST_MS = 1_795_350_000_000
LOGGED = frozenset({"message", "receipt", "read", "edit", "delete", "react", "group", "deleted"})
"""Kinds of entries that an application handles one by one. A gap is another matter, and unknown kinds pass by."""
SENT = frozenset({"message", "edit", "delete", "react"})
"""Kinds of which each is what somebody sent."""


class RefusedError(Exception):
    """What was asked for is refused with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fingerprint(body: Any) -> str:
    """Equal for equal JSON values; key order does not count."""
    return json.dumps(body, sort_keys=True, ensure_ascii=False)


def identity(frame: Frame) -> tuple[str, str, str]:
    """`type/who/id`, by which clients drop repeats. What stands for an erased message is the same entry still."""
    names = ("group",) if frame["type"] == "group" else ("from", "by", "group")
    who = next((str(frame[name]) for name in names if frame.get(name)), "")
    return "message" if frame["type"] == "deleted" else str(frame["type"]), who, str(frame.get("id"))


@dataclass
class Entry:
    """`gone`: why it does not come any more; None while it does. `was`: a message, before it was erased."""

    cursor: Cursor
    frame: Frame
    gone: str | None = None
    was: Frame | None = None

    @property
    def is_logged(self) -> bool:
        return self.frame["type"] in LOGGED

    def erase(self) -> None:
        """`deleted` stands where the message was."""
        self.was = self.was or self.frame
        kept = ("id", "from", "to", "group", "seq", "cursor", "ts")
        self.frame = {"type": "deleted"} | {name: self.was[name] for name in kept if name in self.was}


@dataclass
class Inbox:
    """One user's. `generations`: what it held before each time it lost its tail."""

    user: str
    entries: list[Entry] = field(default_factory=list)
    last: Cursor = START
    seen: dict[tuple[str, str], tuple[Cursor, str]] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    generations: list[list[Entry]] = field(default_factory=list)
    reads: dict[str, Cursor | int] = field(default_factory=dict)

    def holds(self, cursor: Cursor) -> bool:
        """Whether a device may stand there: at the beginning, or at an entry."""
        return cursor == START or any(entry.cursor == cursor for entry in self.entries)

    def stored(self, device: str) -> Cursor:
        return self.cursors.get(device, START)

    def ack(self, device: str, upto: Cursor) -> None:
        self.cursors[device] = max(self.stored(device), upto)

    def after(self, position: Cursor) -> Entry | Frame | None:
        """What comes next for a device that stands at `position`: an entry, a gap, or nothing yet."""
        coming = itertools.dropwhile(lambda entry: entry.cursor <= position, self.entries)
        first = next(coming, None)
        if first is None or first.gone is None:
            return first
        run = [first, *itertools.takewhile(lambda entry: entry.gone == first.gone, coming)]
        return {
            "type": "gap",
            "after": str(position),
            "cursor": str(run[-1].cursor),
            "missing": len(run),
            "reason": first.gone,
        }

    def pending(self, position: Cursor) -> int:
        return sum(entry.cursor > position for entry in self.entries)

    def lose(self, entries: Iterable[Entry], reason: str) -> None:
        """These will not come any more; a gap stands for them."""
        for entry in entries:
            entry.gone = reason

    def rewind(self, keep: int) -> None:
        """Loses everything behind the first `keep` entries, and the memory of it: other messages may get its place."""
        self.generations.append(list(self.entries))
        lost = self.entries[keep:]
        del self.entries[keep:]
        self.last = self.entries[-1].cursor if self.entries else START
        for entry in lost:
            self.seen.pop((str(entry.frame.get("from")), str(entry.frame.get("id"))), None)
        for device, cursor in self.cursors.items():
            self.cursors[device] = min(cursor, self.last)

    def messages(self) -> list[Frame]:
        """Erased ones, too, as they were."""
        return [frame for frame in self.sent() if frame["type"] == "message"]

    def sent(self) -> list[Frame]:
        """Messages and their changes, as they were put."""
        frames = [entry.was or entry.frame for entry in self.entries]
        return [frame for frame in frames if frame["type"] in SENT]

    def of_message(self, sender: str, id: str) -> Entry | None:
        wanted = ("message", sender, id)
        return next((entry for entry in self.entries if identity(entry.frame) == wanted), None)


@dataclass
class Group:
    """`log`: every numbered entry; `answers`: of sends that were accepted, by sender and id, with what they said."""

    members: list[str]
    log: list[Frame] = field(default_factory=list)
    answers: dict[tuple[str, str], tuple[Frame, str]] = field(default_factory=dict)

    def numbered(self, frame: Frame) -> Frame:
        self.log.append({**frame, "seq": len(self.log) + 1})
        return self.log[-1]


class Inboxes:
    """All of them. The clock ticks once for each entry, so that a test can set it back (`ms`)."""

    def __init__(self) -> None:
        self.ms = FIRST_MS
        self.own_copies = False
        self.refusing: dict[str, str] = {}  # recipient → the code it is refused with
        self.groups: dict[str, Group] = {}
        self._by_user: dict[str, Inbox] = {}

    def of(self, user: str) -> Inbox:
        return self._by_user.setdefault(user, Inbox(user))

    def put(self, user: str, frame: Frame) -> Cursor:
        """An entry of any type; its cursor."""
        self.ms += 1
        inbox = self.of(user)
        inbox.last = Cursor(max(self.ms, inbox.last.ms), inbox.last.seq + 1)
        inbox.entries.append(Entry(inbox.last, {**frame, "cursor": str(inbox.last), "ts": inbox.last.ms}))
        return inbox.last

    def held(self, place: str) -> list[Frame]:
        """What was sent to a user, or to `#group`."""
        if place.startswith("#"):
            return [frame for frame in self.groups[place[1:]].log if frame["type"] in SENT]
        return [frame for frame in self.of(place).sent() if "group" not in frame]

    # What somebody sends: messages, edits, deletions, reactions

    def accept(self, sender: str, asked: Frame) -> Frame:
        """The `accepted` frame. Raises RefusedError where nobody takes it."""
        return self._to_group(sender, asked) if "group" in asked else self._to_users(sender, asked)

    def _to_users(self, sender: str, asked: Frame) -> Frame:
        names = [asked["to"]] if isinstance(asked["to"], str) else asked["to"]
        rows = [self._deliver(sender, asked, name, names) for name in names]
        refused = [row["error"] for row in rows if "error" in row]
        if len(refused) == len(rows):
            raise RefusedError(refused[0])
        duplicate = all(row.pop("duplicate", True) for row in rows)
        if self.own_copies and sender not in names:
            self._copy(sender, asked)
        taken = next(row for row in rows if "cursor" in row)
        ts = Cursor.parse(taken["cursor"]).ms
        return accepted(asked["id"], ts, duplicate=duplicate, recipients=rows)

    def _deliver(self, sender: str, asked: Frame, name: str, names: list[str]) -> Frame:
        inbox, print_ = self.of(name), said(asked)
        if known := inbox.seen.get((sender, asked["id"])):
            if known[1] != print_:
                return {"to": name, "error": "id_reused"}
            return {"to": name, "cursor": str(known[0]), "duplicate": True}
        if code := self.refusing.get(name):
            return {"to": name, "error": code}
        target = self._target(sender, asked, inbox)
        if asked["type"] != "send" and target is None:
            return {"to": name, "error": "no_such_message"}
        if asked["type"] == "delete":
            self._erase(sender, asked["target"], inbox, self.of(sender))
        to: Any = names if name == sender and len(names) > 1 else name
        cursor = self.put(name, {**entry_of(sender, asked), "to": to})
        inbox.seen[sender, asked["id"]] = (cursor, print_)
        return {"to": name, "cursor": str(cursor), "duplicate": False}

    def _target(self, sender: str, asked: Frame, inbox: Inbox) -> Entry | None:
        """The message that is changed, where its recipient or the one who changes it has it."""
        if "target" not in asked:
            return None
        author = asked.get("target_from", sender)
        return inbox.of_message(author, asked["target"]) or self.of(sender).of_message(author, asked["target"])

    def _erase(self, sender: str, target: str, *inboxes: Inbox) -> None:
        for inbox in inboxes:
            if entry := inbox.of_message(sender, target):
                entry.erase()

    def _copy(self, sender: str, asked: Frame) -> None:
        inbox = self.of(sender)
        if (sender, asked["id"]) not in inbox.seen:
            cursor = self.put(sender, {**entry_of(sender, asked), "to": asked["to"]})
            inbox.seen[sender, asked["id"]] = (cursor, said(asked))

    # Groups

    def gather(self, group: str, *members: str) -> None:
        """Makes a group; the first one is its owner."""
        self.groups[group] = Group(list(members))
        self.tell_group(group, "created", members[0], members[0], name="The " + group)

    def tell_group(self, group: str, event: str, user: str, by: str, **more: Any) -> None:
        """An event, numbered with the messages."""
        frame = {"type": "group", "group": group, "event": event, "user": user, "by": by, **more}
        frame["id"] = f"{group}:{len(self.groups[group].log) + 1}"
        self._put_all(group, frame)

    def _put_all(self, group: str, frame: Frame) -> list[str]:
        """Those who do not take it."""
        numbered = self.groups[group].numbered(frame)
        refused = [member for member in self.groups[group].members if member in self.refusing]
        for member in self.groups[group].members:
            if member not in refused:
                self.put(member, numbered)
        return refused

    def _to_group(self, sender: str, asked: Frame) -> Frame:
        group = self.groups.get(asked["group"])
        if group is None or sender not in group.members:
            raise RefusedError("no_such_group")
        if known := group.answers.get((sender, asked["id"])):
            if known[1] != said(asked):
                raise RefusedError("id_reused")
            return {**known[0], "duplicate": True}
        if asked["type"] != "send" and self._target(sender, asked, self.of(sender)) is None:
            raise RefusedError("no_such_message")
        if asked["type"] == "delete":
            self._erase(sender, asked["target"], *map(self.of, group.members))
        refused = self._put_all(asked["group"], {**entry_of(sender, asked), "group": asked["group"]})
        more: Frame = {"group": asked["group"], "seq": len(group.log), "members": len(group.members)}
        more |= {"refused": len(refused)} if refused else {}
        answer = accepted(asked["id"], self.ms, duplicate=False, **more)
        group.answers[sender, asked["id"]] = (answer, said(asked))
        return answer

    # Reading

    def read(self, user: str, asked: Frame) -> None:
        """Puts the `read` entry where this one goes further. Raises RefusedError."""
        inbox, upto = self.of(user), asked["upto"]
        if "group" in asked:
            group = self.groups.get(asked["group"])
            if group is None or user not in group.members:
                raise RefusedError("no_such_group")
            if not 1 <= upto <= len(group.log):
                raise RefusedError("no_such_message")
            key, place, id = f"#{asked['group']}", upto, f"read:{asked['group']}:{upto}"
        else:
            found = inbox.of_message(asked["from"], upto)
            if found is None:
                raise RefusedError("no_such_message")
            key, place, id = asked["from"], found.cursor, f"read:{upto}"
        if key not in inbox.reads or place > inbox.reads[key]:
            inbox.reads[key] = place
            self.put(user, {**asked, "id": id})


def entry_of(sender: str, asked: Frame) -> Frame:
    """What stands in inboxes, but for whom it is to."""
    if asked["type"] == "send":
        return {"type": "message", "id": asked["id"], "from": sender, "body": asked["body"]}
    kept: Frame = {name: asked[name] for name in ("type", "id", "target", "body") if name in asked}
    return {**kept, "from": sender, "target_from": asked.get("target_from", sender)}


def said(asked: Frame) -> str:
    """What two sends of one id must agree in."""
    return fingerprint([asked.get(name) for name in ("type", "body", "target", "target_from")])


def accepted(id: str, ts: int, **more: Any) -> Frame:
    return {"type": "accepted", "id": id, "ts": ts, "durability": "fsynced", **more}
