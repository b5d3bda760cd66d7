"""What the Redis server says of itself: its version, its durability, what each command cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

PREFIX = "cmdstat_"
# Of no interest: they come from the benchmark itself, or are noise of the connection.
NOISE = frozenset({"info", "config|get", "hello", "client|setinfo", "unlink", "select", "ping"})


@dataclass(frozen=True)
class CallStat:
    """Calls of one command and the microseconds spent in them. A script's time includes its calls."""

    calls: int
    usec: float

    def minus(self, before: "CallStat") -> "CallStat":
        return CallStat(self.calls - before.calls, self.usec - before.usec)


CallStats = Mapping[str, CallStat]
NONE = CallStat(0, 0.0)


@dataclass(frozen=True)
class ServerFacts:
    version: str
    durability: str


class RedisView:
    """A look at one server from beside the service. Without a URL every answer is empty."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._client = redis.Redis.from_url(url, decode_responses=True) if url else None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def facts(self) -> ServerFacts:
        if self._client is None:
            return ServerFacts("unknown", "unknown")
        info = self._info("server")
        name = "Valkey" if "valkey_version" in info else "Redis"
        config = cast("dict[str, str]", self._client.config_get("append*"))
        sync = f"appendfsync {config['appendfsync']}" if config["appendonly"] == "yes" else "no AOF"
        return ServerFacts(f"{name} {info.get('valkey_version', info['redis_version'])}", sync)

    def cpu(self) -> float | None:
        """CPU seconds of the server, all threads, to the microsecond."""
        if self._client is None:
            return None
        info = self._info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def calls(self) -> CallStats:
        return {} if self._client is None else parse_calls(self._info("commandstats"))

    def remove(self, keys: list[str]) -> None:
        if self._client is not None:
            self._client.unlink(*keys)

    def _info(self, section: str) -> dict[str, Any]:
        assert self._client is not None
        return self._client.info(section)


def parse_calls(info: Mapping[str, Mapping[str, Any]]) -> CallStats:
    """`INFO commandstats` as redis-py gives it: `cmdstat_xadd` → `{"calls": …, "usec": …}`."""
    named = ((key.removeprefix(PREFIX), stat) for key, stat in info.items())
    return {name: CallStat(int(stat["calls"]), float(stat["usec"])) for name, stat in named if name not in NOISE}


def calls_between(before: CallStats, after: CallStats) -> CallStats:
    """What happened between two looks; commands that did not move are left out."""
    grown = {name: stat.minus(before.get(name, NONE)) for name, stat in after.items()}
    return {name: stat for name, stat in grown.items() if stat.calls > 0}
