"""What may never happen to a chat, found in the history of a run. Pure.

`violations` names, one line each and the kind first:

- lost: accepted, or kept in the inbox to the end, but a device that read to the end never got it and no gap told so;
- doubled: one message stands at two cursors of an inbox;
- reordered: cursors went back, or a sender's messages stand in another order than it sent them;
- hole: a `seq` that a device never saw and no gap covers, though it saw later ones;
- phantom: delivered, but never sent, or to somebody else, with another body, or two messages at one cursor;
- early: delivered before anybody tried to send it;
- refused: every try was refused for certain, and it was delivered all the same;
- moved: accepted at another cursor than delivered;
- untrue: a receipt for what was never sent to that user, or what none of its devices had acked;
- untold: acked to the end by somebody, but its sender, who read to the end, never got a receipt that covers it;
- moved back: replay began before what the service was known to have stored, and nobody said `rewound`;
- moved ahead: replay began beyond everything that the device ever acked;
- gap: entries were given up where none may be; silent: history was lost, and a device that had seen it was not told;
- thrown out: a connection was closed for good though nobody had taken its place.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from scripts.chaos.cursors import START, Cursor
from scripts.chaos.devices import DeviceJudge
from scripts.chaos.history import (
    Accepted,
    Acked,
    Delivered,
    Ended,
    Hello,
    Identity,
    Kept,
    Mark,
    OfDevice,
    Reader,
    Record,
    Refused,
    Skipped,
    Told,
    Tried,
)

UNKNOWN_OUTCOME = {"unavailable", "internal"}
"""Refusals after which the message may be in all the same."""

OVER = "over"
"""The mark after which a scenario's fault does no more harm."""


@dataclass(frozen=True)
class Promise:
    """What a scenario may cost. `gaps`: the reasons that may be told. `may_rewind`: the server may lose its tail;
    with `accepted_stays` only what was not accepted yet. `copies_in_order`: the sender's own copies stand in the order
    of its sends (in a Cluster they are appended apart, and may not).
    """

    gaps: frozenset[str] = frozenset({"trimmed", "expired", "deleted", "rewound"})
    may_rewind: bool = False
    accepted_stays: bool = False
    copies_in_order: bool = True


ANY_GAP = Promise()
NOTHING_LOST = Promise(gaps=frozenset())
MAY_REWIND = Promise(gaps=frozenset({"rewound"}), may_rewind=True)
ACCEPTED_STAYS = Promise(gaps=frozenset({"rewound"}), may_rewind=True, accepted_stays=True)


@dataclass
class Sends:
    """All of the senders' side."""

    first: dict[Identity, tuple[int, Tried]] = field(default_factory=dict)  # with its place in the records
    tries: Counter[Identity] = field(default_factory=Counter)
    certain_refusals: Counter[Identity] = field(default_factory=Counter)
    order: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    given_up: set[Identity] = field(default_factory=set)
    accepted: dict[str, dict[Identity, Accepted]] = field(default_factory=lambda: defaultdict(dict))
    kept: dict[str, dict[Cursor, Identity]] = field(default_factory=lambda: defaultdict(dict))
    twice: list[str] = field(default_factory=list)
    late: set[tuple[str, Identity]] = field(default_factory=set)  # accepted when the fault was over
    over: bool = False

    def take(self, place: int, record: Record) -> None:
        if isinstance(record, Tried):
            self._tried(place, record)
        elif isinstance(record, Accepted):
            self._accepted(record)
        elif isinstance(record, Refused) and record.code not in UNKNOWN_OUTCOME:
            self.certain_refusals[record.identity] += 1
        elif isinstance(record, Skipped):
            self.given_up.add(record.identity)
        elif isinstance(record, Kept):
            self.kept[record.user][record.cursor] = record.identity
        elif isinstance(record, Mark) and record.what == OVER:
            self.over = True
            self.late.clear()

    def _tried(self, place: int, record: Tried) -> None:
        self.tries[record.identity] += 1
        if record.identity not in self.first:
            self.first[record.identity] = place, record
            self.order[record.sender][record.id] = len(self.order[record.sender])

    def _accepted(self, record: Accepted) -> None:
        if self.over:
            self.late.add((record.to, record.identity))
        was = self.accepted[record.to].setdefault(record.identity, record).cursor
        if was != record.cursor:
            self.twice.append(
                f"doubled: {record.identity} was accepted for {record.to} at {was} and at {record.cursor}"
            )

    def must_be_out(self, identity: Identity) -> bool:
        """Whether the service said of every try that it is in nobody's inbox."""
        return 0 < self.tries[identity] == self.certain_refusals[identity]


def violations(records: Collection[Record], complete: Iterable[Reader] = (), promise: Promise = ANY_GAP) -> list[str]:
    """Everything wrong. `complete`: the devices that have read their inbox to the end."""
    sends, devices = Sends(), dict[Reader, DeviceJudge]()
    for place, record in enumerate(records):
        sends.take(place, record)
        if isinstance(record, OfDevice):
            judge = devices.setdefault(record.reader, DeviceJudge(record.reader, promise.gaps, promise.may_rewind))
            judge.take(record)
    judges = [devices.setdefault(reader, DeviceJudge(reader, promise.gaps, promise.may_rewind)) for reader in complete]
    return [
        *sends.twice,
        *_deliveries(records, sends),
        *_thrown_out(records),
        *(() if promise.may_rewind else _untrue(records, sends)),
        *(line for judge in devices.values() for line in judge.faults),
        *(line for judge in devices.values() for line in (*judge.holes(), *_places(judge, sends, promise))),
        *_inboxes(() if promise.may_rewind else devices.values(), sends),
        *(line for judge in judges for line in _lost(judge, sends, promise)),
        *(line for judge in judges for line in _kept(judge, sends)),
    ]


def _deliveries(records: Iterable[Record], sends: Sends) -> Iterator[str]:
    """Each delivery by itself: was that ever sent, like this, to this one, before?"""
    for place, record in enumerate(records):
        if not isinstance(record, Delivered):
            continue
        who, what = f"{record.user}/{record.device}", record.identity
        if what not in sends.first:
            yield f"phantom: {who} got {what}, which nobody sent"
            continue
        tried_at, tried = sends.first[what]
        if tried_at > place:
            yield f"early: {who} got {what} before anybody sent it"
        if tried.body != record.body:
            yield f"phantom: {who} got {what} with another body"
        if tried.to and record.user not in (*tried.to, record.sender):
            yield f"phantom: {who} got {what}, which was for {', '.join(tried.to)}"
        if sends.must_be_out(what):
            yield f"refused: {who} got {what}, of which every try was refused"


def _untrue(records: Collection[Record], sends: Sends) -> Iterator[str]:
    """Each receipt by itself: was that message sent to whoever is said to have it, and acked there, before?"""
    where = _where(records)
    acked: dict[str, Cursor] = {}
    for place, record in enumerate(records):
        if isinstance(record, Acked | Hello) and record.cursor is not None:
            acked[record.user] = max(acked.get(record.user, START), record.cursor)
        if not isinstance(record, Told) or record.kind != "receipt":
            continue
        what, told = (record.user, record.target), f"{record.user}/{record.device} was told that {record.by} has"
        if what not in sends.first or sends.first[what][0] > place:
            yield f"untrue: {told} {record.target}, which was never sent"
            continue
        tried = sends.first[what][1]
        if tried.to and record.by not in tried.to:
            yield f"untrue: {told} {what}, which was for {', '.join(tried.to)}"
        cursor = where.get((record.by, what))
        if cursor is not None and record.by in acked and acked[record.by] < cursor:
            yield f"untrue: {told} {what}, but nobody there had acked {cursor}"


def _where(records: Iterable[Record]) -> dict[tuple[str, Identity], Cursor]:
    """(user, message) → where it lies there, as far as anybody was told."""
    found: dict[tuple[str, Identity], Cursor] = {}
    for record in records:
        if isinstance(record, Accepted):
            found[record.to, record.identity] = record.cursor
        elif isinstance(record, Delivered):
            found[record.user, record.identity] = record.cursor
    return found


def _thrown_out(records: Iterable[Record]) -> Iterator[str]:
    """Closes that tell a client to stay away are due to a successor only."""
    hellos: dict[Reader, list[Hello]] = defaultdict(list)
    for record in records:
        if isinstance(record, Hello):
            hellos[record.reader].append(record)
        elif isinstance(record, Ended) and record.code >= 4500:
            own = next((hello for hello in hellos[record.reader] if hello.session == record.session), None)
            rivals = [hello for hello in hellos[record.reader] if hello.session != record.session]
            if record.code != 4509 or not any(_beats(rival, own) for rival in rivals):
                yield f"thrown out: {record.user}/{record.device} {record.session} was closed with {record.code}"


def _beats(rival: Hello, own: Hello | None) -> bool:
    if own is None or not own.attempt or not rival.attempt:
        return True
    return rival.attempt >= own.attempt


def _places(judge: DeviceJudge, sends: Sends, promise: Promise) -> Iterator[str]:
    """Where a device got messages, against where they were accepted and in which order they were sent."""
    latest: dict[str, tuple[int, Identity]] = {}
    for cursor, identity in sorted(judge.seen.items()):
        told = sends.accepted[judge.reader[0]].get(identity)
        if told is not None and told.cursor != cursor:
            yield f"moved: {identity} was accepted at {told.cursor}, {judge.name} got it at {cursor}"
        number = sends.order.get(identity[0], {}).get(identity[1])
        copy = identity[0] == judge.reader[0] and not promise.copies_in_order
        if number is None or copy or identity in sends.given_up:
            continue
        before = latest.get(identity[0])
        if before is not None and number < before[0]:
            yield f"reordered: {judge.name} got {identity} at {cursor}, behind {before[1]}"
        latest[identity[0]] = number, identity


def _inboxes(judges: Iterable[DeviceJudge], sends: Sends) -> Iterator[str]:
    """All devices of a user and the inbox itself agree which message stands where."""
    at: dict[tuple[str, Cursor], Identity] = {}
    where: dict[tuple[str, Identity], Cursor] = {}
    facts = [(judge.reader[0], cursor, identity) for judge in judges for cursor, identity in judge.seen.items()]
    facts += [(user, cursor, identity) for user, kept in sends.kept.items() for cursor, identity in kept.items()]
    for user, cursor, identity in facts:
        if (other := at.setdefault((user, cursor), identity)) != identity:
            yield f"phantom: {user} has both {other} and {identity} at {cursor}"
        if (first := where.setdefault((user, identity), cursor)) != cursor:
            yield f"doubled: {user} has {identity} at {first} and at {cursor}"


def _lost(judge: DeviceJudge, sends: Sends, promise: Promise) -> Iterator[str]:
    kept = sends.kept[judge.reader[0]]
    for identity, record in sends.accepted[judge.reader[0]].items():
        if judge.has(record.cursor, identity):
            continue
        gone = kept.get(record.cursor) != identity
        if promise.may_rewind and not promise.accepted_stays and gone and (judge.reader[0], identity) not in sends.late:
            continue  # the server lost it, as it may; what a device had seen of that it was told
        yield f"lost: {identity} was accepted at {record.cursor}, {judge.name} never got it"


def _kept(judge: DeviceJudge, sends: Sends) -> Iterator[str]:
    for cursor, identity in sends.kept[judge.reader[0]].items():
        known = sends.accepted[judge.reader[0]].get(identity)
        accepted_here = known is not None and known.cursor == cursor
        if " " in identity[0] and cursor > judge.top:
            continue  # no message, and it came when the device had read to what was the end
        if not accepted_here and not judge.has(cursor, identity):
            yield f"lost: {identity} is kept at {cursor}, {judge.name} never got it"
    if sends.kept:
        for cursor, identity in judge.seen.items():
            if judge.may_rewind and sends.kept[judge.reader[0]].get(cursor) != identity:
                yield f"silent: {judge.name} got {identity} at {cursor}, which is gone, and was not told"


def lost_with_the_server(records: Iterable[Record]) -> set[tuple[str, Identity]]:
    """(recipient, message) of all that was accepted and is in the inbox no more."""
    sends = Sends()
    for place, record in enumerate(records):
        sends.take(place, record)
    return {
        (user, identity)
        for user, accepted in sends.accepted.items()
        for identity, record in accepted.items()
        if sends.kept[user].get(record.cursor) != identity
    }
