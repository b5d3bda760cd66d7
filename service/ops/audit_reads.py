"""What the audit reads: users, workers and claims, in pipelines of bounded size. Writes nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from service.core.cursor import START, Cursor
from service.core.entries import Missing, read_entry
from service.core.erased import read_row
from service.core.errors import Unavailable
from service.ops.audit_laws import Entries, Stream, User, Worker, missing, read
from service.store.keys import Keys
from service.store.link import Command, Link

PAGE = 500
"""Keys, fields or members asked for at a time."""
ENTRIES = 100
"""Entries read at a time: each may be as large as a message may be."""

PARTS = 10
"""Answers for each user."""


async def ask(link: Link, *commands: Command) -> list[Any]:
    """The answers, in order; None for what is not there, or of another type than it should be, which is a finding of
    its own. Raises Unavailable for any other error.
    """
    answers = await link.pipeline(commands) if commands else []
    for answer in answers:
        if isinstance(answer, Exception) and not str(answer).startswith(("WRONGTYPE", "no such key")):
            raise Unavailable(f"{type(answer).__name__}: {answer}") from answer
    return [None if isinstance(answer, Exception) else answer for answer in answers]


def text(raw: Any) -> str:
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)


def texts(rows: Mapping[Any, Any] | None) -> dict[str, str]:
    return {text(name): text(value) for name, value in (rows or {}).items()}


# Workers.


async def counters(link: Link, keys: Keys) -> dict[str, str]:
    """Worker → heartbeat counter, or `dead`."""
    return texts((await ask(link, ("HGETALL", keys.workers())))[0])


async def workers(link: Link, keys: Keys, names: Sequence[str], counters: Mapping[str, str]) -> list[Worker]:
    """These, with the age of their heartbeats and which of their keys there are."""
    commands: list[Command] = [("TIME",)]
    for name in names:
        commands += [("HGET", keys.about(name), "beat_at"), ("EXISTS", keys.worker(name)), ("EXISTS", keys.about(name))]
    time, *rows = await ask(link, *commands)
    found = []
    for name, beat_at, stream, about in zip(names, rows[::3], rows[1::3], rows[2::3], strict=True):
        kinds = {kind for kind, there in (("worker", stream), ("about", about)) if there}
        age = None if beat_at is None else max(0, _ms(time) - int(beat_at))
        found.append(Worker(name, counters.get(name), age, frozenset(kinds)))
    return found


async def claims(link: Link, keys: Keys, worker: str) -> AsyncIterator[list[str]]:
    """The claims noted for a worker, page by page."""
    position: Any = None
    while position != 0:
        ((position, members),) = await ask(link, ("SSCAN", keys.claims(worker), position or 0, "COUNT", PAGE))
        position = int(position)
        if members:
            yield [text(member) for member in members]


async def held(link: Link, keys: Keys, members: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(worker, `user/device/session`) → what is off about that note; "" where the device is so claimed, or the note
    has been crossed out meanwhile.
    """
    parts = {member: member[1].split("/") for member in members}
    whole = [member for member, found in parts.items() if len(found) == 3]
    commands: list[Command] = [("HGET", keys.presence(parts[one][0]), parts[one][1]) for one in whole]
    commands += [("SISMEMBER", keys.claims(worker), member) for worker, member in whole]
    answers = await ask(link, *commands)
    found = {member: f"{member[1]!r} is no user/device/session" for member in members}
    for one, row, noted in zip(whole, answers[: len(whole)], answers[len(whole) :], strict=True):
        user, device, session = parts[one]
        fits = text(row or b"").startswith(f"{one[0]}/{session}/") or not noted
        there = text(row or b"nothing")
        found[one] = "" if fits else f"{one[1]} is noted, but {keys.presence(user)} has {there} for {device}"
    return found


# Users.


async def users(link: Link, keys: Keys, names: Sequence[str], *, entries: bool) -> list[User]:
    """All that is kept of these users. `entries`: every entry is read; else only where the count is off."""
    commands: list[Command] = [("TIME",)]
    for name in names:
        commands += _parts(keys, name)
    time, *rows = await ask(link, *commands)
    found = []
    for at, name in enumerate(names):
        found.append(await _user(link, keys, name, rows[at * PARTS : (at + 1) * PARTS], _ms(time), entries))
    return found


def _parts(keys: Keys, name: str) -> list[Command]:
    """What points at entries is read before what says which entry is the newest: that only grows."""
    inbox, seen_a, seen_b = keys.inbox(name), keys.seen(name, "a"), keys.seen(name, "b")
    return [
        ("HSCAN", seen_a, 0, "COUNT", PAGE),
        ("HSCAN", seen_b, 0, "COUNT", PAGE),
        ("HGETALL", keys.cursors(name)),
        ("HGETALL", keys.devices(name)),
        ("HGETALL", keys.presence(name)),
        ("TTL", inbox),
        ("TTL", seen_a),
        ("TTL", seen_b),
        ("XINFO", "STREAM", inbox),
        ("HGETALL", keys.state(name)),
    ]


async def _user(link: Link, keys: Keys, name: str, rows: Sequence[Any], now_ms: int, entries: bool) -> User:
    seen_a, seen_b, cursors, devices, presence, life, life_a, life_b, info, state = rows
    stream = None if info is None else _stream(info)
    held = texts(presence)
    seen: list[tuple[str, str, str]] = []
    for turn, scan in (("a", seen_a), ("b", seen_b)):
        seen += await _seen(link, keys, name, turn, scan, texts(state))
    whole = entries or (stream is not None and missing(stream) != 0)
    found = await _entries(link, keys.inbox(name), now_ms) if whole else None
    erased, unreadable = await _erased(link, keys.erased(name), stream)  # after the entries: what they miss is told
    return User(
        name=name,
        now_ms=now_ms,
        state=texts(state),
        stream=stream,
        cursors=texts(cursors),
        devices=texts(devices),
        presence=held,
        enlisted=await _enlisted(link, keys, name, held),
        lives={keys.inbox(name): life, keys.seen(name, "a"): life_a, keys.seen(name, "b"): life_b},
        seen=seen,
        entries=found,
        erased=erased,
        unreadable=unreadable,
    )


async def _erased(link: Link, key: str, stream: Stream | None) -> tuple[frozenset[int], list[str]]:
    """The numbers of what was deleted by its sender, and the rows that name none."""
    numbers: set[int] = set()
    unreadable: list[str] = []
    if stream is None or stream.deleted == START:
        return frozenset(), unreadable
    position = 0
    while True:
        (rows,) = await ask(link, ("ZRANGEBYSCORE", key, "-inf", "+inf", "LIMIT", position, PAGE))
        for row in rows or ():
            if (erased := read_row(row)) is None:
                unreadable.append(text(row))
            else:
                numbers.add(erased.cursor.seq)
        if len(rows or ()) < PAGE:
            return frozenset(numbers), unreadable
        position += PAGE


def _stream(reply: Sequence[Any]) -> Stream:
    """The reply is flat: name, value, name, value …"""
    info = dict(zip(map(text, reply[::2]), reply[1::2], strict=True))
    first, last = info["first-entry"], info["last-entry"]
    return Stream(
        length=int(info["length"]),
        first=Cursor.of(first[0]) if first else None,
        last=Cursor.of(last[0]) if last else None,
        newest_id=Cursor.of(info["last-generated-id"]),
        deleted=Cursor.of(info["max-deleted-entry-id"]),
        added=int(info["entries-added"]),
    )


async def _seen(
    link: Link, keys: Keys, name: str, turn: str, scan: Any, state: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """What of a dedupe hash points beyond the newest entry, or nowhere."""
    key, found, last = keys.seen(name, turn), [], state.get("last")
    position, rows = scan or (0, {})
    while True:
        found += [(key, *row) for row in texts(rows).items() if _beyond(row[1], last)]
        if not int(position):
            break
        ((position, rows), newest) = await ask(
            link, ("HSCAN", key, position, "COUNT", PAGE), ("HGET", keys.state(name), "last")
        )
        last = text(newest or b"")  # it grows while a large hash is read
    return [row for row in found if _beyond(row[2], last)]


def _beyond(value: str, last: str | None) -> bool:
    cursor = read(value.partition(" ")[0])
    return cursor is None or cursor > (read(last) or START)


async def _enlisted(link: Link, keys: Keys, name: str, presence: Mapping[str, str]) -> dict[str, bool]:
    """Whether the worker that holds a device has noted so. The note outlives the claim: only where it is missing and
    the claim is there afterwards, something is off.
    """
    commands: list[Command] = []
    for device, row in presence.items():
        worker, _, rest = row.partition("/")
        commands.append(("SISMEMBER", keys.claims(worker), f"{name}/{device}/{rest.partition('/')[0]}"))
    commands += [("HGET", keys.presence(name), device) for device in presence]
    answers = await ask(link, *commands)
    noted, rows = answers[: len(presence)], answers[len(presence) :]
    return {
        device: bool(found) or text(now or b"") != row
        for (device, row), found, now in zip(presence.items(), noted, rows, strict=True)
    }


async def _entries(link: Link, key: str, now_ms: int) -> Entries:
    found, before, position = Entries(), None, "-"
    while True:
        (rows,) = await ask(link, ("XRANGE", key, position, "+", "COUNT", ENTRIES))
        for id, fields in rows:
            cursor = Cursor.of(id)
            if before is not None and cursor.seq > before.seq + 1:
                found.holes.append((before, cursor))
            elif before is not None and cursor.seq <= before.seq:
                found.disorder.append((before, cursor))
            tail = read_entry(cursor, fields, now_ms).tail
            if tail is Missing.EXPIRED:
                found.expired += 1
            elif tail is Missing.DELETED:
                found.unreadable.append(cursor)
            before = cursor
        if len(rows) < ENTRIES:
            return found
        position = f"({before}"


def _ms(time: tuple[int, int]) -> int:
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000
