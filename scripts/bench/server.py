"""Starts and stops the service under test: its own processes, its own data folder, a free port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from scripts.bench.usage import Pids, family
from scripts.bench.ws_client import Endpoint
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import eventually

START_TIMEOUT = 60.0  # s
STOP_TIMEOUT = 30.0  # s
POLL = 0.1  # s
OK = 200
LOOPBACK = "127.0.0.1"


EMBEDDED, EVERYSEC, REPLICAS = "the embedded server", "AOF everysec", "AOF always and two replicas"


@dataclass(frozen=True)
class Setup:
    """How the service is to run."""

    workers: int = 2
    own_copy: bool = True
    durability: str = "auto"
    store: str = EMBEDDED

    def __str__(self) -> str:
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        plain = f"{count}, own copy {'on' if self.own_copy else 'off'}"
        return plain if self.store == EMBEDDED else f"{plain}, {self.durability} on {self.store}"


@dataclass(frozen=True)
class Service:
    """A service that answers, and the processes it consists of."""

    endpoint: Endpoint
    pids: Pids
    redis_url: str | None


class StartError(Exception):
    """The service did not get ready; the text holds what it printed."""


def environment(setup: Setup, port: int, data_dir: Path, redis_url: str | None) -> dict[str, str]:
    """The caller's settings, but the benchmark's own place, server and subject."""
    inherited = {key: value for key, value in os.environ.items() if key != "INBOXD_REDIS_URL"}
    ours = {
        "INBOXD_HOST": LOOPBACK,
        "INBOXD_PORT": str(port),
        "INBOXD_WORKERS": str(setup.workers),
        "INBOXD_DATA_DIR": str(data_dir),
        "INBOXD_OWN_COPY": "on" if setup.own_copy else "off",
    }
    if redis_url is not None:
        ours |= {"INBOXD_REDIS_URL": redis_url, "INBOXD_DURABILITY": setup.durability}
    return inherited | ours


@contextmanager
def started(setup: Setup, data_root: Path | None) -> Iterator[Service]:
    """A service of this setup, stopped at the end, its data removed. StartError if it does not get ready."""
    folder = Path(tempfile.mkdtemp(prefix="inboxd-bench-", dir=data_root))
    port, log = free_port(), folder / "service.log"
    try:
        with stored(setup, folder) as server:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "service.cli", "serve"],
                    env=environment(setup, port, folder / "data", server.url if server else None),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                wait_ready(port, process, log)
                yield describe(port, process.pid, server)
            finally:
                stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(url: str, redis_url: str | None) -> Service:
    """A service somebody else runs. Its processes are known only where they run on this machine."""
    where = urlsplit(url)
    endpoint = Endpoint(where.hostname or LOOPBACK, where.port or 80)
    local = endpoint.host == "localhost" or is_loopback(endpoint.host)
    return Service(endpoint, worker_pids(endpoint) if local else Pids(), redis_url)


@contextmanager
def stored(setup: Setup, folder: Path) -> Iterator[RedisServer | None]:
    """The server a setup asks for, with its replicas; None: the service starts its own."""
    if setup.store == EMBEDDED:
        yield None
        return
    options = ("--appendfsync", "everysec" if setup.store == EVERYSEC else "always")
    servers = [RedisServer(folder / f"server-{n}", *options) for n in range(3 if setup.store == REPLICAS else 1)]
    try:
        for server in servers:
            server.start()
        for replica in servers[1:]:
            replica.do("REPLICAOF", "127.0.0.1", servers[0].port)
        eventually(
            lambda: servers[0].info("replication")["connected_slaves"] == len(servers) - 1, "replicas that follow"
        )
        yield servers[0]
    finally:
        for server in servers:
            if server.is_running:
                server.kill()


def describe(port: int, parent: int, server: RedisServer | None = None) -> Service:
    pids = family(parent)
    if server is not None:
        return Service(Endpoint(LOOPBACK, port), replace(pids, server=server.pid), server.url)
    redis_port = listening_port(pids.server) if pids.server else None
    redis_url = f"redis://{LOOPBACK}:{redis_port}/0" if redis_port else None
    return Service(Endpoint(LOOPBACK, port), pids, redis_url)


def wait_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns when `/readyz` says 200."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        if ready(port):
            return
        time.sleep(POLL)
    raise StartError(f"the service did not get ready:\n{log.read_text(errors='replace')}")


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == OK)
    except OSError:  # refused, or an answer of another status
        return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, as an operator would; SIGKILL for what does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def listening_port(pid: int) -> int | None:
    """The TCP port a process listens on."""
    for connection in psutil.Process(pid).net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            return int(connection.laddr.port)
    return None


def worker_pids(endpoint: Endpoint) -> Pids:
    """The workers as `GET /v1/ops/workers` names them."""
    request = urllib.request.Request(
        f"http://{endpoint.host}:{endpoint.port}/v1/ops/workers", headers={"X-Inboxd-User": "bench"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - an http URL, as written above
        workers = json.load(answer)["workers"]
    return Pids(workers=tuple(int(worker["pid"]) for worker in workers))


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
