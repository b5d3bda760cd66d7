"""What a service must keep to on one WebSocket connection, judged frame by frame. Pure.

`Rules` is told everything that goes over the wire in its order and raises `RuleBrokenError` at the first
frame that the protocol forbids. What only shows at the end of a run (loss) is for `history`.
"""

from collections import Counter, deque
from typing import Any

from tests.support.cursors import START, Cursor

Frame = dict[str, Any]

DEFAULT_WINDOW = 256
MAX_IN_FLIGHT = 1_048_576
"""Bytes of unacked entries that the service may have under way on one connection."""

WELCOME = {"user", "device", "session", "worker", "cursor", "head", "pending", "window", "limits", "server"}
CHANGE = {"cursor", "id", "target", "target_from", "from", "ts"}
WHERE = {"to", "group", "seq", "replay"}
FIELDS: dict[str, tuple[set[str], set[str]]] = {  # type: (always there, sometimes there)
    "welcome": (WELCOME | {"ping_interval"}, set()),
    "message": ({"cursor", "id", "from", "body", "ts"}, {"to", "group", "seq", "replay"}),
    "edit": (CHANGE | {"body"}, WHERE),
    "delete": (CHANGE, WHERE),
    "react": (CHANGE | {"body"}, WHERE),
    "deleted": ({"cursor", "id", "from", "ts"}, WHERE),
    "group": ({"cursor", "id", "group", "seq", "event", "user", "by", "ts"}, {"name", "replay"}),
    "receipt": ({"cursor", "id", "target", "kind", "by", "ts"}, {"replay"}),
    "read": ({"cursor", "id", "upto", "ts"}, {"from", "group", "replay"}),
    "live": ({"cursor"}, set()),
    "accepted": ({"id", "ts", "duplicate", "durability"}, {"recipients", "group", "seq", "members", "refused"}),
    "gap": ({"after", "cursor", "missing", "reason"}, set()),
    "broadcast": ({"body", "ts"}, set()),
    "history": ({"entries", "more"}, {"ref"}),
    "authed": (set(), set()),
    "pong": (set(), {"ref"}),
    "error": (
        {"code", "message", "retryable"},
        {"id", "ref", "field", "from", "group", "upto", "retry_after", "recipients"},
    ),
    "closing": ({"reason", "reconnect_after_ms"}, set()),
    "signal": ({"from", "body", "ts"}, {"to", "group"}),
    "presence": ({"user", "status", "last_seen"}, set()),
}
ENTRIES = {"message", "edit", "delete", "react", "deleted", "receipt", "read", "group", "gap"}
"""What stands in the order of an inbox: it has a cursor, counts in the window and is acked."""
EVENTS = {"created", "joined", "left", "renamed", "deleted"}
GAP_REASONS = {"trimmed", "expired", "deleted", "rewound"}


class RuleBrokenError(AssertionError):
    """The service broke a rule of the protocol."""


def require(fine: bool, rule: str, frame: Frame) -> None:
    if not fine:
        raise RuleBrokenError(f"{rule}: {frame!r}")


def cursor_of(frame: Frame, name: str = "cursor") -> Cursor:
    try:
        return Cursor.parse(frame[name])
    except ValueError as error:
        raise RuleBrokenError(f"{error}: {frame!r}") from None


class Rules:
    """One connection of one device. `asked`: the cursor and window of its `hello`."""

    def __init__(self, user: str, device: str, cursor: str | None = None, window: int | None = None) -> None:
        self.user, self.device = user, device
        self.asked_cursor = None if cursor is None else Cursor.parse(cursor)
        self.window = window or DEFAULT_WINDOW
        self.welcome: Frame | None = None
        self.position = START  # of the last entry or gap that came
        self.rewound = False
        self.live = False
        self.closing = False
        self.in_flight: deque[tuple[Cursor, int]] = deque()  # unacked, with their sizes
        self.most_in_flight = 0
        self.asked: Counter[str] = Counter()  # answers still due, by the id of the send or skip
        self.pings = 0
        self.numbers: Counter[str] = Counter()  # group → the last that came

    # client → server

    def sent(self, frame: Frame) -> None:
        if frame["type"] == "ack":
            self._acked(Cursor.parse(frame["cursor"]))
        elif frame["type"] in {"send", "edit", "delete", "react", "skip"}:
            self.asked[str(frame.get("id"))] += 1
        elif frame["type"] == "ping":
            self.pings += 1

    def _acked(self, upto: Cursor) -> None:
        while self.in_flight and self.in_flight[0][0] <= upto:
            self.in_flight.popleft()

    # server → client

    def received(self, frame: Frame, size: int) -> None:
        """One object of a frame; `size` is that of its line in bytes."""
        kind = frame.get("type")
        require(kind in FIELDS, "a type the protocol does not have", frame)
        always, sometimes = FIELDS[str(kind)]
        names = set(frame) - {"type"}
        require(always <= names, f"{sorted(always - names)} missing", frame)
        require(names <= always | sometimes, f"{sorted(names - always - sometimes)} not in the protocol", frame)
        require(self.welcome is not None or kind in {"welcome", "error"}, "before welcome", frame)
        require(not self.closing or kind != "closing", "closing twice", frame)
        handler = getattr(self, f"_{kind}", None)
        if handler is not None:
            handler(frame, size)

    def _welcome(self, frame: Frame, _: int) -> None:
        require(self.welcome is None, "welcome twice", frame)
        require(frame["user"] == self.user and frame["device"] == self.device, "welcome of another", frame)
        require(frame["window"] == self.window, f"the window asked for is {self.window}", frame)
        cursor, head = cursor_of(frame), cursor_of(frame, "head")
        require(cursor <= head, "replay starts beyond the newest entry", frame)
        most = head.seq - cursor.seq
        require(isinstance(frame["pending"], int) and 0 <= frame["pending"] <= most, "pending", frame)
        require(isinstance(frame["limits"], dict), "limits are an object", frame)
        self.welcome, self.position = frame, cursor

    def _receipt(self, frame: Frame, size: int) -> None:
        require(frame["kind"] in {"delivered", "read"}, "an unknown kind of receipt", frame)
        require(frame["by"] != self.user, "a receipt for one's own reading", frame)
        require(frame["id"] == f"{frame['kind']}:{frame['target']}", "the id is derived", frame)
        self._next(frame, size)

    def _read(self, frame: Frame, size: int) -> None:
        require(("from" in frame) != ("group" in frame), "from or group", frame)
        require(type(frame["upto"]) is (int if "group" in frame else str), "upto: an id, or a number", frame)
        of = f"{frame['group']}:" if "group" in frame else ""
        require(frame["id"] == f"read:{of}{frame['upto']}", "the id is derived", frame)
        self._next(frame, size)

    def _next(self, frame: Frame, size: int) -> None:
        """An entry, and the next one."""
        cursor = cursor_of(frame)
        require(cursor > self.position, f"not beyond {self.position}", frame)
        require(cursor.seq == self.position.seq + 1, f"a hole after {self.position}", frame)
        require(type(frame["ts"]) is int and isinstance(frame["id"], str), "ts and id", frame)
        require(frame.get("replay", False) in {True, False}, "replay is true or false", frame)
        self._entry(frame, cursor, size)

    def _group(self, frame: Frame, size: int) -> None:
        require(frame["event"] in EVENTS, "an unknown event", frame)
        require(frame["id"] == f"{frame['group']}:{frame['seq']}", "the id is derived", frame)
        require("name" not in frame or frame["event"] in {"created", "renamed"}, "a name", frame)
        self._numbered(frame)
        self._next(frame, size)

    def _numbered(self, frame: Frame) -> None:
        """What stands in a group's order: its numbers only rise, whatever lies between them."""
        require(type(frame["seq"]) is int and "to" not in frame, "group and seq, and no to", frame)
        require(self.rewound or frame["seq"] > self.numbers[frame["group"]], "a group's number again", frame)
        self.numbers[frame["group"]] = frame["seq"]

    def _message(self, frame: Frame, size: int) -> None:
        require(("to" in frame) != ("group" in frame), "to, or group with seq", frame)
        if "group" in frame:
            self._numbered(frame)
            self._next(frame, size)
            return
        to = [frame["to"]] if isinstance(frame["to"], str) else frame["to"]
        require(self.user == frame["from"] or self.user in to, "somebody else's message", frame)
        self._next(frame, size)

    def _edit(self, frame: Frame, size: int) -> None:
        require(frame["target_from"] == frame["from"], "another's message changed", frame)
        self._message(frame, size)

    _delete = _edit
    _react = _deleted = _message

    def _gap(self, frame: Frame, size: int) -> None:
        require(frame["reason"] in GAP_REASONS, "an unknown reason", frame)
        cursor, after = cursor_of(frame), cursor_of(frame, "after")
        if frame["reason"] == "rewound":
            require(frame["missing"] is None, "nobody knows how many a rewound gap misses", frame)
            self.rewound = True
            self.in_flight.clear()
        else:
            require(after == self.position, f"a gap that does not begin at {self.position}", frame)
            require(cursor > after, "a gap that goes back", frame)
            require(frame["missing"] == cursor.seq - after.seq, "missing is the number of entries", frame)
        self._entry(frame, cursor, size)

    def _entry(self, frame: Frame, cursor: Cursor, size: int) -> None:
        self.position = cursor
        self.in_flight.append((cursor, size))
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        require(len(self.in_flight) <= self.window, f"more than {self.window} unacked entries", frame)
        waiting = sum(size for _, size in self.in_flight)
        fits = waiting <= MAX_IN_FLIGHT or len(self.in_flight) == 1
        require(fits, f"{waiting} bytes of unacked entries", {"cursor": frame["cursor"]})

    def _live(self, frame: Frame, _: int) -> None:
        require(not self.live, "live twice", frame)
        require(cursor_of(frame) == self.position, f"live, but the last entry was {self.position}", frame)
        self.live = True

    def _accepted(self, frame: Frame, _: int) -> None:
        self._answers(frame)
        require(isinstance(frame["duplicate"], bool), "duplicate is true or false", frame)
        require(("recipients" in frame) != ("group" in frame), "recipients, or group", frame)
        if "group" in frame:
            require(frame["seq"] > 0 and frame["members"] > 0, "a number, and how many members", frame)
            require("refused" not in frame or frame["refused"] > 0, "refused where somebody was", frame)
            return
        require(bool(frame["recipients"]), "accepted for nobody", frame)
        for one in frame["recipients"]:
            names = set(one) - {"duplicate"}
            require(names in ({"to", "cursor"}, {"to", "error"}), "to with cursor or error", frame)

    def _error(self, frame: Frame, _: int) -> None:
        require(isinstance(frame["retryable"], bool), "retryable is true or false", frame)
        if "id" in frame:
            self._answers(frame)

    def _answers(self, frame: Frame) -> None:
        require(self.asked[str(frame["id"])] > 0, "an answer nobody asked for", frame)
        self.asked[str(frame["id"])] -= 1

    def _pong(self, frame: Frame, _: int) -> None:
        self.pings -= 1
        require(self.pings >= 0, "a pong nobody asked for", frame)

    def _signal(self, frame: Frame, _: int) -> None:
        require(("to" in frame) != ("group" in frame), "to or group", frame)
        require(frame.get("to", self.user) == self.user, "somebody else's signal", frame)
        require(frame["from"] != self.user, "one's own signal", frame)
        require(type(frame["ts"]) is int, "ts", frame)

    def _presence(self, frame: Frame, _: int) -> None:
        require(frame["status"] in {"online", "offline"}, "status", frame)
        require(frame["last_seen"] is None or type(frame["last_seen"]) is int, "last_seen", frame)

    def _closing(self, frame: Frame, _: int) -> None:
        after = frame["reconnect_after_ms"]
        require(type(after) is int and after >= 0, "reconnect_after_ms", frame)
        self.closing = True
