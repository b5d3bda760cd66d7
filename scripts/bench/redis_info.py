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

    def plus(self, other: "CallStat") -> "CallStat":
        return CallStat(self.calls + other.calls, self.usec + other.usec)

    def minus(self, before: "CallStat") -> "CallStat":
        return CallStat(self.calls - before.calls, self.usec - before.usec)


CallStats = Mapping[str, CallStat]
NONE = CallStat(0, 0.0)


@dataclass(frozen=True)
class ServerFacts:
    version: str
    durability: str


class RedisView:
    """A look at the primaries from beside the service. Without URLs every answer is empty."""

    def __init__(self, *urls: str) -> None:
        self.urls = urls
        self._clients = [redis.Redis.from_url(url, decode_responses=True) for url in urls]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    @property
    def yardstick(self) -> str | None:
        """The server whose XADDs the figures are set against. Of a Cluster none: it would refuse most of them."""
        return self.urls[0] if len(self.urls) == 1 else None

    def facts(self) -> ServerFacts:
        if not self._clients:
            return ServerFacts("unknown", "unknown")
        info = self._info(self._clients[0], "server")
        name = "Valkey" if "valkey_version" in info else "Redis"
        config = cast("dict[str, str]", self._clients[0].config_get("append*"))
        sync = f"appendfsync {config['appendfsync']}" if config["appendonly"] == "yes" else "no AOF"
        return ServerFacts(f"{name} {info.get('valkey_version', info['redis_version'])}", sync)

    def cpu(self) -> float | None:
        """CPU seconds of the primaries, all threads, to the microsecond."""
        if not self._clients:
            return None
        infos = [self._info(client, "cpu") for client in self._clients]
        return sum(float(info["used_cpu_user"]) + float(info["used_cpu_sys"]) for info in infos)

    def calls(self) -> CallStats:
        total: dict[str, CallStat] = {}
        for client in self._clients:
            for name, stat in parse_calls(self._info(client, "commandstats")).items():
                total[name] = total.get(name, NONE).plus(stat)
        return total

    def remove(self, keys: list[str]) -> None:
        for client in self._clients:
            client.unlink(*keys)

    @staticmethod
    def _info(client: "redis.Redis", section: str) -> dict[str, Any]:
        return client.info(section)


def parse_calls(info: Mapping[str, Mapping[str, Any]]) -> CallStats:
    """`INFO commandstats` as redis-py gives it: `cmdstat_xadd` → `{"calls": …, "usec": …}`."""
    named = ((key.removeprefix(PREFIX), stat) for key, stat in info.items())
    return {name: CallStat(int(stat["calls"]), float(stat["usec"])) for name, stat in named if name not in NOISE}


def calls_between(before: CallStats, after: CallStats) -> CallStats:
    """What happened between two looks; commands that did not move are left out."""
    grown = {name: stat.minus(before.get(name, NONE)) for name, stat in after.items()}
    return {name: stat for name, stat in grown.items() if stat.calls > 0}
