"""What a client must keep to, judged frame by frame. Pure. A breach raises `ClientAtFaultError`.

The application's log is the witness for acks and cursors: `handled` answers which entries are in it by now. A client
writes it before it stores a cursor, so an ack or a `hello` that goes further than the log is at fault at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.clients.scripted.inboxes import LOGGED, Entry, Inbox, fingerprint, identity
from tests.support.cursors import START, Cursor

Frame = dict[str, Any]
Identity = tuple[str, str, str]

MOST_UNANSWERED = 64
MOST_WATCHED = 200
SMALL_BODY = 1024
ITEMS = frozenset({"send", "edit", "delete", "react"})
"""What is answered by `accepted` or `error` with its id, and kept in one order."""
STAY_AWAY = range(4500, 5000)
FIELDS: dict[str, tuple[set[str], set[str]]] = {  # type: (always there, sometimes there)
    "hello": ({"device"}, {"token", "cursor", "window", "attempt"}),
    "send": ({"id", "body"}, {"to", "group", "expires_in", "receipts"}),
    "edit": ({"id", "target", "body"}, {"to", "group", "target_from"}),
    "delete": ({"id", "target"}, {"to", "group", "target_from"}),
    "react": ({"id", "target", "body"}, {"to", "group", "target_from"}),
    "read": ({"upto"}, {"from", "group"}),
    "signal": ({"body"}, {"to", "group"}),
    "watch": ({"users"}, set()),
    "unwatch": ({"users"}, set()),
    "skip": ({"id"}, set()),
    "ack": ({"cursor"}, set()),
    "history": ({"ref"}, {"before", "after", "limit", "with", "group"}),
    "auth": ({"token"}, set()),
    "ping": (set(), {"ref"}),
}
ONE_OF = {**dict.fromkeys((*ITEMS, "signal"), ("to", "group")), "read": ("from", "group")}
NOT_BOTH = (("before", "after"), ("with", "group"))


class ClientAtFaultError(AssertionError):
    """The client broke a rule."""


def require(fine: bool, rule: str, frame: object) -> None:
    if not fine:
        raise ClientAtFaultError(f"{rule}: {str(frame)[:300]}")


@dataclass
class Send:
    """One item as the server has heard of it. `rank`: its place among all of this device. `rest`: kind and target."""

    rank: int
    to: Any
    body: str
    rest: list[Any]
    done: bool = False  # answered for good; it may come again whenever it is asked for
    sent_at: int = 0  # of all frames on this connection; 0: not on this one
    answered_at: int = 0


@dataclass
class Installation:
    """One device over all its connections and processes. `handled`: identities in the application's log by now."""

    inbox: Inbox
    name: str
    handled: Callable[[], set[Identity]] = set
    attempt: int = 0
    stays_away: int | None = None  # the close code for which none may come until the application asks for one
    token: str | None = None  # of the last hello
    sends: dict[str, Send] = field(default_factory=dict)
    received: set[Identity] = field(default_factory=set)
    reads: dict[str, Cursor | int] = field(default_factory=dict)  # how far it said
    hellos: int = 0

    def comes(self, frame: Frame) -> None:
        """After 4501 it may come once more, with another token."""
        fresh, self.token = frame.get("token") not in {None, self.token}, frame.get("token")
        if self.stays_away is not None:
            require(self.stays_away == 4501 and fresh, f"comes again after {self.stays_away}", frame)
            self.stays_away = 4503  # the second 4501 is the last

    def closed(self, code: int) -> None:
        if code in STAY_AWAY:
            self.stays_away = code

    def asked_to_connect(self) -> None:
        self.stays_away = None

    def given_up(self, id: str) -> None:
        """The application has discarded it, or it waits for the application's word."""
        if id in self.sends:
            self.sends[id].done = True

    def undone(self, entries: list[Entry], upto: Cursor) -> list[Entry]:
        """Entries up to a cursor that are not in the application's log, though they came, or could have come."""
        handled = self.handled()
        return [
            entry
            for entry in entries
            if entry.cursor <= upto and entry.is_logged and identity(entry.frame) not in handled
        ]


class Rules:
    """One connection."""

    def __init__(self, device: Installation | None = None) -> None:
        self.device = device
        self.hello: Frame | None = None
        self.welcomed = False
        self.start = START
        self.sent: dict[Cursor, Frame] = {}  # entries and gaps on this connection since the last rewound
        self.void: set[Cursor] = set()  # those before it
        self.acked = START
        self.on_the_way: list[str] = []
        self.unavailable: set[str] = set()  # ids the server said so of
        self.is_live = False
        self.watched: set[str] = set()
        self._ticks = 0

    # The client's frames

    def received(self, frame: Frame) -> None:
        kind = frame.get("type")
        require(kind in FIELDS, "a type the protocol does not have", frame)
        always, sometimes = FIELDS[str(kind)]
        names = set(frame) - {"type"}
        require(always <= names, f"{sorted(always - names)} missing", frame)
        require(names <= always | sometimes, f"{sorted(names - always - sometimes)} not in the protocol", frame)
        one_of = ONE_OF.get(str(kind), ())
        require(not one_of or sum(name in frame for name in one_of) == 1, f"not exactly one of {one_of}", frame)
        require(not any(names >= set(pair) for pair in NOT_BOTH), "two that exclude each other", frame)
        require((kind == "hello") == (self.hello is None), "hello first, and once", frame)
        require(kind == "hello" or self.welcomed, "before welcome", frame)
        handler = self._item if kind in ITEMS else getattr(self, f"_{kind}", None)
        if handler is not None:
            handler(frame)

    def judge_hello(self, device: Installation, frame: Frame) -> None:
        """`received` has seen it; now it is known whose it is."""
        self.device, attempt = device, frame.get("attempt")
        device.hellos += 1
        device.comes(frame)
        require(type(attempt) is int and attempt > device.attempt, f"attempt not above {device.attempt}", frame)
        device.attempt = frame["attempt"]
        for send in device.sends.values():
            send.sent_at = send.answered_at = 0
        cursor, inbox = Cursor.parse(frame.get("cursor") or str(START)), device.inbox
        require(inbox.holds(cursor) or bool(inbox.generations), "a cursor that was never given out", frame)
        if inbox.holds(cursor):  # else it stands in what was lost
            coming = [entry for entry in inbox.entries if entry.gone is None]
            missing = device.undone(coming, cursor)
            require(not missing, f"a cursor beyond what is handled ({missing[:1]})", frame)
        if not inbox.generations:  # after a loss what is handled may stand anywhere
            handled = device.handled()
            again = [entry for entry in inbox.entries if entry.cursor > cursor and identity(entry.frame) in handled]
            require(len(again) <= 1, f"a cursor below {len(again)} that are handled", frame)

    def _hello(self, frame: Frame) -> None:
        self.hello = frame
        window = frame.get("window", 256)
        require(type(window) is int and 1 <= window <= 1024, "window", frame)
        require(type(frame["device"]) is str, "device", frame)

    def _ack(self, frame: Frame) -> None:
        cursor = Cursor.parse(frame["cursor"])
        if cursor in self.void and cursor not in self.sent:
            return  # on its way while the server lost what it names
        require(cursor == self.start or cursor in self.sent, "acks what was not sent on this connection", frame)
        require(cursor >= self.acked, f"acks less than before ({self.acked})", frame)
        if cursor not in self.void:  # else it may have been on its way, too, and what stands there was sent again
            self.acked = cursor
        assert self.device is not None
        handled = self.device.handled()
        for place, entry in self.sent.items():
            missing = place <= cursor and entry["type"] in LOGGED and identity(entry) not in handled
            require(not missing, f"acks {cursor} before it is handled", entry)

    def _item(self, frame: Frame) -> None:
        id, to = frame["id"], [frame.get("to"), frame.get("group")]
        rest = [frame.get(name) for name in ("type", "target", "target_from", "receipts")]
        assert self.device is not None
        sends = self.device.sends
        require(id not in self.on_the_way, "the same id twice at a time", frame)
        send = sends.setdefault(id, Send(len(sends), to, fingerprint(frame.get("body")), rest))
        require(send.to == to, f"another recipient than the first time ({send.to})", frame)
        require(send.body == fingerprint(frame.get("body")), f"another body than the first time ({send.body})", frame)
        require(send.rest == rest, f"another kind or target than the first time ({send.rest})", frame)
        own = frame.get("target_from") in {None, self.device.inbox.user}
        require(own or frame["type"] == "react", "changes what another wrote", frame)
        small = frame["type"] != "react" or len(fingerprint(frame["body"]).encode()) <= SMALL_BODY
        require(small, "too large for a reaction", frame)
        if not send.done:
            self._judge_order(id, send, frame)
        send.done, send.sent_at = False, self._tick()
        self.on_the_way.append(id)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _judge_order(self, id: str, send: Send, frame: Frame) -> None:
        """What was sent before it and is still to go was sent on this connection; if this one comes again, then after
        this one was refused. (A client may send on while the refusal of what is before is under way.)
        """
        assert self.device is not None
        for name, one in self.device.sends.items():
            if one.rank < send.rank and not one.done and name not in self.on_the_way:
                require(one.sent_at > send.answered_at, f"{id} overtakes {name}", frame)

    def _read(self, frame: Frame) -> None:
        """Of what came to this device, and never less far than it said before."""
        assert self.device is not None
        group, upto = frame.get("group"), frame["upto"]
        require(type(upto) is (str if group is None else int), "upto is of the other kind", frame)
        if group is None:
            entry = self.device.inbox.of_message(frame["from"], upto)
            require(entry is not None or bool(self.device.inbox.generations), "reads what never came", frame)
            if entry is None:
                return  # it came, and is lost
            place: Any = entry.cursor
        else:
            place = upto
        key = str(frame.get("from") or f"#{group}")
        require(key not in self.device.reads or place >= self.device.reads[key], "reads less than before", frame)
        self.device.reads[key] = place

    def _signal(self, frame: Frame) -> None:
        require(self.is_live, "a signal while not live", frame)
        require(len(fingerprint(frame["body"]).encode()) <= SMALL_BODY, "too large for a signal", frame)

    def _watch(self, frame: Frame) -> None:
        self.watched |= set(frame["users"])
        require(bool(frame["users"]) and len(self.watched) <= MOST_WATCHED, "watches too many, or nobody", frame)

    def _unwatch(self, frame: Frame) -> None:
        require(set(frame["users"]) <= self.watched, "unwatches whom it does not watch", frame)
        self.watched -= set(frame["users"])

    def _skip(self, frame: Frame) -> None:
        require(frame["id"] in self.unavailable, "skips what did not fail as unavailable", frame)
        assert self.device is not None
        self.device.given_up(frame["id"])

    # The server's own

    def sends(self, frame: Frame) -> None:
        """What the server is about to write."""
        match frame.get("type"):
            case "welcome":
                self.welcomed, self.start = True, Cursor.parse(frame["cursor"])
                if self.device is not None:
                    self.device.stays_away = None
            case "live":
                self.is_live = True
            case "gap" if frame["reason"] == "rewound":
                self.void |= set(self.sent)
                self.sent.clear()
                self.acked = self.start = Cursor.parse(frame["cursor"])
                self.sent[self.start] = frame
                if self.device is not None:
                    self.device.reads.clear()
            case "accepted" | "error" if "id" in frame:
                self._answered(frame)
            case _ if "cursor" in frame:
                self.sent[Cursor.parse(frame["cursor"])] = frame
                if self.device is not None and frame["type"] != "gap":
                    self.device.received.add(identity(frame))

    def _answered(self, frame: Frame) -> None:
        id = frame["id"]
        if frame.get("code") == "unavailable":
            self.unavailable.add(id)
        if id not in self.on_the_way:
            return  # an answer that is repeated, or to nothing
        if frame.get("code") != "unavailable":
            self.unavailable.discard(id)
        self.on_the_way.remove(id)
        assert self.device is not None
        send = self.device.sends[id]
        send.answered_at, code = self._tick(), frame.get("code")
        send.done = frame["type"] == "accepted" or not frame["retryable"] or code == "inbox_full"
