"""What a history amounted to. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from scripts.chaos.checker import OVER
from scripts.chaos.cursors import Cursor
from scripts.chaos.history import (
    Accepted,
    Closing,
    Delivered,
    Ended,
    Gap,
    Hello,
    Identity,
    Mark,
    Reader,
    Record,
    Refused,
    Skipped,
    Tried,
    Welcome,
)


@dataclass
class Figures:
    """Counts, and times in seconds. `slowest`, `recovered`, `reconnected`: of devices that want to be online always."""

    seconds: float = 0.0
    tried: int = 0  # messages
    repeated: int = 0  # tries beyond the first
    accepted: int = 0  # messages, each once for every recipient
    duplicates: int = 0
    skipped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    durability: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0  # first ones
    repeats: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0  # from acceptance to first delivery
    recovered: float | None = None  # from the end of the fault until all went well again
    reconnected: float | None = None  # beyond what `closing` asked to wait


def figures(records: Sequence[Record], steady: Collection[Reader]) -> Figures:
    """`steady`: the devices that want to be online all the time."""
    found = Figures(seconds=records[-1].at - records[0].at if records else 0.0)
    messages: set[Identity] = set()
    accepted: dict[tuple[str, Identity], float] = {}
    seen: set[tuple[Reader, Cursor]] = set()
    for record in records:
        if isinstance(record, Tried):
            found.repeated += record.identity in messages
            messages.add(record.identity)
        elif isinstance(record, Accepted):
            found.duplicates += record.duplicate
            found.durability[record.durability] += 1
            accepted.setdefault((record.to, record.identity), record.at)
        elif isinstance(record, Refused):
            found.refused[record.code] += 1
        elif isinstance(record, Delivered):
            again = (record.reader, record.cursor) in seen
            found.repeats += again
            seen.add((record.reader, record.cursor))
        else:
            _count(found, record)
    found.tried, found.accepted, found.deliveries = len(messages), len(accepted), len(seen)
    found.slowest = max(_delays(records, accepted, steady), default=0.0)
    found.recovered = _longest_recovery(records, steady)
    found.reconnected = max(_reconnections(records, steady), default=None)
    return found


def _count(found: Figures, record: Record) -> None:
    if isinstance(record, Gap):
        found.gaps[record.reason] += 1
    elif isinstance(record, Hello):
        found.connections += 1
    elif isinstance(record, Ended):
        found.ends[record.code] += 1
    elif isinstance(record, Skipped):
        found.skipped += 1


def _delays(
    records: Sequence[Record], accepted: dict[tuple[str, Identity], float], steady: Collection[Reader]
) -> Iterator[float]:
    seen: set[tuple[Reader, Cursor]] = set()
    for record in records:
        if isinstance(record, Delivered) and record.reader in steady and (record.reader, record.cursor) not in seen:
            seen.add((record.reader, record.cursor))
            yield record.at - accepted.get((record.user, record.identity), record.at)


def _reconnections(records: Sequence[Record], steady: Collection[Reader]) -> Iterator[float]:
    told: dict[Reader, Closing] = {}
    for record in records:
        if isinstance(record, Closing) and record.reader in steady:
            told[record.reader] = record
        elif isinstance(record, Welcome) and record.reader in told and told[record.reader].session != record.session:
            closing = told.pop(record.reader)
            yield record.at - closing.at - closing.reconnect_after


def recovered(records: Sequence[Record], steady: Collection[Reader]) -> float | None:
    """Seconds from the end of the latest fault until every sender had a new message accepted and every steady device
    got a new one; None: not yet, or there was no fault.
    """
    begin = next((place for place in reversed(range(len(records))) if _is_over(records[place])), None)
    if begin is None:
        return None
    senders = {record.sender for record in records[:begin] if isinstance(record, Accepted)}
    return _all_served(records[begin:], senders, steady)


def _longest_recovery(records: Sequence[Record], steady: Collection[Reader]) -> float | None:
    """As `recovered`, the longest of all faults. Through a next one, where that came sooner."""
    senders = {record.sender for record in records if isinstance(record, Accepted)}
    begins = [place for place, record in enumerate(records) if _is_over(record)]
    found = [_all_served(records[begin:], senders, steady) for begin in begins]
    return max((time for time in found if time is not None), default=None)


def _all_served(records: Sequence[Record], senders: Collection[str], steady: Collection[Reader]) -> float | None:
    fresh: set[Identity] = set()
    waiting: set[str | Reader] = {*senders, *steady}
    for record in records:
        if isinstance(record, Tried):
            fresh.add(record.identity)
        elif isinstance(record, Accepted) and record.identity in fresh:
            waiting.discard(record.sender)
        elif isinstance(record, Delivered) and record.identity in fresh:
            waiting.discard(record.reader)
        if not waiting:
            return record.at - records[0].at
    return None


def _is_over(record: Record) -> bool:
    return isinstance(record, Mark) and record.what == OVER
