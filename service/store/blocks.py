"""Blocks: who may not send to a user, nor see whether it is online."""

from collections.abc import Sequence

from service.core.errors import ClientError, Unavailable
from service.store import scripts
from service.store.keys import Keys
from service.store.link import Link, each

MOST_BLOCKED = 10_000
"""Whom one user may block: a list that one answer can hold."""
SCAN_COUNT = 1000


class Blocks:
    """Sends look there by themselves (`append.lua`)."""

    def __init__(self, client: Link, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def block(self, user: str, whom: str) -> None:
        """From here on nothing that `whom` sends reaches `user`. Raises ClientError `too_many_blocks`, Unavailable: it
        may be so.
        """
        if await self._set(user, "block", whom) < 0:
            raise ClientError("too_many_blocks", f"{MOST_BLOCKED} are blocked, and this is none of them")

    async def unblock(self, user: str, whom: str) -> None:
        """Raises Unavailable: it may be so."""
        await self._set(user, "unblock", whom)

    async def _set(self, user: str, what: str, whom: str) -> int:
        of = self._keys.of(user)
        return int(await scripts.call(self._client, scripts.BLOCK, (of.state, of.blocks), (what, whom, MOST_BLOCKED)))

    async def of(self, user: str) -> list[str]:
        """Whom this user has blocked, in the order of their names. Raises Unavailable."""
        found: set[str] = set()
        position: int | None = None
        while position != 0:
            command = ("SSCAN", self._keys.of(user).blocks, position or 0, "COUNT", SCAN_COUNT)
            told, members = await self._client.run(*command)
            position = int(told)
            found |= {member.decode() for member in members}
        return sorted(found)

    async def between(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bool | Unavailable]:
        """Of each pair (user, whom) whether the user has blocked the other, as far as that user can be read. Raises
        Unavailable.
        """
        if not pairs:
            return {}
        commands = [("SISMEMBER", self._keys.of(user).blocks, whom) for user, whom in pairs]
        replies = each(await self._client.exchange(commands))
        return {
            pair: reply if isinstance(reply, Unavailable) else bool(reply)
            for pair, reply in zip(pairs, replies, strict=True)
        }
