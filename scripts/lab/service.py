"""The service as its operator runs it: a parent process, workers, an embedded server; each can be killed."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import redis

from scripts.lab import build, processes
from scripts.lab.ports import free_port, is_free
from scripts.lab.timing import PATIENCE, POLL, duration, eventually

ROOT = Path(__file__).parents[2]

QUICK = {
    "HEARTBEAT": duration(0.3),
    "DEAD_AFTER": duration(1.5),
    "AUDIT_INTERVAL": duration(0.5),
    "PRESENCE_SETTLE": duration(0.2),
    "PING_INTERVAL": duration(1),
    "HELLO_TIMEOUT": duration(1),
    "DRAIN_TIMEOUT": duration(3),
    "REDIS_TIMEOUT": duration(2),
    "READER_BLOCK": duration(0.3),
    "ACK_DELAY": duration(0.02),
}
"""Settings that make faults show soon."""

CALM: dict[str, Any] = {
    "HEARTBEAT": duration(1.5),
    "DEAD_AFTER": duration(6),
    "AUDIT_INTERVAL": duration(2),
    "READER_BLOCK": duration(1.5),
    "ACK_DELAY": duration(0.005),
}
"""Beside them for a service that many tests share and that nothing happens to: what it does by itself would cost the
others, who run at the same time, a tenth of the machine.
"""

# What the service must never write, whatever happens to it.
NOISE = re.compile(
    r"Traceback \(most recent call last\)|never (?:retrieved|awaited)|ResourceWarning"
    r"|Exception ignored|Task was destroyed"
)


@dataclass(frozen=True)
class Worker:
    """One row of `/v1/ops/workers`."""

    name: str
    pid: int
    connections: int


def by_name() -> Mapping[str, str]:
    """While authentication is off."""
    return {"X-Inboxd-User": "operator"}


class Service:
    """`python -m service.cli serve` on a free port, its files below `home`; settings without `INBOXD_`.

    `close` ends it and fails if anything was left behind: a process, a temporary file, the port. `operator`: headers
    that let us ask as an operator.
    """

    def __init__(self, home: Path, *, operator: Callable[[], Mapping[str, str]] = by_name, **settings: object) -> None:
        self.home = home
        self.operator = operator
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {**QUICK, **{name.upper(): str(value) for name, value in settings.items()}}
        self.embedded = "REDIS_URL" not in self.settings
        self.worker_count = int(self.settings.get("WORKERS", "2"))
        self.exit_code: int | None = None
        self._temporary = home / "tmp"
        self._process: subprocess.Popen[bytes] | None = None
        self._known: dict[int, psutil.Process] = {}  # every child ever seen
        self._http = httpx2.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    # Starting and ending

    def start(self) -> None:
        """Starts the parent and waits until every worker serves and is ready."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        with self._log("stdout").open("ab") as out, self._log("stderr").open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve"],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.exit_code = None
        try:
            self.await_ready()
        except BaseException:
            self._kill_all()
            raise

    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("INBOXD_")}
        ours = {
            "PORT": str(self.port),
            "WORKERS": str(self.worker_count),
            "DATA_DIR": str(self.home / "data"),
            **self.settings,
        }
        named = {f"INBOXD_{name}": value for name, value in ours.items()}
        return {**clean, **build.chosen(), **named, "TMPDIR": str(self._temporary)}

    def await_ready(self) -> None:
        """Waits until `/readyz` says so and as many workers live as were asked for."""
        eventually(self._is_ready, "the service is ready")

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"the service ended with {self.exit_code}:\n{self.stderr()}")
        try:
            if self._http.get("/readyz").status_code != 200:
                return False
            return len(self.workers()) == self.worker_count
        except (httpx2.HTTPError, AssertionError):
            return False

    @property
    def is_running(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            self.exit_code = self._process.returncode
        return self._process is not None and self.exit_code is None

    def terminate(self) -> None:
        """SIGTERM to the parent; does not wait."""
        self._note_children()
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Waits for the parent's end; its exit code."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            self._note_children()
            if time.monotonic() > deadline:
                self._kill_all()
                raise AssertionError(f"did not end within {PATIENCE:.0f} s:\n{self.stderr()}")
            time.sleep(POLL)
        self.exit_code = self._process.returncode
        return self.exit_code

    def stop(self) -> int:
        """SIGTERM, and waits; the exit code."""
        self.terminate()
        return self.wait()

    def restart(self) -> None:
        """Ends it and starts it on the same port and data."""
        assert self.stop() == 0, self.stderr()
        self.start()

    def forget(self) -> None:
        """Its parent was killed: collects that end, and the files that it could not remove."""
        assert self.wait() == -signal.SIGKILL
        for path in self._temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self) -> None:
        """Ends what runs and checks what is left."""
        self._note_children()
        self._http.close()
        try:
            if self.is_running:
                for child in self._known.values():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.resume()
                assert self.stop() == 0, f"exit code {self.exit_code}:\n{self.stderr()}"
            self.assert_nothing_left()
        finally:
            self._kill_all()

    def assert_nothing_left(self) -> None:
        """Of a service that has ended: no process, no temporary file, no port, no noise on stderr."""

        def living() -> list[str]:
            return [str(child) for child in self._known.values() if is_same_alive(child)]

        eventually(lambda: not living(), f"its processes are gone: {living()}", PATIENCE / 3)
        left = [str(path) for path in self._temporary.rglob("*")]
        assert not left, f"left behind: {left}"
        assert is_free(self.port), f"port {self.port} is still taken"
        noise = NOISE.search(self.stderr())
        assert noise is None, f"on stderr:\n{self.stderr()[max(0, noise.start() - 300) :][:5000]}"

    def _kill_all(self) -> None:
        self._note_children()
        for child in self._known.values():
            if is_same_alive(child):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)

    # What it says

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def stdout(self) -> str:
        return self._log("stdout").read_text(errors="replace")

    def stderr(self) -> str:
        return self._log("stderr").read_text(errors="replace")

    # Its processes

    @property
    def pid(self) -> int:
        """The parent's."""
        assert self._process is not None, "not started"
        return self._process.pid

    def _note_children(self) -> list[psutil.Process]:
        if self._process is None or not self.is_running:
            return []
        children = processes.descendants(self.pid)
        self._known |= {child.pid: child for child in children}
        return children

    @property
    def server_pid(self) -> int | None:
        """The embedded server's; None while there is none."""
        for child in self._note_children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() in processes.SERVER_NAMES:
                    return child.pid
        return None

    def workers(self) -> list[Worker]:
        """The workers that live, as the service reports them."""
        response = self._http.get("/v1/ops/workers", headers=self.operator())
        assert response.status_code == 200, response.text
        children = {child.pid for child in self._note_children()}
        rows = response.json()["workers"]
        return [Worker(row["worker"], row["pid"], row["connections"]) for row in rows if row["pid"] in children]

    def worker(self, name: str) -> Worker:
        """The living worker of this name. Raises LookupError."""
        living = {worker.name: worker for worker in self.workers()}
        if name not in living:
            raise LookupError(f"{name} is not among {sorted(living)}")  # a StopIteration would never leave a thread
        return living[name]

    def worker_pids(self) -> list[int]:
        """Pids of all worker processes, serving or not."""
        return [child.pid for child in self._note_children() if is_worker(child)]

    @contextlib.contextmanager
    def only(self, name: str) -> Iterator[None]:
        """While this holds, new connections go to this worker: the others are paused."""
        others = [worker.pid for worker in self.workers() if worker.name != name]
        for pid in others:
            processes.pause(pid)
        try:
            yield
        finally:
            for pid in others:
                processes.resume(pid)

    # Its store

    @property
    def redis_url(self) -> str:
        """Of the server it uses."""
        if not self.embedded:
            return self.settings["REDIS_URL"]
        return eventually(self._worker_redis_url, "a worker that knows its server")

    def _worker_redis_url(self) -> str | None:
        for pid in self.worker_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                if url := psutil.Process(pid).environ().get("INBOXD_REDIS_URL"):
                    return url
        return None

    @contextlib.contextmanager
    def store(self) -> Iterator[Any]:
        """A blocking client of the server it uses, text replies."""
        client = redis.Redis.from_url(self.redis_url, decode_responses=True, socket_timeout=PATIENCE)
        with client:
            yield client

    def metrics(self) -> dict[str, float]:
        """`/metrics`, summed over labels: name → value."""
        found: dict[str, float] = {}
        for line in self._http.get("/metrics", headers=self.operator()).text.splitlines():
            if match := re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (\S+)(?: \d+)?", line):
                found[match[1]] = found.get(match[1], 0.0) + float(match[2])
        return found


def is_worker(child: psutil.Process) -> bool:
    try:
        return "service.worker" in child.cmdline()
    except psutil.NoSuchProcess:
        return False


def is_same_alive(child: psutil.Process) -> bool:
    """Whether a process lives, and is not another one with the same pid."""
    return child.is_running() and processes.is_alive(child.pid)


def close_all(services: list[Service]) -> None:
    """Closes every one, then fails with what the first failed with."""
    faults: list[Exception] = []
    for service in services:
        try:
            service.close()
        except (AssertionError, OSError) as fault:
            faults.append(fault)
    if faults:
        raise ExceptionGroup("closing services", faults)
