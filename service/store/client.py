"""Connecting to the store: from settings to links.

A worker has several, because their failures differ: `write` has a connection (to each primary) for each batch that
may be under way; `read` serves one blocking reader (BLOCK shorter than its time-out, so that a black-holed network is
noticed in seconds); `beat` is never behind thousands of page reads; `rest` does everything else.
"""

from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.store.address import Kind, Node, parse
from service.store.cluster import Cluster, Slots
from service.store.link import Link, all_closed
from service.store.pool import Pool
from service.store.sentinel import Primary, Sentinels, connection_class
from service.store.single import Single

WRITE_CONNECTIONS = 2
"""One for each batch the committer has under way."""
REST_CONNECTIONS = 32
"""Most connections one worker opens to one server for everything but the blocking reader and the committer."""


class Settings(Protocol):
    """What the store needs to know of `service.config.Settings`."""

    @property
    def redis_url(self) -> str | None: ...
    @property
    def redis_timeout(self) -> float: ...


def connect(settings: Settings, name: str = "inboxd", connections: int = REST_CONNECTIONS) -> Link:
    """A link with bytes replies and no retries of its own. Opens nothing yet.

    Beyond `connections` callers wait for a free one, in turn, instead of failing.
    """
    return _Maker(settings).link(name, connections)


class Clients:
    """The links of one worker. `aclose` ends them."""

    def __init__(self, settings: Settings, name: str = "inboxd") -> None:
        maker = _Maker(settings)
        self.write = maker.link(f"{name}-write", WRITE_CONNECTIONS)
        self.read = maker.link(f"{name}-read", 1, stays=True)
        self.rest = maker.link(f"{name}-rest", REST_CONNECTIONS)
        # The last: it is the one that looks who the primary is, on behalf of the others.
        self.beat = maker.link(f"{name}-beat", 1)

    async def aclose(self) -> None:
        await all_closed((self.write, self.read, self.rest, self.beat))


class _Maker:
    """Links of one address, which share what is known about it."""

    def __init__(self, settings: Settings) -> None:
        self._address = parse(settings.redis_url)
        self._timeout = settings.redis_timeout
        self._slots = Slots(self._address.nodes, lambda node: self._node(node, "inboxd-slots", 1))
        self._primaries: list[Primary] = []

    def link(self, name: str, connections: int, *, stays: bool = False) -> Link:
        address = self._address
        if address.kind is Kind.CLUSTER:
            return Cluster(self._slots, lambda node: self._node(node, name, connections), self._timeout, stays=stays)
        if address.kind is Kind.SENTINEL:
            sentinels = Sentinels(address)
            pool = self._pool(name, connections, connection_class(address), sentinels=sentinels)
            primary = Primary(pool, sentinels, tuple(self._primaries))
            self._primaries.append(primary)
            return primary
        host, port = address.options.get("host", "127.0.0.1"), address.options.get("port", 6379)
        shown = address.options.get("path") or f"{host}:{port}"
        return Single(self._pool(name, connections, address.connection_class), str(shown))

    def _node(self, node: Node, name: str, connections: int) -> Single:
        host, port = node
        client = self._pool(name, connections, self._address.connection_class, host=host, port=port)
        return Single(client, f"{host}:{port}")

    def _pool(self, name: str, connections: int, made_of: type[Any], **more: Any) -> redis.asyncio.Redis:
        pool = Pool(
            connection_class=made_of,
            max_connections=connections,
            **{
                "socket_timeout": self._timeout,
                "socket_connect_timeout": min(2.0, self._timeout),
                "client_name": name,
                **self._address.options,
                **more,
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
                "legacy_responses": False,
            },
        )
        return redis.asyncio.Redis.from_pool(pool)
