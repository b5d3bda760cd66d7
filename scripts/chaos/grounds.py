"""Where a scenario takes place: servers, the service, and what stands between them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import redis

from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import Identity
from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.netns import Namespace
from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.sentinel_group import SentinelGroup
from scripts.lab.service import ROOT, Service
from scripts.lab.tcp_proxy import TcpProxy
from scripts.lab.timing import PATIENCE

ROOMY = {"HISTORY": 1_000_000, "MAX_PENDING": 1_000_000}
"""Nothing is trimmed, so that whatever is missing at the end is lost."""

PREFIX = "chat:"


class Ground:
    """A service on servers of its own. `start`, then use, then `close`, which may be called at any time."""

    server: RedisServer

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.make()
        self.service = Service(folder / "service", redis_url=self.url, **{**ROOMY, **settings})

    # What kinds of grounds differ in

    def make(self) -> None:
        """Makes the servers; starts nothing."""
        self.server = RedisServer(self.folder / "server")

    @property
    def url(self) -> str:
        """What the service is told."""
        return self.server.url

    def start_servers(self) -> None:
        self.server.start()

    def stop_servers(self) -> None:
        if self.server.is_running:
            self.server.resume()
            self.server.stop()

    def client(self) -> Any:
        """A blocking client of the data, text replies, whatever stands before the service."""
        return self.server.client()

    @property
    def base(self) -> str:
        """Where clients find the service."""
        return self.service.url

    # What they share

    def start(self) -> None:
        self.start_servers()
        self.service.start()

    def close(self) -> list[str]:
        """Ends everything; what was left behind or said that should not."""
        faults = []
        for end in (self.service.close, self.stop_servers):
            try:
                end()
            except (AssertionError, OSError, redis.exceptions.RedisError) as fault:
                faults.append(f"left: {fault}")
        return faults

    def heads(self, users: Iterable[str]) -> dict[str, Cursor]:
        """The newest position of each inbox."""
        with self.client() as client:
            found = {user: client.hget(f"{PREFIX}state:{{{user}}}", "last") for user in users}
        return {user: Cursor.parse(last) if last else START for user, last in found.items()}

    def kept(self, users: Iterable[str]) -> Iterator[tuple[str, Cursor, Identity]]:
        """All entries that stand in the inboxes."""
        with self.client() as client:
            for user in users:
                for cursor, fields in client.xrange(f"{PREFIX}inbox:{{{user}}}"):
                    whose = fields.get("by") or fields.get("from") or fields.get("group", "")
                    name = whose if fields["kind"] == "message" else f"{fields['kind']} {whose}"
                    yield user, Cursor.parse(cursor), (name, fields["id"])

    def owing(self, users: Iterable[str]) -> list[str]:
        """Who has acked what nobody was told of."""
        found = []
        with self.client() as client:
            for user in users:
                best, receipted = client.hmget(f"{PREFIX}state:{{{user}}}", "best", "receipted")
                if best and (not receipted or Cursor.parse(best) > Cursor.parse(receipted)):
                    found.append(user)
        return found

    def audit(self) -> list[str]:
        """What `inboxd audit` finds wrong when all is calm. A dead worker's claims take their time to go."""
        deadline = time.monotonic() + PATIENCE
        while (done := self._audit()).returncode != 0 and time.monotonic() < deadline:
            if "No such command" in done.stderr:
                return []
        if done.returncode == 0:
            return []
        return [f"audit: {line}" for line in (done.stdout + done.stderr).splitlines() if line.strip()]

    def _audit(self) -> subprocess.CompletedProcess[str]:
        named = {f"INBOXD_{name}": value for name, value in self.service.settings.items()}
        return subprocess.run(
            [sys.executable, "-m", "service.cli", "audit", "--entries"],
            cwd=ROOT,
            env={**os.environ, **named, "INBOXD_PORT": str(self.service.port)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


class Clocked(Ground):
    """The server has a clock of its own, which can be set."""

    def make(self) -> None:
        self.server = RedisServer(self.folder / "server", clocked=True)


class Proxied(Ground):
    """The service reaches its server through a proxy; `client` goes round it."""

    proxy: RedisProxy

    def make(self) -> None:
        super().make()
        self.proxy = RedisProxy(self.server.port)

    @property
    def url(self) -> str:
        return self.proxy.url

    def start_servers(self) -> None:
        super().start_servers()
        self.proxy.start()

    def stop_servers(self) -> None:
        self.proxy.stop()
        super().stop_servers()


class Fronted(Ground):
    """Clients reach the service through a proxy."""

    front: TcpProxy

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    def make(self) -> None:
        super().make()
        self.front = TcpProxy(0)  # where to is known when there is a service

    def start(self) -> None:
        super().start()
        self.front.target = self.service.port
        self.front.start()

    def close(self) -> list[str]:
        self.front.stop()
        return super().close()


class Isolated(Ground):
    """The server is in a network namespace; `client` goes round its wire."""

    space: Namespace

    def make(self) -> None:
        self.space = Namespace()
        self.server = RedisServer(self.folder / "server", namespace=self.space)

    @property
    def url(self) -> str:
        return self.server.service_url

    def start_servers(self) -> None:
        self.space.open()
        super().start_servers()

    def stop_servers(self) -> None:
        super().stop_servers()
        self.space.close()


class Grouped(Ground):
    """Several servers under Sentinel, or in a Cluster."""

    group: SentinelGroup | ClusterGroup

    @property
    def url(self) -> str:
        return self.group.service_url

    def start_servers(self) -> None:
        self.group.start()

    def stop_servers(self) -> None:
        for server in self.group.servers:
            if server.is_running:
                server.resume()
        self.group.stop()

    def client(self) -> Any:
        return self.group.client()


class Sentinels(Grouped):
    """A primary, two replicas, three sentinels."""

    group: SentinelGroup

    def make(self) -> None:
        self.group = SentinelGroup(self.folder / "group")


class ClockedSentinels(Sentinels):
    """Each server has a clock of its own."""

    def make(self) -> None:
        self.group = SentinelGroup(self.folder / "group", clocked=True)


class Cluster(Grouped):
    """Three primaries and a replica for each."""

    group: ClusterGroup

    def make(self) -> None:
        self.group = ClusterGroup(self.folder / "group", replicas=1)


class BareCluster(Cluster):
    """Three primaries."""

    def make(self) -> None:
        self.group = ClusterGroup(self.folder / "group")
