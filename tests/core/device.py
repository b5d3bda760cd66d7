"""A device that believes nothing: holds every frame of a session against the protocol."""

from typing import Any

import orjson

from service.core.cursor import START, Cursor
from tests.core.inbox_model import Inbox


class Device:
    """What one device was told, over all its connections."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.received: set[str] = set()
        self.gaps: list[tuple[Cursor, Cursor]] = []
        self.position = START
        self.visited: list[Cursor] = []  # positions that can be resumed from
        self._window_bytes = 0
        self.connect(START, 1, 1)

    def connect(self, start: Cursor, window: int, window_bytes: int) -> None:
        """A new connection, whose replay was asked to begin after `start`."""
        self.asked = start
        self.window = window
        self._window_bytes = window_bytes
        self.sent: list[Cursor] = []  # entries and gaps of this connection, since the last rewind
        self.earlier: list[Cursor] = []  # those before it
        self.in_flight: list[tuple[Cursor, int]] = []
        self.welcomed = self.live = self.rewound = False
        self._rewound_now = False

    def take(self, raw: bytes) -> None:
        """One frame."""
        frame = orjson.loads(raw)
        kind = frame["type"]
        assert self.welcomed != (kind == "welcome"), "welcome is the first frame, and comes once"
        getattr(self, f"_{kind}")(frame)

    def ack(self, cursor: Cursor) -> None:
        """What the window must be from now on."""
        if self.rewound and cursor not in self.sent:
            return
        self.in_flight = [item for item in self.in_flight if item[0] > cursor]

    def knows(self, cursor: Cursor, id: str) -> bool:
        """Whether an entry was received, or told as a gap."""
        return id in self.received or any(after < cursor <= upto for after, upto in self.gaps)

    def _welcome(self, frame: dict[str, Any]) -> None:
        self.welcomed = True
        self.position = Cursor.parse(frame["cursor"])
        self._rewound_now = self.position != self.asked  # then the next frame must say so

    def _message(self, frame: dict[str, Any]) -> None:
        cursor = Cursor.parse(frame["cursor"])
        assert not self._rewound_now, "a replay that begins elsewhere begins with a gap"
        assert cursor > self.position, f"{cursor} after {self.position}"
        assert cursor.seq == self.position.seq + 1, f"a hole between {self.position} and {cursor}"
        assert self.inbox.ever[cursor] == frame["id"], "another message than the one with this cursor"
        self.received.add(frame["id"])
        tail = {name: frame[name] for name in ("type", "id", "from", "to", "body") if name in frame}
        self._advance(cursor, len(orjson.dumps(tail)))

    def _deleted(self, frame: dict[str, Any]) -> None:
        """Instead of a message that was erased, and only of one."""
        assert self.inbox.ever[Cursor.parse(frame["cursor"])] in self.inbox.gone, "a message that was never deleted"
        self._message(frame)

    def _gap(self, frame: dict[str, Any]) -> None:
        after, cursor = Cursor.parse(frame["after"]), Cursor.parse(frame["cursor"])
        if frame["reason"] == "rewound":
            self._rewind(after, cursor, frame["missing"])
            return
        assert not self._rewound_now, "a replay that begins elsewhere begins with a gap"
        assert after == self.position, f"a gap after {after}, but the last was {self.position}"
        assert cursor > after
        assert frame["missing"] == cursor.seq - after.seq > 0
        self.gaps.append((after, cursor))
        self._advance(cursor, 0)

    def _rewind(self, after: Cursor, cursor: Cursor, missing: object) -> None:
        assert missing is None
        assert after == (self.asked if self._rewound_now else self.position)
        assert not self._rewound_now or cursor == self.position
        self._rewound_now = False
        self.rewound = True
        self.earlier += self.sent
        self.sent, self.in_flight = [], []
        self._advance(cursor, 0)

    def _live(self, frame: dict[str, Any]) -> None:
        assert not self.live, "live comes once"
        assert Cursor.parse(frame["cursor"]) == self.position
        self.live = True

    def _advance(self, cursor: Cursor, size: int) -> None:
        self.position = cursor
        self.inbox.taken.add(cursor)
        self.visited.append(cursor)
        self.sent.append(cursor)
        self.in_flight.append((cursor, size))
        assert len(self.in_flight) <= self.window, "more entries than the window holds"
        total = sum(size for _, size in self.in_flight)
        assert total <= self._window_bytes or len(self.in_flight) == 1, "more bytes than the window holds"
