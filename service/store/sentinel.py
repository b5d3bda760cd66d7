"""The primary of a Sentinel group: whoever most sentinels name, asked at every connect and every heartbeat."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.store.address import Address, Node
from service.store.link import Link, all_closed, translated
from service.store.majority import majority
from service.store.pool import Pool
from service.store.single import Single

ASK_TIMEOUT = 1.0
"""Seconds one sentinel has to answer."""


class Sentinels:
    """Asks all of them at once: one that is cut off from the others may name yesterday's primary."""

    def __init__(self, address: Address) -> None:
        tls = _ssl(address.options) if address.tls else {}
        self._group = address.group
        self._looking = asyncio.Lock()
        self._looked = -1.0
        self._named: Node | None = None
        pools = [
            Pool(
                connection_class=SSLConnection if address.tls else Connection,
                max_connections=1,
                host=host,
                port=port,
                socket_timeout=ASK_TIMEOUT,
                socket_connect_timeout=ASK_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                **address.sentinel_options,
                **tls,
            )
            for host, port in address.nodes
        ]
        self._clients = [redis.asyncio.Redis.from_pool(pool) for pool in pools]

    async def primary(self) -> Node:
        """All who wait share one look. Raises ConnectionError where nobody knows one."""
        came = time.monotonic()
        async with self._looking:
            if self._looked < came:
                self._looked = time.monotonic()
                self._named = None
                self._named = await majority([self._ask(client) for client in self._clients], 2 * ASK_TIMEOUT)
            named = self._named
        if named is None:
            raise redis.exceptions.ConnectionError(f"no sentinel names a primary of {self._group}")
        return named

    async def _ask(self, client: Any) -> Node | None:
        try:
            found = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._group)
        except (RedisError, OSError, TimeoutError):
            return None
        if not found:
            return None
        host, port = found
        return (host.decode() if isinstance(host, bytes) else str(host)), int(port)

    async def aclose(self) -> None:
        await all_closed(self._clients)


def _ssl(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}


class _ToPrimary(Connection):
    """Finds out whom to connect to every time, and makes sure that it is a primary."""

    def __init__(self, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(host="", port=0, **options)
        self._sentinels = sentinels

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.primary()
        await super()._connect()  # type: ignore[no-untyped-call]  # the library is typed in part

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE")
        role = (await self.read_response())[0]
        if role != b"master":
            raise redis.exceptions.ConnectionError(f"{self.host}:{self.port} is no primary yet")


class _ToPrimaryTls(_ToPrimary, SSLConnection):
    """The same over TLS."""


def connection_class(address: Address) -> type[_ToPrimary]:
    """For the pool of a client that always talks to the primary."""
    return _ToPrimaryTls if address.tls else _ToPrimary


class Primary(Single):
    """As `Single`; `primaries` looks whether the sentinels still name the server it is connected to."""

    def __init__(self, redis: Any, sentinels: Sentinels, followers: Sequence["Primary"] = ()) -> None:
        super().__init__(redis)
        self._sentinels = sentinels
        self._followers = followers
        self._named: Node | None = None

    async def primaries(self) -> list[tuple[str, Link]]:
        """After a failover that it has not noticed, all connections are made anew: the old primary, cut off, would go
        on answering. Raises Unavailable.
        """
        with translated():
            named = await self._sentinels.primary()
        if self._named not in (None, named):
            for one in (self, *self._followers):
                one.renew()
        self._named = named
        return [(f"{named[0]}:{named[1]}", self)]

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            await self._sentinels.aclose()
