"""A Cluster of servers on loopback: made, broken and resharded by plain commands."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import redis.asyncio
from redis.crc import key_slot

from scripts.lab.ports import free_port
from scripts.lab.redis_server import How, RedisServer
from scripts.lab.sentinel_group import REPLICATION
from scripts.lab.timing import PATIENCE, UNIT, eventually

SLOTS = 16384

Hook = Callable[[str], object]
"""Called between the steps of a move with the step just done: `importing`, `migrating`, `key` (after each key),
`emptied`, `told` (after each node that was told the new owner). The result is not looked at."""


class ClusterGroup:
    """`servers`: first the `primaries`, each with an equal share of the slots, then `replicas` for each of them.

    Nodes are named by their port. `node_timeout_ms`: so long silent, and a node counts as failed. `options` and
    `how`: as in `RedisServer`.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        primaries: int = 3,
        replicas: int = 0,
        node_timeout_ms: int = 1500,
        **how: Unpack[How],
    ) -> None:
        self.bus_ports: dict[int, int] = {}
        self.primaries_at_first = primaries
        cluster = (
            *("--cluster-enabled", "yes"),
            *("--cluster-node-timeout", str(int(node_timeout_ms * UNIT))),
            *("--cluster-allow-replica-migration", "no"),  # replicas stay where a scenario has put them
        )
        self.servers = []
        for n in range(primaries * (1 + replicas)):
            bus = free_port()  # the usual one, 10000 above, may be in the kernel's range for outgoing connections
            ours = (*REPLICATION, *cluster, "--cluster-port", str(bus), *options)
            server = RedisServer(folder / f"node-{n}", *ours, **how)
            self.bus_ports[server.port] = bus
            self.servers.append(server)
        self.hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:primaries])
        self.url = f"redis+cluster://{self.hosts}"
        login = self.servers[0].rights.login if self.servers[0].rights else ""
        self.service_url = f"redis+cluster://{login}{self.hosts}"

    # Starting and ending

    def start(self) -> None:
        """Starts all nodes, makes them a Cluster and waits until every one says it is whole."""
        try:
            for server in self.servers:
                server.start()
            self._join()
            self._share()
            self.await_ok()
            self._pair()
            self.await_ok()
        except BaseException:
            self.stop()
            raise

    def _join(self) -> None:
        for epoch, server in enumerate(self.servers, 1):  # only a node that knows no other takes one
            server.do("CLUSTER SET-CONFIG-EPOCH", epoch)
        for server in self.servers:
            with server.client() as client:
                for other in self.servers:
                    if other is not server:
                        client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, self.bus_ports[other.port])
        eventually(lambda: all(self._knows_all(server) for server in self.servers), "nodes that know each other")

    def _knows_all(self, server: RedisServer) -> bool:
        nodes = server.do("CLUSTER NODES")
        return len(nodes) == len(self.servers) and not any("handshake" in node["flags"] for node in nodes.values())

    def _share(self) -> None:
        count = self.primaries_at_first
        for n, server in enumerate(self.servers[:count]):
            server.do("CLUSTER ADDSLOTSRANGE", SLOTS * n // count, SLOTS * (n + 1) // count - 1)

    def _pair(self) -> None:
        for n, server in enumerate(self.servers[self.primaries_at_first :]):
            primary = self.servers[n % self.primaries_at_first]
            # A node can follow only whom its own view knows as a primary.
            eventually(partial(self._replicate, server, primary), f"{server.port} follows {primary.port}")
        self.await_replicas()

    def _replicate(self, server: RedisServer, primary: RedisServer) -> bool:
        with contextlib.suppress(redis.exceptions.ResponseError):
            server.do("CLUSTER REPLICATE", self.id_of(primary.port))
            return True
        return False

    def stop(self) -> None:
        """Ends all that run."""
        for server in self.servers:
            if server.is_running:
                server.stop()

    # Who is who

    def server(self, port: int) -> RedisServer:
        """The node at a port. Raises LookupError."""
        return {server.port: server for server in self.servers}[port]

    def id_of(self, port: int) -> str:
        """A running node's id."""
        return str(self.server(port).do("CLUSTER MYID"))

    def primaries(self) -> list[int]:
        """Ports of the nodes that run and have slots."""
        return sorted({port for _, _, port in self.ranges() if self.server(port).is_running})

    def replicas_of(self, port: int) -> list[int]:
        """Ports of the running nodes that follow one."""
        running = [server for server in self.servers if server.is_running and server.port != port]
        return [server.port for server in running if server.info("replication").get("master_port") == port]

    def ranges(self, seen_by: int | None = None) -> list[tuple[int, int, int]]:
        """(first slot, last slot, port of the primary), as a node (by default the first that answers) sees it."""
        seers = [self.server(seen_by)] if seen_by else [server for server in self.servers if server.is_running]
        for server in seers:
            with contextlib.suppress(redis.exceptions.RedisError), server.client() as client:
                client.set_response_callback("CLUSTER SLOTS", lambda rows, **_: rows)
                return [(row[0], row[1], row[2][1]) for row in client.execute_command("CLUSTER SLOTS")]
        raise AssertionError("no node answers")

    def owner(self, slot: int, seen_by: int | None = None) -> int:
        """The port of the primary that has a slot. Raises LookupError."""
        for first, last, port in self.ranges(seen_by):
            if first <= slot <= last:
                return port
        raise LookupError(f"nobody has slot {slot}")

    def node_of(self, key: str) -> int:
        """The port of the primary that has a key."""
        return self.owner(key_slot(key.encode()))

    # Waiting

    def await_ok(self) -> None:
        """Waits until every running node says that the Cluster is whole."""
        running = [server for server in self.servers if server.is_running]
        eventually(lambda: all(self._is_ok(server) for server in running), "a whole Cluster", 2 * PATIENCE)

    @staticmethod
    def _is_ok(server: RedisServer) -> bool:
        state = server.do("CLUSTER INFO")
        return bool(state["cluster_state"] == "ok" and int(state["cluster_slots_ok"]) == SLOTS)

    def await_replicas(self) -> None:
        """Waits until every running replica has all data of its primary."""

        def all_follow() -> bool:
            states = [server.info("replication") for server in self.servers if server.is_running]
            return all(s["role"] == "master" or s["master_link_status"] == "up" for s in states)

        eventually(all_follow, "replicas that follow", 2 * PATIENCE)

    # Faults

    def kill(self, port: int) -> None:
        """`kill -9` to one node."""
        self.server(port).kill()

    def await_failover(self, old: int, slot: int) -> int:
        """Waits until all running nodes name the same primary of `slot`, not `old`, and are whole; its port."""

        def another() -> int | None:
            running = [server.port for server in self.servers if server.is_running and server.port != old]
            try:
                owners = {self.owner(slot, port) for port in running}
            except (LookupError, AssertionError):
                return None
            return owners.pop() if len(owners) == 1 and old not in owners else None

        new = eventually(another, f"another primary of slot {slot} than {old}", 2 * PATIENCE)
        running = [server for server in self.servers if server.is_running and server.port != old]
        eventually(lambda: all(self._is_ok(server) for server in running), "a whole Cluster", 2 * PATIENCE)
        return new

    def restart(self, port: int) -> None:
        """Starts a killed node again and waits until the Cluster is whole and replicas follow."""
        self.server(port).start()
        self.await_ok()
        self.await_replicas()

    # Moving slots

    def move_slot(self, slot: int, to: int, between: Hook = bool) -> int:
        """The classic way: IMPORTING, MIGRATING, MIGRATE key by key, SETSLOT NODE. How many keys moved.

        Between the steps clients are told ASK, and TRYAGAIN where keys of one command are on both sides.
        """
        source, target = self.server(self.owner(slot)), self.server(to)
        source_id, target_id = self.id_of(source.port), self.id_of(to)
        target.do("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        between("importing")
        source.do("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        between("migrating")
        moved = 0
        while keys := source.do("CLUSTER GETKEYSINSLOT", slot, 1):
            source.do("MIGRATE", "127.0.0.1", to, keys[0], 0, int(PATIENCE * 1000))
            moved += 1
            between("key")
        between("emptied")
        others = [server for server in self.servers if server not in {source, target}]
        for server in (target, source, *others):
            with contextlib.suppress(redis.exceptions.RedisError):  # a replica learns it from its primary
                server.do("CLUSTER SETSLOT", slot, "NODE", target_id)
            between("told")
        eventually(lambda: self.owner(slot) == to, f"slot {slot} at {to}")
        return moved

    @property
    def can_move_at_once(self) -> bool:
        """Whether the servers know `CLUSTER MIGRATESLOTS` (Valkey 9)."""
        try:
            self.servers[0].do("CLUSTER GETSLOTMIGRATIONS")
        except redis.exceptions.ResponseError:
            return False
        return True

    def move_slots_at_once(self, first: int, last: int, to: int) -> None:
        """Valkey 9's atomic way: clients notice nothing but one MOVED. Waits until it is done."""
        source = self.server(self.owner(first))
        source.do("CLUSTER MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", self.id_of(to))
        eventually(lambda: self.owner(first, source.port) == to, f"slots {first} to {last} at {to}")

    # For those who look behind the service

    def client(self) -> Any:
        """A blocking client of the whole Cluster, text replies, all rights."""
        return redis.RedisCluster(
            host="127.0.0.1",
            port=next(server.port for server in self.servers if server.is_running),
            decode_responses=True,
            socket_timeout=PATIENCE,
        )

    def async_client(self, **options: Any) -> Any:
        """The same for asyncio, bytes replies."""
        port = next(server.port for server in self.servers if server.is_running)
        return redis.asyncio.RedisCluster(host="127.0.0.1", port=port, protocol=2, **options)

    def refusals(self) -> list[str]:
        """As `RedisServer.refusals`, of all that run."""
        return [line for server in self.servers if server.is_running for line in server.refusals()]

    def flush(self) -> None:
        for port in self.primaries():
            self.server(port).flush()
