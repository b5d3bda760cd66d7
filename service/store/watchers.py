"""Watchers: which workers are told when a user comes or goes, and how users stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link, unwrapped


@dataclass(frozen=True, slots=True)
class Standing:
    """`last_seen`: by the server's clock (ms), of any device; None where there never was one. `guarded`: the user has
    blocked somebody.
    """

    online: bool
    last_seen: int | None
    guarded: bool = False


HIDDEN = Standing(online=False, last_seen=None)
"""What somebody sees whom the user has blocked."""


class Watchers:
    """Who watches, and what there is to see."""

    def __init__(self, client: Link, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def watch(self, worker: str, users: Sequence[str], life: float) -> list[Standing]:
        """Has `worker` told of these for `life` seconds more; how each of them stands now. Raises Unavailable."""
        calls: list[scripts.Call] = []
        for user in users:
            of = self._keys.of(user)
            calls.append((scripts.WATCH, (of.state, of.presence, of.devices, of.watchers), (worker, int(life * 1000))))
        rows = unwrapped(await scripts.call_all(self._client, calls))
        return [Standing(bool(online), int(seen) or None, bool(guarded)) for online, seen, guarded in rows]

    async def glance(self, users: Sequence[str]) -> list[Standing]:
        """Whether these are online, by their `state`: a fraction of what `watch` costs. Raises Unavailable."""
        rows = unwrapped(
            await self._client.pipeline([("HMGET", self._keys.of(user).state, "online", "blocks") for user in users])
        )
        return [Standing(online == b"1", None, blocks == b"1") for online, blocks in rows]

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

    async def holders(self, users: Sequence[str]) -> list[set[str]]:
        """Per user the workers that hold one of its devices. Raises Unavailable."""
        replies = unwrapped(await self._client.pipeline([("HGETALL", self._keys.of(user).presence) for user in users]))
        return [{row.decode().partition("/")[0] for row in rows.values()} for rows in replies]
