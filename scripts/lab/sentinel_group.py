"""A primary, two replicas and three sentinels, which make one of the replicas the primary when the first is gone."""

import contextlib
from pathlib import Path
from typing import Any, Unpack

import redis

from scripts.lab.redis_server import How, RedisServer
from scripts.lab.timing import PATIENCE, UNIT, eventually

NAME = "inbox"
"""What the sentinels call the group."""

REPLICATION = (
    *("--repl-diskless-sync-delay", "0"),
    *("--repl-ping-replica-period", "1"),
)
"""Options that let replicas follow at once."""


class Sentinel(RedisServer):
    """One sentinel: the same program in another mode. It keeps what it learns in its configuration file."""

    def _arguments(self) -> tuple[str, ...]:
        return ("--port", str(self.port), "--dir", str(self.folder), "--bind", "127.0.0.1", "--sentinel")


class SentinelGroup:
    """`servers`, the first of which begins as primary, and `sentinels`. All on loopback, AOF `always`.

    `down_after_ms`: so long silent, and a server counts as down. `options` and `how`: of the servers, as in
    `RedisServer`. Servers are named by their port.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        replicas: int = 2,
        down_after_ms: int = 700,
        **how: Unpack[How],
    ) -> None:
        self.down_after_ms = int(down_after_ms * UNIT)
        ours = (*REPLICATION, *options)
        self.servers = [RedisServer(folder / f"server-{n}", *ours, **how) for n in range(replicas + 1)]
        self.sentinels = [
            Sentinel(folder / f"sentinel-{n}", lines=self._watch(n), binary=self.servers[0].binary) for n in range(3)
        ]
        self.hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{self.hosts}/{NAME}"
        login = self.servers[0].rights.login if self.servers[0].rights else ""
        self.service_url = f"redis+sentinel://{login}{self.hosts}/{NAME}"

    def _watch(self, n: int) -> list[str]:
        """The last of the sentinels is slow to notice. So it is never a candidate, and its vote decides: with three
        that notice at once, votes are split now and then, and the next election is seconds later.
        """
        down_after = self.down_after_ms * (3 if n == 2 else 1)
        return [
            f"sentinel monitor {NAME} 127.0.0.1 {self.servers[0].port} 2",
            f"sentinel down-after-milliseconds {NAME} {down_after}",
            f"sentinel failover-timeout {NAME} {4 * self.down_after_ms}",
            f"sentinel parallel-syncs {NAME} 2",
        ]

    # Starting and ending

    def start(self) -> None:
        """Starts all, and waits until replicas follow and sentinels know each other."""
        try:
            first, *others = self.servers
            first.start()
            for server in others:
                server.start()
                server.do("REPLICAOF", "127.0.0.1", first.port)
                server.do("CONFIG", "REWRITE")  # it is a replica after a restart too
            self.await_replicas()
            for sentinel in self.sentinels:
                self._start_sentinel(sentinel)
            eventually(self._acquainted, "sentinels that know all servers and each other")
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _start_sentinel(sentinel: Sentinel) -> None:
        sentinel.start()
        # By default they talk every 2 and look every 10 seconds. While the primary is down they look at replicas every
        # second, and take none for it whose news is older than five pings: these must not come too fast.
        sentinel.do("SENTINEL", "DEBUG", "PUBLISH-PERIOD", "200", "INFO-PERIOD", "300", "PING-PERIOD", "400")

    def _acquainted(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_master(NAME)
            if (state["num-slaves"], state["num-other-sentinels"]) != (len(self.servers) - 1, 2):
                return False
        return True

    def stop(self) -> None:
        """Ends all that run; sentinels first, so that nobody fails over."""
        for node in (*self.sentinels, *self.servers):
            if node.is_running:
                node.stop()

    # Who is who

    def announced(self) -> int | None:
        """The primary's port as most sentinels name it; None while they disagree."""
        votes: list[int] = []
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.exceptions.RedisError):
                votes.append(int(sentinel.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1]))
        return next((port for port in set(votes) if votes.count(port) >= 2), None)

    @property
    def primary(self) -> int:
        """The port of the primary that the sentinels name."""
        return eventually(self.announced, "sentinels agree on a primary")

    @property
    def replicas(self) -> list[RedisServer]:
        """Servers that run and are not the primary."""
        return [server for server in self.servers if server.is_running and server.port != self.primary]

    def server(self, port: int) -> RedisServer:
        """The server at a port. Raises LookupError."""
        return {server.port: server for server in self.servers}[port]

    # Faults

    def kill_primary(self) -> int:
        """`kill -9` to the primary; the port it had."""
        port = self.primary
        self.server(port).kill()
        return port

    def pause_primary(self) -> int:
        """SIGSTOP to the primary; its port. `server(port).resume()` brings it back, then as a replica."""
        port = self.primary
        self.server(port).pause()
        return port

    def await_failover(self, old: int) -> int:
        """Waits until the sentinels name another primary than `old`, and it is one; its port."""

        def another() -> int | None:
            port = self.announced()
            if port in {None, old}:
                return None
            with contextlib.suppress(redis.exceptions.RedisError):  # it drops its clients when it is promoted
                return port if self.server(port or 0).do("ROLE")[0] == "master" else None
            return None

        return eventually(another, f"a primary other than {old}", 2 * PATIENCE)

    def restart(self, port: int) -> None:
        """Starts a killed server again and waits until it follows the primary."""
        self.server(port).start()
        eventually(lambda: port == self.primary or self._follows(self.server(port)), f"{port} follows", 2 * PATIENCE)

    def await_replicas(self) -> None:
        """Waits until every running server but the primary follows it with all data."""
        first = self.servers[0].port if not self.sentinels[0].is_running else self.primary
        others = [server for server in self.servers if server.is_running and server.port != first]
        eventually(lambda: all(self._follows(server, first) for server in others), f"all follow {first}")

    @staticmethod
    def _follows(server: RedisServer, primary: int | None = None) -> bool:
        try:
            state = server.info("replication")
        except redis.exceptions.RedisError:
            return False  # who is made a replica has its clients sent away
        return state.get("master_link_status") == "up" and primary in {None, state["master_port"]}

    # For those who look behind the service

    def client(self) -> Any:
        """A blocking client of the present primary, text replies, all rights."""
        return self.server(self.primary).client()

    def async_client(self, **options: Any) -> Any:
        """The same for asyncio, bytes replies."""
        return self.server(self.primary).async_client(**options)

    def flush(self) -> None:
        self.server(self.primary).flush()

    def refusals(self) -> list[str]:
        """As `RedisServer.refusals`, of all that run."""
        return [line for server in self.servers if server.is_running for line in server.refusals()]
