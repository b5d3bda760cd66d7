"""What `redis-cli` would print, for machines without it: a reply of RESP2 in its human form."""

from typing import Any

import redis

_NAMED = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}
_STATUSES = (b"OK", b"PONG")


def run(url: str, *words: str) -> str:
    """Runs one command line of `redis-cli` on the server of `url`."""
    with redis.Redis.from_url(url, protocol=2) as client:
        # Without the library's own reading of replies: their plain shape is what is shown.
        client.response_callbacks.clear()
        try:
            return render(client.execute_command(*words))
        except redis.ResponseError as error:
            return f"(error) {error}"


def render(reply: Any, indent: str = "") -> str:
    """`indent` stands before every line but the first."""
    if reply is None:
        return "(nil)"
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if isinstance(reply, bytes):
        return reply.decode() if reply in _STATUSES else _quoted(reply)
    if not reply:
        return "(empty array)"
    width = len(str(len(reply)))
    inner = indent + " " * (width + 2)
    rows = [f"{number:>{width}}) {render(item, inner)}" for number, item in enumerate(reply, 1)]
    return f"\n{indent}".join(rows)


def _quoted(text: bytes) -> str:
    shown = (_NAMED.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in text)
    return f'"{"".join(shown)}"'
