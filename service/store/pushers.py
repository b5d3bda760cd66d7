"""Where a user's devices can be reached through a push gateway: `pushers:{bob}`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from service.core.errors import ClientError
from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link


@dataclass(frozen=True, slots=True)
class Pusher:
    """One device, as a gateway wants it named. `since`: seconds since 1970."""

    app_id: str
    pushkey: str
    data: dict[str, Any]
    since: int

    def row(self) -> bytes:
        """As it is kept."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)


class Pushers:
    """Registering, reading and forgetting them. `most` of one user. Everything raises Unavailable."""

    def __init__(self, client: Link, keys: Keys, most: int) -> None:
        self._client = client
        self._keys = keys
        self._most = most

    async def put(self, user: str, device: str, pusher: Pusher) -> None:
        """Raises ClientError `too_many_devices`. Two at once may go one beyond that."""
        key = self._keys.pushers(user)
        if not await self._client.run("HEXISTS", key, device) and await self._client.run("HLEN", key) >= self._most:
            raise ClientError("too_many_devices", "as many devices have a pusher as a user may have")
        await self._client.run("HSET", key, device, pusher.row())

    async def get(self, user: str, device: str) -> Pusher | None:
        """None where there is none, or nothing that can be read."""
        return _pusher(await self._client.run("HGET", self._keys.pushers(user), device))

    async def of(self, user: str) -> dict[str, Pusher]:
        """Device → pusher."""
        rows = await self._client.run("HGETALL", self._keys.pushers(user))
        found = {device.decode(): _pusher(row) for device, row in rows.items()}
        return {device: pusher for device, pusher in found.items() if pusher is not None}

    async def delete(self, user: str, device: str) -> None:
        """Nothing happens where there is none."""
        await self._client.run("HDEL", self._keys.pushers(user), device)

    async def reject(self, user: str, pushers: Sequence[tuple[str, Pusher]]) -> int:
        """A gateway wants none of these any more; one that was registered anew meanwhile stays. How many went."""
        rows = [part for device, pusher in pushers for part in (device, pusher.row())]
        return int(await scripts.call(self._client, scripts.PUSH_REJECT, (self._keys.pushers(user),), rows))


def _pusher(row: bytes | None) -> Pusher | None:
    try:
        return None if row is None else Pusher(**orjson.loads(row))
    except (orjson.JSONDecodeError, TypeError):
        return None
