"""Where the server is: what `INBOXD_REDIS_URL` says, taken apart.

`redis://`, `rediss://` and `unix://` name one server; `redis+sentinel://h1:p,h2:p/name` the sentinels of a group and
its name; `redis+cluster://h1:p,h2:p` some nodes of a Cluster. `rediss+sentinel` and `rediss+cluster` speak TLS. User,
password and `?option=value` are those of the servers; what begins with `sentinel_` (`sentinel_username`,
`sentinel_password`) is for the sentinels.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url

DEFAULT = "redis://127.0.0.1:6379/0"
Node = tuple[str, int]
"""Host and port."""


class Kind(Enum):
    """What a URL leads to."""

    ONE = "one server"
    SENTINEL = "a group under Sentinel"
    CLUSTER = "a Cluster"


@dataclass(frozen=True)
class Address:
    """`nodes`: sentinels, or some nodes of a Cluster; () for one server. `options`: keywords of a connection."""

    kind: Kind
    nodes: tuple[Node, ...]
    group: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]
    connection_class: type[Connection] | type[UnixDomainSocketConnection]

    @property
    def tls(self) -> bool:
        return issubclass(self.connection_class, SSLConnection)


def parse(url: str | None) -> Address:
    """Raises ValueError, which shows nothing of the URL but its scheme: the rest may hold a password."""
    scheme, _, rest = (url or DEFAULT).partition("://")
    if "+" not in scheme:
        options: dict[str, Any] = dict(parse_url(f"{scheme}://{rest}"))
        return Address(Kind.ONE, (), "", options, {}, options.pop("connection_class", Connection))
    plain, _, kind = scheme.partition("+")
    authority, slash, path = rest.partition("/")
    login, at, hosts = authority.rpartition("@")
    if not slash:
        hosts, mark, query = hosts.partition("?")
        path = mark + query
    group, mark, query = path.partition("?")
    if kind == "sentinel" and not group:
        raise ValueError("a Sentinel URL names the group: redis+sentinel://h1:26379,h2:26379/name")
    shared: dict[str, Any] = dict(parse_url(f"{plain}://{login}{at}one/{mark}{query}"))
    shared.pop("host", None)
    nodes = tuple(_node(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",") if host)
    if not nodes:
        raise ValueError(f"a {scheme} URL names at least one host")
    own = {name.removeprefix("sentinel_"): shared.pop(name) for name in list(shared) if name.startswith("sentinel_")}
    chosen = Kind.SENTINEL if kind == "sentinel" else Kind.CLUSTER
    return Address(chosen, nodes, group, shared, own, shared.pop("connection_class", Connection))


def _node(text: str, default: int) -> Node:
    """`host`, `host:port` or `[v6]:port`."""
    host, _, port = text.rpartition(":") if text.rfind(":") > text.rfind("]") else (text, "", "")
    if port and not port.isdigit():
        raise ValueError("a port in the URL is no number")
    return host.strip("[]"), int(port) if port else default
