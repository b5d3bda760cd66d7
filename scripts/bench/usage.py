"""What processes cost: CPU seconds and resident memory, workers, parent and Redis apart."""

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

SERVER_NAMES = ("valkey-server", "redis-server")


@dataclass(frozen=True)
class Pids:
    """The processes of one service. Empty where they are out of reach (another host)."""

    workers: tuple[int, ...] = ()
    parent: int | None = None
    servers: tuple[int, ...] = ()
    replicas: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """CPU seconds since the processes began, at one moment; nan for processes out of reach."""

    workers: float
    parent: float
    server: float
    replicas: float = 0.0


@dataclass(frozen=True)
class Usage:
    """CPU seconds between two readings."""

    workers: float
    parent: float
    server: float
    replicas: float = 0.0


def family(parent: int) -> Pids:
    """The processes under a service's parent process: Redis by its name, all other Pythons are workers."""
    servers, workers = [], []
    for child in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name().startswith(SERVER_NAMES):
                servers.append(child.pid)
            elif any("service.worker" in word for word in child.cmdline()):
                workers.append(child.pid)
    return Pids(tuple(sorted(workers)), parent, tuple(servers))


def read(pids: Pids) -> Reading:
    return Reading(
        workers=sum(map(cpu, pids.workers)) if pids.workers else math.nan,
        parent=cpu(pids.parent) if pids.parent else math.nan,
        server=sum(map(cpu, pids.servers)) if pids.servers else math.nan,
        replicas=sum(map(cpu, pids.replicas)),
    )


def between(before: Reading, after: Reading) -> Usage:
    return Usage(
        after.workers - before.workers,
        after.parent - before.parent,
        after.server - before.server,
        after.replicas - before.replicas,
    )


def cpu(pid: int) -> float:
    """User and system seconds of one process, all its threads."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def resident(pids: Iterable[int]) -> int:
    """Resident bytes of these processes together."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def busy() -> float:
    """CPU seconds that this machine has worked since it began, all processes and all cores."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def descriptors(pids: Iterable[int]) -> list[int]:
    """Open files of each of these processes: where they serve, most are connections."""
    return [psutil.Process(pid).num_fds() for pid in pids]
