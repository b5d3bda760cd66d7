"""Durability: what an acceptance promises, what is waited for to keep it, and what stands in the way."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.link import Wait

WAITED_FOR = 0.8
"""Part of the socket time-out that a `WAIT` may last: its answer must still come in time."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Live settings of one primary. `readable` False: it does not let us read them (CONFIG is denied)."""

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
    replicas: int = 0  # connected now
    clock_ms: int = 0

    @property
    def level(self) -> str:
        """The durability an append has once it is answered, without waiting for more."""
        return (
            "fsynced" if self.append_only and self.fsync == "always" and not self.rewrite_without_fsync else "appended"
        )

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version, to compare."""
        return tuple(int(part) for part in self.version.split(".")[:2])

    @property
    def waits_for_fsync(self) -> bool:
        """Whether it has `WAITAOF`, and a file to wait for."""
        return self.append_only and self.numbers >= ((8, 0) if self.flavour == "valkey" else (7, 2))


@dataclass(frozen=True, slots=True)
class Level:
    """What replies name, and what an append waits for first (None: nothing)."""

    name: str
    wait: Wait | None = None


def replicas_asked(durability: str) -> int:
    """N of `replicated:N`, else 0."""
    return int(durability.partition(":")[2]) if durability.startswith("replicated:") else 0


def level(servers: Sequence[ServerFacts], durability: str, *, fails_over: bool, timeout: float) -> Level:
    """Never named more than was asked for, nor more than holds. `fails_over`: another server may take over without
    the newest appends, so that what is on one disk alone is not promised. `timeout`: of the socket (s).
    """
    patience = max(1, int(timeout * WAITED_FOR * 1000))
    at_once = all(server.level == "fsynced" for server in servers)
    if count := replicas_asked(durability):
        return Level(durability, Wait(("WAIT", count, patience), count))
    if durability == "fsynced":
        # Even behind `always`, where it costs nothing: the settings may change, or another server take over, between
        # two looks at them.
        waits = all(server.waits_for_fsync for server in servers) or not at_once
        return Level("fsynced", Wait(("WAITAOF", 1, 0, patience), 1) if waits else None)
    return Level("fsynced" if at_once and durability == "auto" and not fails_over else "appended")


def clocks_apart(servers: Sequence[ServerFacts]) -> int:
    """By how much the clocks of several servers differ (ms), or a little more."""
    clocks = [server.clock_ms for server in servers]
    return max(clocks) - min(clocks)


def lacking(servers: Sequence[ServerFacts], durability: str) -> list[str]:
    """Settings of the servers with which appends never reach the level asked for, each with its remedy."""
    if durability != "fsynced" or all(s.level == "fsynced" or s.waits_for_fsync for s in servers):
        return []
    remedy = "CONFIG SET appendonly yes, appendfsync always, no-appendfsync-on-rewrite no"
    why = "the server neither fsyncs before it answers nor has WAITAOF (Valkey 8, Redis 7.2)"
    return [f"durability fsynced was asked for, but {why}: {remedy}"]


def missing(servers: Sequence[ServerFacts], durability: str) -> list[str]:
    """What will pass: replicas that are away now. Nothing is accepted by a primary that lacks them."""
    wanted = replicas_asked(durability)
    fewest = min((server.replicas for server in servers), default=0)
    return [f"{durability} was asked for, but {fewest} replicas are connected"] if fewest < wanted else []


def barred(servers: Sequence[ServerFacts], durability: str) -> bool:
    """Whether no append can reach the level now, so that none need be tried. Where one primary of many lacks its
    replicas, the wait behind the append refuses what is its own.
    """
    wanted = replicas_asked(durability)
    return bool(lacking(servers, durability)) or all(server.replicas < wanted for server in servers)
