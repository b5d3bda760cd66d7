"""What goes wrong, and when: an ordered list of faults. Each is armed when the one before it has happened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Frame = dict[str, Any]


class When(StrEnum):
    BEFORE = "before"  # received and not looked at; or not written yet
    MID = "mid"  # half of the frame's bytes are written
    AFTER = "after"  # applied; or written


class What(StrEnum):
    CONNECT = "connect"  # a handshake (only BEFORE)
    HELLO = "hello"
    WELCOME = "welcome"
    ENTRY = "entry"
    LIVE = "live"
    ACK = "ack"
    SEND = "send"  # edits, deletions and reactions, too; AFTER: appended, and `accepted` not written yet
    READ = "read"  # AFTER: the `read` entry is in the inbox, and not written yet
    ACCEPTED = "accepted"


WRITTEN = (What.WELCOME, What.ENTRY, What.LIVE, What.ACCEPTED)
"""What the server writes; the rest it reads."""


@dataclass(frozen=True)
class Cut:
    """The TCP connection ends without a close frame: `rst`, or FIN."""

    rst: bool = False


@dataclass(frozen=True)
class Close:
    """With a close frame."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Silence:
    """Nothing is read or written any more; the connection stays."""


@dataclass(frozen=True)
class Delay:
    """The connection's own coroutine waits so many seconds: answers come late."""

    seconds: float


@dataclass(frozen=True)
class Repeat:
    """What was just written comes so many times again; of an entry, with those before it on this connection."""

    times: int = 1
    back: int = 1


@dataclass(frozen=True)
class Refuse:
    """This send and the next `span - 1` are answered with an error, `times` times each.

    `retry_after`: seconds, told with it.
    """

    code: str = "unavailable"
    times: int = 1
    span: int = 1
    retry_after: float | None = None


@dataclass(frozen=True)
class Say:
    """These frames are written, as they are."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Closing:
    """`closing` with a hint, then 1012."""

    reconnect_after_ms: int = 1


@dataclass(frozen=True)
class Framing:
    """From here on this connection's lines are bundled, or its frames split into fragments of so many bytes."""

    bundle: int = 1
    fragment: int = 0


@dataclass(frozen=True)
class Status:
    """The handshake is answered with this HTTP status."""

    code: int = 503


@dataclass(frozen=True)
class Do:
    """Anything else, such as killing the client just now."""

    what: Callable[[], object]


Action = Cut | Close | Silence | Delay | Repeat | Refuse | Say | Closing | Framing | Status | Do


@dataclass(frozen=True)
class Fault:
    """`nth`: counted from when this fault is armed, over connections."""

    when: When
    what: What
    action: Action
    nth: int = 1


@dataclass
class Script:
    """`left`: what has not happened yet. `done`: what has."""

    left: list[Fault] = field(default_factory=list)
    done: list[Fault] = field(default_factory=list)
    _count: int = 0

    def at(self, when: When, what: What) -> Action | None:
        """The action for now. Asked for each moment of each thing; an armed fault's are counted."""
        if not self.left or (self.left[0].when, self.left[0].what) != (when, what):
            return None
        self._count += 1
        if self._count < self.left[0].nth:
            return None
        self._count = 0
        self.done.append(self.left.pop(0))
        return self.done[-1].action
