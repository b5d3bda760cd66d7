"""What comes from the service, as the application sees it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Frame = dict[str, Any]
"""One JSON object of the wire; its fields are those of docs/protocol.md section 7."""

ENTRY_EVENTS = frozenset({"message", "receipt", "read", "edit", "delete", "react", "group", "gap", "deleted"})
"""Entries that are events of their own name. Others go to `entry`."""

CURSOR = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")

NEEDED = {
    "message": ("id", "from", "body", "cursor", "ts"),
    "gap": ("cursor",),
    "accepted": ("id", "ts"),
    "history": ("ref", "entries", "more"),
}
"""Fields without which a frame cannot be worked with."""


class MalformedError(ValueError):
    """Not a frame of this protocol."""


@dataclass(frozen=True)
class Message:
    """A message of one's own inbox. `sender` and `id` are its identity; `frame` is all of it as it came.

    `to`: the recipient, in one's own copies perhaps a list; None in a group. `ts`: Unix time in ms. `replay`: it was
    read from the inbox, not live. `cursor`: its position, only to be compared with others of this inbox.
    """

    id: str
    sender: str
    body: Any
    cursor: str
    ts: int
    to: str | list[str] | None = None
    group: str | None = None
    seq: int | None = None
    replay: bool = False
    frame: Frame = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, frame: Frame) -> "Message":
        """Raises KeyError for a frame that is no message."""
        return cls(
            frame["id"], frame["from"], frame["body"], frame["cursor"], frame["ts"],
            frame.get("to"), frame.get("group"), frame.get("seq"), frame.get("replay") is True, frame,
        )  # fmt: skip


@dataclass(frozen=True)
class Acceptance:
    """The message is in every recipient's inbox that has a `cursor`, as safe as `durability` says.

    `recipients`: objects with `to`, and `cursor` or `error`; for a group none, but `group`, `seq` (the number in the
    group), `members` (how many) and `refused` (of those, how many do not get it: their inbox is full). `ts`: Unix time
    in ms. `duplicate`: this id had been accepted before. `frame`: all of the answer.
    """

    id: str
    ts: int
    duplicate: bool
    durability: str
    recipients: list[Frame]
    frame: Frame = field(default_factory=dict, compare=False, repr=False)
    group: str | None = None
    seq: int | None = None
    members: int | None = None
    refused: int = 0

    @classmethod
    def of(cls, frame: Mapping[str, Any]) -> "Acceptance":
        """Of an `accepted` frame or an HTTP answer. Raises KeyError."""
        content = {name: value for name, value in frame.items() if name not in ("type", "status")}
        return cls(
            content["id"], content["ts"], content.get("duplicate", False), content.get("durability", ""),
            content.get("recipients", []), content,
            content.get("group"), content.get("seq"), content.get("members"), content.get("refused", 0),
        )  # fmt: skip


def identity(frame: Frame) -> str | None:
    """`type/who/id`; None for what has none, such as a gap. Repeats are known by this alone, never by position.

    `who`: whose message, change or word it is; of a group's event, and of a mark in a group, the group.
    """
    if frame.get("id") is None or frame["type"] == "gap":
        return None
    names = ("group",) if frame["type"] == "group" else ("from", "by", "group")
    who = next((frame[name] for name in names if frame.get(name)), "")
    return f"{frame['type']}/{who}/{frame['id']}"


def lines(data: str | bytes) -> Iterator[Frame]:
    """The objects of one WebSocket frame, one a line. Raises MalformedError at the first line that is none."""
    if not isinstance(data, str):
        raise MalformedError("a binary frame")
    for line in data.split("\n"):
        if line.strip():
            yield parsed(line)


def parsed(line: str) -> Frame:
    """Raises MalformedError."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise MalformedError("not JSON") from fault
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise MalformedError("not a frame")
    if "cursor" in frame and not CURSOR.fullmatch(str(frame["cursor"])):
        raise MalformedError("no cursor")
    if any(name not in frame for name in NEEDED.get(frame["type"], ())):
        raise MalformedError(f"a field of {frame['type']} is missing")
    return frame
