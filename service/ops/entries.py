"""What an entry of any kind says, in one line for an operator: as a frame has it, or as the stream does."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from service.ops.show import body_text, printable

Frame = Mapping[str, Any]


def loads(text: str) -> Any:
    """A body; what is no JSON (somebody else wrote it) is shown as the text it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def framed(fields: Mapping[str, str]) -> dict[str, Any]:
    """Stream fields, named as a frame names them."""
    frame: dict[str, Any] = {"type": fields.get("kind"), **{name: fields[name] for name in fields if name != "kind"}}
    if "receipt" in frame:
        frame["kind"] = frame.pop("receipt")
    if "body" in frame:
        frame["body"] = loads(frame["body"])
    if "to" in frame and "," in frame["to"]:
        frame["to"] = frame["to"].split(",")
    return frame


def origin(frame: Frame) -> str:
    """Whose doing it is."""
    return str(frame.get("by") or frame.get("from") or "")


def place(frame: Frame, user: str = "") -> str:
    """Where it went: users, or `#group/number`; `user`: where it says nothing."""
    if "group" in frame:
        return f"#{frame['group']}/{frame['seq']}" if "seq" in frame else f"#{frame['group']}"
    to = frame.get("to", user)
    return ",".join(map(str, to)) if isinstance(to, list) else str(to)


def said(frame: Frame) -> str:
    """What it says, printable: of a message its body."""
    saying = _SAYINGS.get(str(frame.get("type")))
    return printable(saying(frame)) if saying else ("" if "body" not in frame else body_text(frame["body"]))


def _reaction(frame: Frame) -> str:
    whose = f"{frame.get('target_from')}'s {frame.get('target')}"
    if frame.get("body") is None:
        return f"takes back what it said of {whose}"
    return f"says of {whose}: {body_text(frame['body'])}"


def _event(frame: Frame) -> str:
    user, by, name = frame.get("user"), frame.get("by"), frame.get("name")
    what = str(frame.get("event"))
    what += f" as {name}" if name is not None else ""
    return what if user == by else f"{what}: {user}"


_SAYINGS: dict[str, Callable[[Frame], str]] = {
    "edit": lambda frame: f"{frame.get('target')} says instead: {body_text(frame.get('body'))}",
    "delete": lambda frame: f"{frame.get('target')} is deleted",
    "deleted": lambda frame: f"{frame.get('id')} was here, and is deleted",
    "react": _reaction,
    "receipt": lambda frame: f"{frame.get('target')} is {frame.get('kind')}",
    "read": lambda frame: f"has read {frame.get('from') or place(frame)} up to {frame.get('upto')}",
    "group": _event,
}
