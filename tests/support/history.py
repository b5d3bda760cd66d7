"""What was accepted against what was delivered, over a whole run. Pure.

A test tells a `History` every attempt to send, every acceptance and every delivery; `violations` then names
whatever a chat may never do, one line each:

- lost: accepted, but a device that was read to the end never got it and no gap told so;
- doubled: one message stands at two cursors of an inbox;
- reordered: a device saw cursors go back, or a sender's messages in another order than it sent them;
- hole: a `seq` that a device never saw and no gap covers, though it saw later ones;
- phantom: delivered, but never sent, or with another body, or two messages at one cursor;
- moved: accepted at another cursor than delivered.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.cursors import START, Cursor

Frame = dict[str, Any]
Identity = tuple[str, str]  # sender, id
Reader = tuple[str, str]  # user, device


@dataclass
class _Seen:
    """What one device was given: first deliveries and gaps in the order they came."""

    order: list[tuple[Cursor, Identity]] = field(default_factory=list)
    at: dict[Cursor, Identity] = field(default_factory=dict)
    gaps: list[tuple[Cursor, Cursor]] = field(default_factory=list)
    repeats: int = 0

    def covered(self, cursor: Cursor) -> bool:
        """Whether a gap told the device that this entry will not come."""
        return any(after < cursor <= upto for after, upto in self.gaps)


class History:
    """Collects a run. Only the sends told to it count, so tell it of all of one sender to one inbox."""

    def __init__(self) -> None:
        self.bodies: dict[Identity, Any] = {}
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.accepted_at: dict[str, dict[Identity, Cursor]] = defaultdict(dict)
        self.seen: dict[Reader, _Seen] = defaultdict(_Seen)
        self._faults: list[str] = []

    def attempted(self, sender: str, message_id: str, body: Any) -> None:
        """A send begins; repeating it is no second attempt."""
        if (sender, message_id) not in self.bodies:
            self.bodies[sender, message_id] = body
            self.sent[sender].append(message_id)

    def accepted(self, sender: str, message_id: str, recipient: str, cursor: str) -> None:
        """The service took the message for this recipient."""
        at, identity = Cursor.parse(cursor), (sender, message_id)
        was = self.accepted_at[recipient].setdefault(identity, at)
        if was != at:
            self._faults.append(f"doubled: {identity} was accepted for {recipient} at {was} and at {at}")

    def delivered(self, user: str, device: str, frame: Frame) -> None:
        """A device got a message, for the first time or again."""
        seen = self.seen[user, device]
        cursor, identity = Cursor.parse(frame["cursor"]), (frame["from"], frame["id"])
        if cursor in seen.at:
            seen.repeats += 1
            if seen.at[cursor] != identity:
                self._faults.append(f"phantom: {user} got {seen.at[cursor]} and {identity} at {cursor}")
            return
        if seen.order and cursor < seen.order[-1][0]:
            self._faults.append(f"reordered: {user}/{device} got {cursor} after {seen.order[-1][0]}")
        seen.at[cursor] = identity
        seen.order.append((cursor, identity))
        if identity not in self.bodies:
            self._faults.append(f"phantom: {user}/{device} got {identity}, which nobody sent")
        elif self.bodies[identity] != frame["body"]:
            self._faults.append(f"phantom: {user}/{device} got {identity} with another body")

    def gap(self, user: str, device: str, frame: Frame) -> None:
        """A device was told that entries will not come."""
        after, upto = Cursor.parse(frame["after"]), Cursor.parse(frame["cursor"])
        self.seen[user, device].gaps.append((after, upto))

    def violations(self, *complete: Reader) -> list[str]:
        """Everything wrong. `complete`: the devices that have read their inbox to the end."""
        return [
            *self._faults,
            *self._per_device(),
            *(line for reader in complete for line in self._lost(reader)),
        ]

    def missing(self, reader: Reader) -> int:
        """How many accepted messages a device still waits for."""
        return sum(1 for _ in self._lost(reader))

    def repeats(self, reader: Reader) -> int:
        """How many deliveries to a device were repeats."""
        return self.seen[reader].repeats

    def _lost(self, reader: Reader) -> Iterator[str]:
        seen = self.seen[reader]
        for identity, cursor in self.accepted_at[reader[0]].items():
            if cursor not in seen.at and not seen.covered(cursor):
                yield f"lost: {identity} was accepted at {cursor}, {'/'.join(reader)} never got it"

    def _per_device(self) -> Iterator[str]:
        for reader, seen in self.seen.items():
            yield from _doubled(reader, seen)
            yield from _holes(reader, seen)
            yield from self._moved(reader, seen)
            yield from self._senders_order(reader, seen)

    def _moved(self, reader: Reader, seen: _Seen) -> Iterator[str]:
        for cursor, identity in seen.order:
            told = self.accepted_at[reader[0]].get(identity, cursor)
            if told != cursor:
                yield f"moved: {identity} was accepted at {told}, {'/'.join(reader)} got it at {cursor}"

    def _senders_order(self, reader: Reader, seen: _Seen) -> Iterator[str]:
        place = {
            (sender, message_id): number for sender, ids in self.sent.items() for number, message_id in enumerate(ids)
        }
        latest: dict[str, Identity] = {}
        for cursor, identity in sorted(seen.order):
            before = latest.get(identity[0])
            if identity in place and before is not None and place[identity] < place[before]:
                yield f"reordered: {'/'.join(reader)} got {identity} at {cursor}, behind {before}"
            if identity in place:
                latest[identity[0]] = identity


def _doubled(reader: Reader, seen: _Seen) -> Iterator[str]:
    first: dict[Identity, Cursor] = {}
    for cursor, identity in seen.order:
        if identity in first:
            yield f"doubled: {'/'.join(reader)} got {identity} at {first[identity]} and at {cursor}"
        first.setdefault(identity, cursor)


def _holes(reader: Reader, seen: _Seen) -> Iterator[str]:
    before: Cursor | None = None
    for cursor in sorted(seen.at):
        # A device may begin anywhere; from there on nothing is left out.
        told = START if before is None else before
        for after, upto in sorted(seen.gaps):
            if after <= told < upto <= cursor:
                told = upto
        if before is not None and cursor.seq != told.seq + 1:
            yield f"hole: {'/'.join(reader)} got {cursor} after {before}"
        before = cursor
