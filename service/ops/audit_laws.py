"""What must hold of the keys, judged here without I/O: the law of conservation, and what else belongs together."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.core.cursor import START, Cursor
from service.store.keys import Keys

Level = Literal["off", "note"]

DEAD = "dead"
NO_EXPIRY = -1  # what TTL says of a key that stays for good


@dataclass(frozen=True, slots=True)
class Finding:
    """`key` names where to look. `off`: this must not be; `note`: odd, but explained, or put right by itself."""

    key: str
    law: str
    found: str
    level: Level = "off"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the service was told, by which is judged. `retention`, `device_expiry`, `dead_after`: seconds."""

    keys: Keys
    max_pending: int
    retention: float
    device_expiry: float
    dead_after: float


@dataclass(frozen=True, slots=True)
class Stream:
    """An inbox as the server describes it. `newest_id`: of the newest entry there ever was; `deleted`: the newest that
    was ever deleted (XDEL), by a sender or by hand, else `START`; `added`: entries it was ever given, trimmed ones too.
    """

    length: int
    first: Cursor | None
    last: Cursor | None
    newest_id: Cursor
    deleted: Cursor
    added: int


@dataclass(slots=True)
class Entries:
    """What reading all entries of one inbox has shown. `holes`: the entries on both sides of each."""

    holes: list[tuple[Cursor, Cursor]] = field(default_factory=list)
    disorder: list[tuple[Cursor, Cursor]] = field(default_factory=list)
    unreadable: list[Cursor] = field(default_factory=list)
    expired: int = 0


@dataclass(frozen=True, slots=True)
class User:
    """All that is kept of one user. `enlisted`: whether the claim of a device stands in its worker's set; `lives`:
    key → TTL; `seen`: what of the dedupe hashes points beyond `last`, or nowhere: (key, field, value). `erased`: the
    numbers of messages that their senders have deleted; `unreadable`: what else stands among them.
    """

    name: str
    now_ms: int
    state: Mapping[str, str]
    stream: Stream | None
    cursors: Mapping[str, str]
    devices: Mapping[str, str]
    presence: Mapping[str, str]
    enlisted: Mapping[str, bool]
    lives: Mapping[str, int]
    seen: Sequence[tuple[str, str, str]] = ()
    entries: Entries | None = None
    erased: Collection[int] = frozenset()
    unreadable: Sequence[str] = ()

    @property
    def last(self) -> Cursor:
        return read(self.state.get("last")) or START


def read(text: str | None) -> Cursor | None:
    """A cursor; None where there is none, or what stands there is none."""
    try:
        return Cursor.parse(text or "")
    except ValueError:
        return None


def dropped(user: User) -> int:
    """How many entries went with an earlier stream of this inbox (retention), or with the only one."""
    return max(0, user.last.seq - user.stream.added) if user.stream else user.last.seq


def gone(stream: Stream) -> int:
    """The number up to which nothing is there any more."""
    return stream.first.seq - 1 if stream.first else stream.newest_id.seq


def missing(stream: Stream) -> int:
    """How many numbers between the first entry and the newest id have no entry."""
    return stream.newest_id.seq - gone(stream) - stream.length


def judge_user(user: User, counters: Mapping[str, str], asked: Asked) -> list[Finding]:
    """Pure: the same facts, the same findings. `counters`: worker → heartbeat counter, or `dead`."""
    return [
        *_conservation(user, asked),
        *_cursors(user, asked),
        *_presence(user, counters, asked.keys),
        *_dedupe(user),
        *_lives(user, asked.keys),
    ]


# Entries.


def _conservation(user: User, asked: Asked) -> Iterator[Finding]:
    """Numbers given out = dropped by retention + trimmed + deleted + present (expired ones among them)."""
    key, stream = asked.keys.inbox(user.name), user.stream
    if stream is None:
        age = (user.now_ms - user.last.ms) / 1000
        if user.last != START and age < asked.retention:
            yield Finding(
                key, "conservation", f"gone with all of {user.last.seq} entries, before its retention is over"
            )
        return
    if stream.newest_id != user.last:
        found = f"last is {user.state.get('last')}, but the newest id of the stream {stream.newest_id}"
        yield Finding(asked.keys.state(user.name), "last", found)
    if stream.added > stream.newest_id.seq:
        found = f"{stream.added} entries were added, with numbers up to {stream.newest_id.seq}"
        yield Finding(key, "conservation", found)
    yield from _newest(key, user, stream)
    yield from _trimmed(key, user, stream)
    yield from _between(key, user, stream)
    for row in user.unreadable:
        yield Finding(asked.keys.erased(user.name), "erased", f"{row!r} says of no message that it was deleted")


def _newest(key: str, user: User, stream: Stream) -> Iterator[Finding]:
    if stream.newest_id not in (stream.last, START):
        yield from _lost(key, (stream.last or START).seq + 1, stream.newest_id.seq, user, stream, "newest")


def _trimmed(key: str, user: User, stream: Stream) -> Iterator[Finding]:
    """Whether more is gone from the front than was allowed to: `state.trimmed` by itself, up to `floor` by hand."""
    if stream.first is None:
        return
    floor = read(user.state.get("floor")) or START
    allowed = max(_number(user.state.get("trimmed")) or 0, floor.seq, dropped(user))
    if gone(stream) > allowed:
        yield from _lost(key, allowed + 1, gone(stream), user, stream, "conservation")


def _between(key: str, user: User, stream: Stream) -> Iterator[Finding]:
    entries = user.entries
    if entries is None:
        return
    for before, after in entries.holes:
        yield from _lost(key, before.seq + 1, after.seq - 1, user, stream, "conservation")
    for before, after in entries.disorder:
        yield Finding(key, "order", f"entry {after} stands behind {before}")
    for cursor in entries.unreadable:
        yield Finding(key, "entry", f"entry {cursor} is not to be read: devices are told that it was deleted")


def _lost(key: str, first: int, last: int, user: User, stream: Stream, law: str) -> Iterator[Finding]:
    """What is missing of these numbers and was not deleted by its sender. The stream tells of one deletion only, the
    newest: where that was by hand, everything below may have been.
    """
    by_hand = 0 if stream.deleted.seq in user.erased else stream.deleted.seq
    for start, end in _unexplained(first, last, user.erased):
        which = f"entry {start} is" if start == end else f"entries {start} to {end} are"
        if end <= by_hand:
            yield Finding(key, "deleted", f"{which} gone, deleted by hand", "note")
        else:
            yield Finding(key, law, f"{which} missing: neither trimmed nor deleted")


def _unexplained(first: int, last: int, erased: Collection[int]) -> Iterator[tuple[int, int]]:
    """The runs of numbers from first to last that were not deleted by their senders."""
    start = first
    for number in [*sorted(number for number in erased if first <= number <= last), last + 1]:
        if number > start:
            yield start, number - 1
        start = number + 1


# Cursors.


def _cursors(user: User, asked: Asked) -> Iterator[Finding]:
    state, rows = asked.keys.state(user.name), asked.keys.cursors(user.name)
    named = [(rows, device, text) for device, text in user.cursors.items()]
    named += [(state, name, user.state[name]) for name in ("last", "best", "floor", "receipted") if name in user.state]
    for key, name, text in named:
        cursor = read(text)
        if cursor is None:
            yield Finding(key, "cursor", f"{name} is {text!r}, which is no cursor")
        elif cursor > user.last:
            yield Finding(key, "beyond last", f"{name} is {text}, the newest entry {user.last}")
    yield from _judged(user, state, asked)
    yield from _count(user, state, asked)


def _live(user: User, asked: Asked) -> dict[str, Cursor]:
    """The devices that have a say: seen lately, and not too far behind."""
    found = {}
    for device, text in user.cursors.items():
        cursor, seen = read(text), _number(user.devices.get(device))
        if cursor is None or seen is None:
            continue
        recent = user.now_ms - seen <= asked.device_expiry * 1000
        if recent and user.last.seq - cursor.seq <= asked.max_pending:
            found[device] = cursor
    return found


def _judged(user: User, key: str, asked: Asked) -> Iterator[Finding]:
    """No device that has a say stands before floor, or beyond best."""
    best, floor = read(user.state.get("best")) or START, read(user.state.get("floor")) or START
    if "judged" not in user.state and "best" in user.state:
        return  # a device has just come back from long silence: the next ack that moves judges anew
    if floor > best:
        yield Finding(key, "floor", f"floor is {floor}, best only {best}")
    for device, cursor in _live(user, asked).items():
        if cursor < floor:
            yield Finding(key, "floor", f"floor is {floor}, but {device} has acked up to {cursor} only")
        if cursor > best:
            yield Finding(key, "best", f"best is {best}, but {device} has acked up to {cursor}")


def _count(user: User, key: str, asked: Asked) -> Iterator[Finding]:
    text = user.state.get("devices", "0")
    count = _number(text)
    connected = [device for device in _live(user, asked) if device in user.presence]
    if count is None:
        yield Finding(key, "devices", f"devices is {text!r}, which is no number")
    elif not count and connected:
        yield Finding(key, "devices", f"devices is 0, but {connected[0]} is connected: it gets no own copies")
    elif user.cursors and count > len(user.cursors):
        found = f"devices is {count}, {len(user.cursors)} are known; counted anew when one of them connects"
        yield Finding(key, "devices", found, "note")


# Presence.


def _presence(user: User, counters: Mapping[str, str], keys: Keys) -> Iterator[Finding]:
    key = keys.presence(user.name)
    for device, row in user.presence.items():
        worker = row.partition("/")[0]
        if row.count("/") != 2:
            yield Finding(key, "claim", f"{device} is claimed by {row!r}, which is no claim")
        elif worker not in counters:
            yield Finding(key, "claim", f"{device} is claimed by {worker}, which is not in {keys.workers()}")
        elif counters[worker] == DEAD:
            yield Finding(key, "claim", f"{device} is claimed by {worker}, which is dead")
        elif not user.enlisted.get(device, False):
            found = f"{device} is claimed by {worker}, but not in {keys.claims(worker)}: a reaper would not find it"
            yield Finding(key, "claim", found)
    online = user.state.get("online", "0")
    if (online == "1") != bool(user.presence):
        found = f"online is {online}, with {len(user.presence)} devices connected"
        yield Finding(keys.state(user.name), "online", found)


# Dedupe, and how long keys live.


def _dedupe(user: User) -> Iterator[Finding]:
    for key, name, value in user.seen:
        yield Finding(key, "seen", f"{name} is {value!r}; the newest entry is {user.last}")


def _lives(user: User, keys: Keys) -> Iterator[Finding]:
    for key in (keys.inbox(user.name), keys.seen(user.name, "a"), keys.seen(user.name, "b")):
        if user.lives.get(key) == NO_EXPIRY:
            yield Finding(key, "life", "it would stay for good: no expiry is set")


# Workers.


@dataclass(frozen=True, slots=True)
class Worker:
    """`counter`: None where `workers` does not name it. `age_ms`: since its last heartbeat, None where it has told of
    none; `kinds`: which of its keys are there.
    """

    name: str
    counter: str | None
    age_ms: int | None
    kinds: frozenset[str]


def judge_worker(worker: Worker, asked: Asked) -> list[Finding]:
    """Pure, as `judge_user`."""
    keys = asked.keys
    of = {"worker": keys.worker, "claims": keys.claims, "about": keys.about}
    there = [of[kind](worker.name) for kind in sorted(worker.kinds)]
    if worker.counter is None:
        return [Finding(key, "no worker", f"{worker.name} is not in {keys.workers()}") for key in there]
    if worker.counter == DEAD:
        return [Finding(key, "dead worker", f"{worker.name} is dead; swept within an hour", "note") for key in there]
    found = []
    if worker.age_ms is None:
        found.append(Finding(keys.about(worker.name), "silent", "it never told of a heartbeat, and is not called dead"))
    elif worker.age_ms > 2 * asked.dead_after * 1000:
        age = f"its last heartbeat was {worker.age_ms / 1000:.0f} s ago, and nobody has called it dead"
        found.append(Finding(keys.about(worker.name), "silent", age))
    if "worker" not in worker.kinds:
        found.append(Finding(keys.worker(worker.name), "deaf", "it lives, but has no stream to hear hints from"))
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
