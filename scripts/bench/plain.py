"""Starts the plain route (`plain_app`): one uvicorn worker, a Redis of its own with the service's settings."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.plain_app import URL
from scripts.bench.server import Service, stop, wait_ready
from scripts.bench.setups import LOOPBACK
from scripts.bench.usage import Pids
from scripts.bench.ws_client import Endpoint
from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer


@contextmanager
def plain(data_root: Path | None) -> Iterator[Service]:
    """The plain route and its server, stopped at the end, the data removed."""
    folder = Path(tempfile.mkdtemp(prefix="inboxd-bench-plain-", dir=data_root))
    server, endpoint, log = RedisServer(folder / "server"), Endpoint(LOOPBACK, free_port()), folder / "plain.log"
    try:
        server.start()
        with log.open("wb") as output:
            options = ("--host", endpoint.host, "--port", str(endpoint.port), "--no-access-log")
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "scripts.bench.plain_app:app", *options],
                env=os.environ | {URL: server.url},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_ready(endpoint, process, log)
            yield Service(endpoint, Pids((process.pid,), None, (server.pid,)), (server.url,))
        finally:
            stop(process)
    finally:
        if server.is_running:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
