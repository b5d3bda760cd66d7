"""What kind of servers these are, and whether their settings keep the promise that was asked for."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.core.errors import Refused, Unavailable
from service.store.address import Kind, parse
from service.store.client import Settings, connect
from service.store.durability import Level, ServerFacts, lacking, level
from service.store.link import Link, unavailable

OLDEST = (7, 0)
"""The oldest server version that has what the scripts use."""


class Wanted(Settings, Protocol):
    """Settings this page judges by."""

    @property
    def durability(self) -> str: ...


async def inspect(link: Link) -> ServerFacts:
    """Reads one server's live settings. Raises Unavailable."""
    wanted = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")
    info, rows = await link.pipeline([("INFO",), ("CONFIG", "GET", *wanted)])
    if isinstance(info, Exception):
        raise unavailable(info)
    flat = [part.decode() for part in rows] if isinstance(rows, list) else []  # an error where it is denied
    return server_facts(info, dict(zip(flat[::2], flat[1::2], strict=True)))


def server_facts(info: Mapping[str, Any], config: Mapping[str, str]) -> ServerFacts:
    """What `INFO` and `CONFIG GET` say ({}: it may not be asked)."""
    flavour = "valkey" if "valkey_version" in info else "redis"
    return ServerFacts(
        flavour=flavour,
        version=str(info[f"{flavour}_version"]),
        role=str(info.get("role", "")),
        history=str(info.get("master_replid", "")),
        mode=str(info.get("redis_mode", info.get("server_mode", "standalone"))),
        readable=bool(config),
        append_only=bool(int(info.get("aof_enabled", 0))),
        fsync=config.get("appendfsync", ""),
        rewrite_without_fsync=config.get("no-appendfsync-on-rewrite") == "yes",
        policy=config.get("maxmemory-policy", str(info.get("maxmemory_policy", ""))),
        replicas=int(info.get("connected_slaves", 0)),
        clock_ms=int(info.get("server_time_usec", 0)) // 1000,
    )


async def inspect_all(link: Link) -> dict[str, ServerFacts]:
    """The facts of every primary by its address, those left out that cannot be reached. Raises Unavailable where
    none can.
    """
    primaries = await link.primaries()
    facts = await asyncio.gather(*(inspect(one) for _, one in primaries), return_exceptions=True)
    found: dict[str, ServerFacts] = {}
    for (address, _), fact in zip(primaries, facts, strict=True):
        if isinstance(fact, ServerFacts):
            found[address] = fact
        elif not isinstance(fact, Unavailable) or len(primaries) == 1:
            raise fact
    if not found:
        raise Unavailable("no primary of the Cluster can be reached")
    return found


def contradictions(servers: Sequence[ServerFacts], durability: str, kind: Kind = Kind.ONE) -> list[str]:
    """What about these servers breaks the promise, each with its remedy; [] when nothing does."""
    found = dict.fromkeys(line for facts in servers for line in _contradictions(facts, kind))
    return [*found, *lacking(servers, durability)]


def _contradictions(facts: ServerFacts, kind: Kind) -> list[str]:
    if facts.mode == "sentinel":
        return ["the server is a sentinel: name it as redis+sentinel://host:port/group"]
    found = []
    if facts.numbers < OLDEST:
        found.append(f"the server is {facts.flavour} {facts.version}: 7.0 or newer is needed")
    if facts.mode == "cluster" and kind is not Kind.CLUSTER:
        found.append("the server is a node of a Cluster: name it as redis+cluster://host:port")
    if facts.mode != "cluster" and kind is Kind.CLUSTER:
        found.append("the server is no node of a Cluster: name it as redis://host:port")
    if facts.role != "master":
        found.append(f"the server is a {facts.role}, not a primary: point INBOXD_REDIS_URL at the primary")
    if facts.policy != "noeviction":
        found.append(
            f"maxmemory-policy is {facts.policy or 'unknown'}: messages could be evicted; "
            "CONFIG SET maxmemory-policy noeviction"
        )
    return found


async def preflight(settings: Wanted) -> str:
    """The durability level every acceptance will have. Raises Refused when the servers cannot be used."""
    client = connect(settings, "inboxd-preflight", 1)
    kind = parse(settings.redis_url).kind
    try:
        servers = list((await inspect_all(client)).values())
    except Unavailable as error:
        raise Refused(
            f"The server cannot be reached ({error.why}). Is it running, and is INBOXD_REDIS_URL right?"
        ) from error
    finally:
        await client.aclose()
    if found := contradictions(servers, settings.durability, kind):
        raise Refused("The server's settings contradict the promise: " + "; ".join(found) + ".")
    return judged(servers, settings).name


def judged(servers: Sequence[ServerFacts], settings: Wanted) -> Level:
    """The level these servers give under these settings."""
    fails_over = parse(settings.redis_url).kind is not Kind.ONE
    return level(servers, settings.durability, fails_over=fails_over, timeout=settings.redis_timeout)
