"""Server-sent events: the same frames, as an `EventSource` reads them (WHATWG HTML, section 9.2).

`id:` is the cursor of an entry, `event:` the frame's type, `data:` the frame.
"""

import re
from typing import Any

import orjson

KEEP_ALIVE = b": keep-alive\n\n"
_TYPE = re.compile(rb'\{"type":"([a-z_]+)"')
_MARK = b',"cursor":"'
_NO_ENTRIES = ("welcome", "live")
"""They name a cursor, and are at none."""


def event(line: bytes) -> bytes:
    """One frame as one event."""
    found = _TYPE.match(line)
    kind = found[1].decode() if found else str(orjson.loads(line)["type"])
    head = f"event: {kind}\n"
    if kind == "closing":
        head = f"retry: {orjson.loads(line)['reconnect_after_ms']}\n{head}"
    elif (cursor := _cursor(kind, line)) is not None:
        head = f"id: {cursor}\n{head}"
    return b"%bdata: %b\n\n" % (head.encode(), _in_one_line(line))


def retry(ms: int) -> bytes:
    """How long a browser waits before it connects again; it acts on it without an event."""
    return b"retry: %d\n\n" % ms


def _cursor(kind: str, line: bytes) -> str | None:
    if kind == "message":  # nearly all are; its position is behind its body
        at = line.rindex(_MARK) + len(_MARK)
        return line[at : line.index(b'"', at)].decode()
    content: dict[str, Any] = orjson.loads(line)
    return content.get("cursor") if kind not in _NO_ENTRIES else None


def _in_one_line(line: bytes) -> bytes:
    """JSON has line ends only between its tokens; an operator may have put some there."""
    return line.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in line or b"\r" in line else line
