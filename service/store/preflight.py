"""What kind of server this is, and whether its settings keep the promise that was asked for."""

from dataclasses import dataclass
from typing import Protocol

from service.core.errors import Refused, Unavailable
from service.store import client as store
from service.store.client import Redis, Settings

OLDEST = (7, 0)
"""The oldest server version that has what the scripts use."""


class Wanted(Settings, Protocol):
    """Settings this page judges by."""

    @property
    def durability(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Live settings of a server. `readable` False: it does not let us read them (CONFIG is denied)."""

    flavour: str
    version: str
    role: str
    history: str  # replication id
    mode: str  # standalone, sentinel or cluster
    readable: bool
    append_only: bool
    fsync: str
    rewrite_without_fsync: bool
    policy: str

    @property
    def level(self) -> str:
        """The durability an append has once it is answered, without waiting for more."""
        return (
            "fsynced" if self.append_only and self.fsync == "always" and not self.rewrite_without_fsync else "appended"
        )


async def inspect(client: Redis) -> ServerFacts:
    """Reads the server's live settings. Raises Unavailable."""
    info = await store.run(client, "INFO")
    wanted = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")
    try:
        rows = await store.run(client, "CONFIG", "GET", *wanted)
        flat = [part.decode() for part in rows] if isinstance(rows, list) else []
        config = dict(zip(flat[::2], flat[1::2], strict=True))
    except Unavailable:
        config = {}
    flavour, version = (
        ("valkey", info["valkey_version"]) if "valkey_version" in info else ("redis", info["redis_version"])
    )
    return ServerFacts(
        flavour=flavour,
        version=str(version),
        role=str(info["role"]),
        history=str(info.get("master_replid", "")),
        mode=str(info.get("redis_mode", info.get("server_mode", "standalone"))),
        readable=bool(config),
        append_only=bool(int(info.get("aof_enabled", 0))),
        fsync=config.get("appendfsync", ""),
        rewrite_without_fsync=config.get("no-appendfsync-on-rewrite") == "yes",
        policy=config.get("maxmemory-policy", str(info.get("maxmemory_policy", ""))),
    )


def contradictions(facts: ServerFacts, durability: str) -> list[str]:
    """What about this server breaks the promise, each with its remedy; [] when nothing does."""
    found = []
    if tuple(int(part) for part in facts.version.split(".")[:2]) < OLDEST:
        found.append(f"the server is {facts.flavour} {facts.version}: 7.0 or newer is needed")
    if facts.mode != "standalone":
        found.append(f"the server runs in {facts.mode} mode, which this version does not serve: use a single server")
    if facts.role != "master":
        found.append(f"the server is a {facts.role}, not a primary: point INBOXD_REDIS_URL at the primary")
    if facts.policy != "noeviction":
        found.append(
            f"maxmemory-policy is {facts.policy or 'unknown'}: messages could be evicted; "
            "CONFIG SET maxmemory-policy noeviction"
        )
    if not kept(facts, durability):
        found.append(
            "durability fsynced was asked for, but the server does not fsync before it answers: "
            "CONFIG SET appendonly yes, appendfsync always, no-appendfsync-on-rewrite no"
        )
    return found


async def preflight(settings: Wanted) -> str:
    """The durability level every acceptance will have. Raises Refused when the server cannot be used."""
    client = store.connect(settings, "inboxd-preflight", 1)
    try:
        facts = await inspect(client)
    except Unavailable as error:
        raise Refused(
            f"The server cannot be reached ({error.why}). Is it running, and is INBOXD_REDIS_URL right?"
        ) from error
    finally:
        await client.aclose()
    if found := contradictions(facts, settings.durability):
        raise Refused("The server's settings contradict the promise: " + "; ".join(found) + ".")
    return level(facts, settings.durability)


def kept(facts: ServerFacts, durability: str) -> bool:
    """Whether appends reach the level that was asked for."""
    return durability != "fsynced" or facts.level == "fsynced"


def level(facts: ServerFacts, durability: str) -> str:
    """What replies name: never more than was asked for, never more than holds."""
    return "appended" if durability == "appended" else facts.level
