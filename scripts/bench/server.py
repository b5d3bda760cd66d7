"""Starts and stops the service under test: its own processes, its own data folder, a free port."""

import json
import os
import shutil
import signal
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

from scripts.bench.setups import LOOPBACK, Setup, environment, new_secret
from scripts.bench.stores import Store, stored
from scripts.bench.usage import Pids, family
from scripts.bench.ws_client import Endpoint
from scripts.lab.ports import free_port

START_TIMEOUT = 60.0  # s
STOP_TIMEOUT = 30.0  # s
POLL = 0.1  # s
OK = 200


@dataclass(frozen=True)
class Service:
    """A service that answers, and the processes it consists of. `redis_urls`: of its primaries, where known."""

    endpoint: Endpoint
    pids: Pids
    redis_urls: tuple[str, ...] = ()


class StartError(Exception):
    """The service did not get ready; the text holds what it printed."""


@contextmanager
def started(setup: Setup, data_root: Path | None) -> Iterator[Service]:
    """A service of this setup, stopped at the end, its data removed. StartError if it does not get ready."""
    folder = Path(tempfile.mkdtemp(prefix="inboxd-bench-", dir=data_root))
    endpoint, log = Endpoint(LOOPBACK, free_port(), new_secret()), folder / "service.log"
    try:
        with stored(setup, folder) as store:
            url = store.url if store else None
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "service.cli", "serve"],
                    env=environment(setup, endpoint.port, folder / "data", url, endpoint.secret),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                wait_ready(endpoint, process, log)
                yield describe(endpoint, process.pid, store)
            finally:
                stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(url: str, redis_url: str | None) -> Service:
    """A service somebody else runs. Its processes are known only where they run on this machine.

    INBOXD_JWT_SECRET, where it is set, signs the tokens, as it does for the service.
    """
    where = urlsplit(url)
    endpoint = Endpoint(where.hostname or LOOPBACK, where.port or 80, os.environ.get("INBOXD_JWT_SECRET", ""))
    local = endpoint.host == "localhost" or is_loopback(endpoint.host)
    return Service(endpoint, worker_pids(endpoint) if local else Pids(), (redis_url,) if redis_url else ())


def describe(endpoint: Endpoint, parent: int, store: Store | None = None) -> Service:
    pids = family(parent)
    if store is not None:
        servers = [tuple(server.pid for server in some) for some in (store.primaries, store.replicas)]
        pids = replace(pids, servers=servers[0], replicas=servers[1])
        return Service(endpoint, pids, tuple(server.url for server in store.primaries))
    ports = [port for pid in pids.servers if (port := listening_port(pid))]
    return Service(endpoint, pids, tuple(f"redis://{LOOPBACK}:{port}/0" for port in ports))


def wait_ready(endpoint: Endpoint, process: "subprocess.Popen[bytes]", log: Path, path: str = "/readyz") -> None:
    """Returns when this path says 200."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        if ready(endpoint, path):
            return
        time.sleep(POLL)
    raise StartError(f"the service did not get ready:\n{log.read_text(errors='replace')}")


def ready(endpoint: Endpoint, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{endpoint.host}:{endpoint.port}{path}", timeout=5) as answer:
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


def listening_port(pid: int) -> int | None:
    """The TCP port a process listens on."""
    for connection in psutil.Process(pid).net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            return int(connection.laddr.port)
    return None


def worker_pids(endpoint: Endpoint) -> Pids:
    """The workers as `GET /v1/ops/workers` names them."""
    name, value = endpoint.credentials("bench", "ops")
    request = urllib.request.Request(f"http://{endpoint.host}:{endpoint.port}/v1/ops/workers", headers={name: value})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        workers = json.load(answer)["workers"]
    return Pids(workers=tuple(int(worker["pid"]) for worker in workers))


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
