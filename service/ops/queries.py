"""Questions to the keys: which workers live, what waits for a user, who is online and where.

Read-only. Every question costs a fixed number of round trips, and what could be long is read up to a limit.
Errors of the connection come as they do everywhere in the store (`Unavailable`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.core.cursor import START, Cursor
from service.store.keys import Keys
from service.store.link import Link, unwrapped
from service.store.worker_stream import CANARY

LAG_PAGE = 100
"""So many entries beyond its position are counted for a worker; where there are more, its stream's length."""

DEAD = b"dead"

Command = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One living identity. None: not told (yet).

    `heartbeat_age_ms` is by the server's clock; `lag` counts the entries of its stream that it has yet to
    read, None when the stream is gone.
    """

    worker: str
    host: str | None
    pid: int | None
    version: str | None
    connections: int | None
    heartbeat_age_ms: int | None
    lag: int | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """`cursor`: what it has acked; `behind`: entries after it; `last_seen`: ms; `worker`: None if offline."""

    device: str
    cursor: str
    behind: int
    last_seen: int | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class InboxView:
    """`length`: entries kept; `pending`: entries that none of its devices has acked."""

    user: str
    last: str
    floor: str
    length: int
    pending: int
    devices: list[DeviceView]


@dataclass(frozen=True, slots=True)
class OnlineView:
    """One connected device, as presence and the worker's claims agree."""

    user: str
    device: str
    worker: str
    session: str
    attempt: str


@dataclass(frozen=True, slots=True)
class EntryView:
    """One entry as it is stored: the stream's id and its fields as text."""

    cursor: str
    fields: dict[str, str]


async def workers(client: Link, keys: Keys) -> list[WorkerView]:
    """Every worker that is not marked `dead`, by name. Three round trips."""
    rows, (seconds, micros) = await _ask(client, ("HGETALL", keys.workers()), ("TIME",))
    names = sorted(name.decode() for name, beat in rows.items() if beat != DEAD)
    if not names:
        return []
    abouts = dict(zip(names, await _ask(client, *(("HGETALL", keys.about(name)) for name in names)), strict=True))
    lags = await _lags(client, keys, {name: about.get(b"position") or b"0-0" for name, about in abouts.items()})
    now = seconds * 1000 + micros // 1000
    return [_worker_view(name, abouts[name], now, lags.get(name)) for name in names]


async def retired(client: Link, keys: Keys) -> list[str]:
    """Identities marked `dead` that are not swept yet; they never come back."""
    (rows,) = await _ask(client, ("HGETALL", keys.workers()))
    return sorted(name.decode() for name, beat in rows.items() if beat == DEAD)


async def _lags(client: Link, keys: Keys, positions: Mapping[str, bytes]) -> dict[str, int]:
    """Entries beyond each position. A long stream is not fetched to be counted: its length stands in."""
    commands: list[Command] = []
    for name, position in positions.items():
        stream = keys.worker(name)
        commands += [
            ("EXISTS", stream),
            ("XLEN", stream),
            ("XRANGE", stream, b"(" + position, "+", "COUNT", LAG_PAGE),
        ]
    answers = await _ask(client, *commands)
    rows = zip(positions, answers[::3], answers[1::3], answers[2::3], strict=True)
    return {name: _lag(page, length) for name, exists, length, page in rows if exists}


def _lag(page: list[Any], length: int) -> int:
    """A worker tells its position and then sings its canary: that one, as the newest, is no arrears."""
    if len(page) == LAG_PAGE:
        return length
    at_rest = bool(page) and list(page[-1][1]) == [CANARY.encode()]
    return len(page) - at_rest


def _worker_view(name: str, about: Mapping[bytes, bytes], now: int, lag: int | None) -> WorkerView:
    beat_at = _number(about.get(b"beat_at"))
    return WorkerView(
        worker=name,
        host=_text(about.get(b"host")),
        pid=_number(about.get(b"pid")),
        version=_text(about.get(b"version")),
        connections=_number(about.get(b"connections")),
        heartbeat_age_ms=None if beat_at is None else max(0, now - beat_at),
        lag=lag,
    )


async def inbox(client: Link, keys: Keys, user: str) -> InboxView | None:
    """One user's inbox and devices; None for a user nobody has written to or connected as. One round trip."""
    state, length, cursors, seen, presence = await _ask(
        client,
        ("HGETALL", keys.state(user)),
        ("XLEN", keys.inbox(user)),
        ("HGETALL", keys.cursors(user)),
        ("HGETALL", keys.devices(user)),
        ("HGETALL", keys.presence(user)),
    )
    if not (state or length or cursors or seen or presence):
        return None
    last = Cursor.of(state.get(b"last", START.raw()))
    best = Cursor.of(state.get(b"best", START.raw()))
    return InboxView(
        user=user,
        last=str(last),
        floor=state.get(b"floor", START.raw()).decode(),
        length=length,
        pending=max(0, last.seq - best.seq),
        devices=[
            _device_view(device, last, cursors.get(device, START.raw()), seen.get(device), presence.get(device))
            for device in sorted({*cursors, *seen, *presence})
        ],
    )


def _device_view(device: bytes, last: Cursor, cursor: bytes, seen: bytes | None, claim: bytes | None) -> DeviceView:
    return DeviceView(
        device=device.decode(),
        cursor=cursor.decode(),
        behind=max(0, last.seq - Cursor.of(cursor).seq),
        last_seen=_number(seen),
        worker=None if claim is None else claim.decode().split("/", 1)[0],
    )


async def entries(client: Link, keys: Keys, user: str, newest: int) -> list[EntryView]:
    """The `newest` entries of an inbox, oldest of them first."""
    (page,) = await _ask(client, ("XREVRANGE", keys.inbox(user), "+", "-", "COUNT", newest))
    return [
        EntryView(cursor.decode(), {name.decode(): _loose(value) for name, value in fields.items()})
        for cursor, fields in reversed(page)
    ]


async def online(client: Link, keys: Keys, names: Iterable[str], limit: int) -> list[OnlineView]:
    """Who is connected to these workers, at most `limit` devices.

    A worker's claims are a little more than the truth (added before the claim, removed after the release),
    so each is held against presence.
    """
    claims: list[tuple[str, str, str, str]] = []
    for name in names:
        claims += await _claims(client, keys, name, limit - len(claims))
    if not claims:
        return []
    rows = await _ask(client, *(("HGET", keys.presence(user), device) for user, device, *_ in claims))
    found = []
    for (user, device, session, worker), row in zip(claims, rows, strict=True):
        held = (row or b"").decode().split("/")
        if held[:2] == [worker, session]:
            found.append(OnlineView(user, device, worker, session, held[2]))
    return sorted(found, key=lambda view: (view.user, view.device))


async def _claims(client: Link, keys: Keys, worker: str, limit: int) -> list[tuple[str, str, str, str]]:
    found: set[bytes] = set()
    position = 0
    while len(found) < limit:
        ((position, members),) = await _ask(client, ("SSCAN", keys.claims(worker), position, "COUNT", 1000))
        found.update(members)
        if not position:
            break
    rows = (member.decode().split("/") for member in sorted(found)[:limit])
    return [(row[0], row[1], row[2], worker) for row in rows]


async def _ask(client: Link, *commands: Command) -> list[Any]:
    """The answers, in order. Raises Unavailable where one of them is an error."""
    return unwrapped(await client.pipeline(list(commands))) if commands else []


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else _loose(raw)


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)


def _loose(raw: bytes) -> str:
    """Bytes that should be UTF-8; what is not is shown as an escape rather than hidden by an error."""
    return raw.decode("utf-8", "backslashreplace")
