"""Watchers: which workers are told when a user comes or goes, and how users stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.core.errors import Unavailable
from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link, each, unwrapped


@dataclass(frozen=True, slots=True)
class Standing:
    """`last_seen`: by the server's clock (ms), of any device; None where there never was one. `guarded`: the user has
    blocked somebody. `hidden`: there may be more to see, but not for whoever asked.
    """

    online: bool
    last_seen: int | None
    guarded: bool = False
    hidden: bool = False


HIDDEN = Standing(online=False, last_seen=None, hidden=True)
"""What somebody sees whom the user has blocked."""


Seen = Standing | Unavailable
"""How one user stands; or that this one cannot be read."""


class Watchers:
    """Who watches, and what there is to see. What is asked for many is answered for each: one that cannot be read, or
    whose server is away, is nobody else's trouble.
    """

    def __init__(self, client: Link, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def watch(self, worker: str, users: Sequence[str], life: float) -> list[Seen]:
        """Has `worker` told of these for `life` seconds more; how each of them stands now. Raises Unavailable: of none
        is anything known.
        """
        calls: list[scripts.Call] = []
        for user in users:
            of = self._keys.of(user)
            calls.append((scripts.WATCH, (of.state, of.presence, of.devices, of.watchers), (worker, int(life * 1000))))
        return [_standing(row) for row in await scripts.call_all(self._client, calls)]

    async def glance(self, users: Sequence[str]) -> list[Seen]:
        """Whether these are online, by their `state`: a fraction of what `watch` costs. Raises Unavailable."""
        commands = [("HMGET", self._keys.of(user).state, "online", "blocks") for user in users]
        rows = each(await self._client.exchange(commands))
        return [row if isinstance(row, Unavailable) else Standing(row[0] == b"1", None, row[1] == b"1") for row in rows]

    async def standings(self, users: Sequence[str], asking: str) -> list[Standing]:
        """How these stand, as `asking` may see it. Raises Unavailable."""
        commands: list[tuple[str, bytes | str, *tuple[str, ...]]] = []
        for user in users:
            of = self._keys.of(user)
            commands += [("EXISTS", of.presence), ("HGETALL", of.devices), ("SISMEMBER", of.blocks, asking)]
        rows = unwrapped(await self._client.pipeline(commands))
        return [
            HIDDEN if blocked else Standing(bool(online), max(map(int, devices.values()), default=None))
            for online, devices, blocked in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        ]

    async def holders(self, users: Sequence[str]) -> list[set[str] | Unavailable]:
        """Per user the workers that hold one of its devices. Raises Unavailable."""
        replies = each(await self._client.exchange([("HGETALL", self._keys.of(user).presence) for user in users]))
        return [rows if isinstance(rows, Unavailable) else {_worker(row) for row in rows[1::2]} for rows in replies]


def _standing(row: Any) -> Seen:
    if isinstance(row, Unavailable):
        return row
    online, seen, guarded = row
    return Standing(bool(online), int(seen) or None, bool(guarded))


def _worker(row: bytes) -> str:
    return row.decode(errors="replace").partition("/")[0]
