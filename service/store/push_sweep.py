"""Users for whom something waits and who have no row in `push:{p}`: push was off then, or a server has lost it."""

import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from service.core.cursor import START, Cursor
from service.core.push import Told
from service.store.keys import Keys
from service.store.link import Link
from service.store.push import PushRows

KEYS = 200
"""Keys that one step looks at, so that no command takes long."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a round stands at one primary. `position` "0": at its end."""

    position: str
    reminded: int


class PushSweep:
    """Walks the states of all users, step by step. Everything raises Unavailable."""

    def __init__(self, client: Link, keys: Keys, rows: PushRows) -> None:
        self._client = client
        self._keys = keys
        self._rows = rows
        self._leads_until = 0.0  # by this process' clock

    async def lead(self, worker: str, life: float) -> bool:
        """Whether it is this worker that sweeps, for so many seconds from now on."""
        key, asked = self._keys.push_sweeper(), time.monotonic()
        how = "XX" if asked < self._leads_until else "NX"
        if not await self._client.run("SET", key, worker, how, "PX", max(1, int(life * 1000))):
            return False
        self._leads_until = asked + life
        return True

    async def primaries(self) -> list[tuple[str, Link, int]]:
        """Each by its address, with the number of its keys, about."""
        found = []
        for address, primary in await self._client.primaries():
            told: dict[str, Any] = await primary.run("INFO", "keyspace")
            found.append((address, primary, sum(int(one["keys"]) for one in told.values() if "keys" in one)))
        return found

    async def step(self, primary: Link, position: str) -> Step:
        """Looks at the next keys; who has something beyond `best` and was not told of it is looked into now. Counted
        are those who were told of nothing: the others' rows went because they knew.
        """
        match = f"{self._keys.state('*')[:-2]}*"
        at, keys = await primary.run("SCAN", position, "MATCH", match, "COUNT", KEYS)
        states = await self._client.pipeline([("HMGET", key, "last", "best", "pushed") for key in keys])
        found: dict[Waits, list[str]] = {one: [] for one in Waits}
        for key, state in zip(keys, states, strict=True):
            found[waits(state)].append(self._user(key))
        if more := found[Waits.MORE]:
            await self._rows.remind(more)
        untold = found[Waits.UNTOLD]
        return Step(_text(at), await self._rows.remind(untold) if untold else 0)

    def _user(self, key: bytes) -> str:
        return key.decode(errors="backslashreplace")[len(self._keys.state("")) - 1 : -1]


class Waits(Enum):
    """What a state says about what may have to be told."""

    NOTHING = "nothing"
    UNTOLD = "untold"
    MORE = "more"  # there is more than was told of, and that may be gone


def waits(state: Any) -> Waits:
    """By `last`, `best`, `pushed`. Nothing where that cannot be read, which is for `inboxd audit` to name."""
    try:
        last, best = (Cursor.of(raw) if raw else START for raw in state[:2])
        told = Told.of(state[2])
    except (TypeError, ValueError):
        return Waits.NOTHING
    if last <= best or (told is not None and told.covers(best, last)):
        return Waits.NOTHING
    return Waits.UNTOLD if told is None or told.best != best else Waits.MORE


def _text(position: Any) -> str:
    return position.decode() if isinstance(position, bytes) else str(position)
