"""Where and with what a benchmark ran, so that two reports can be told apart."""

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.lab import build

LIBRARIES = ("uvicorn", "fastapi", "redis", "hiredis", "uvloop", "orjson")


@dataclass(frozen=True)
class Machine:
    date: str
    service: str
    python: str
    libraries: str
    system: str
    cores: int
    load_before: float  # the 1-minute load average before the first run: others at work blur every figure
    data_on: str  # the file system: on one without a disk behind it an fsync costs nothing


def look(data_root: Path | None) -> Machine:
    return Machine(
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        service=f"inboxd {version('inboxd')}, commit {commit()}",
        python=interpreter(),
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=psutil.cpu_count() or 1,
        load_before=os.getloadavg()[0],
        data_on=file_system(data_root or Path(tempfile.gettempdir())),
    )


def interpreter() -> str:
    """Its version and whose build it is, as far as it says: on the same tree two differed by an eighth."""
    build = ", ".join((*platform.python_build(), platform.python_compiler()))
    return f"{platform.python_implementation()} {platform.python_version()} ({build})"


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def commit() -> str:
    """The commit of the working tree, marked where files differ from it, and how the service was built from it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{done.stdout.strip()}, {'compiled' if build.chosen() else 'not compiled'}"


def file_system(folder: Path) -> str:
    """The type of the file system that holds this folder."""
    path = folder.resolve()
    holders = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return max(holders, key=lambda part: len(part.mountpoint)).fstype if holders else "unknown"
