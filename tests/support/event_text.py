"""Server-sent events, read as the WHATWG's HTML standard reads them (section 9.2.6), and more strictly. Pure."""

from dataclasses import dataclass


class TextBrokenError(AssertionError):
    """What no reader of event streams would make sense of, or all would pass over."""


@dataclass(frozen=True)
class Event:
    """`id`: what `Last-Event-ID` would say after it; "" before any."""

    type: str
    data: str
    id: str


class EventText:
    """Bytes in, events out. `retry`: the reconnection time in ms; `comments`: how many came; `id`: of `Last-Event-ID`.

    Stricter than a browser: lines end with a line feed, fields are known and written once each, an event has a type.
    """

    def __init__(self) -> None:
        self.retry: int | None = None
        self.comments = 0
        self.id = ""
        self._unread = b""
        self._next_id = ""
        self._fields: dict[str, str] = {}

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        found = []
        for line in lines:
            if b"\r" in line or b"\0" in line:
                raise TextBrokenError(f"a line end or NUL within a line: {line[:200]!r}")
            if (event := self._line(line.decode())) is not None:
                found.append(event)
        return found

    def end(self) -> None:
        """The stream is over: an event that is not whole is dropped by browsers."""
        if self._unread or self._fields:
            raise TextBrokenError(f"it ends within an event: {self._fields} {self._unread[:200]!r}")

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        name, colon, value = line.partition(":")
        if not colon or name not in ("id", "event", "data", "retry") or name in self._fields:
            raise TextBrokenError(f"not a field, or twice in one event: {line[:200]!r}")
        value = value.removeprefix(" ")
        self._fields[name] = value
        if name == "retry":
            if not value.isascii() or not value.isdigit():
                raise TextBrokenError(f"browsers pass over it: {line!r}")
            self.retry = int(value)
        if name == "id":
            self._next_id = value
        return None

    def _dispatch(self) -> Event | None:
        fields, self._fields = self._fields, {}
        self.id = self._next_id
        if not fields.get("data"):
            if "event" in fields or "id" in fields:
                raise TextBrokenError(f"an event without data reaches nobody: {fields}")
            return None
        if "event" not in fields:
            raise TextBrokenError(f"an event without a type: {fields}")
        return Event(fields["event"], fields["data"], self.id)
