"""The directory of the embedded server: locked by one start at a time, stamped with whose files these are.

Rather than begin empty beside data that cannot be read, the start is refused with a reason.
"""

import asyncio
import fcntl
import json
import os
import random
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from service.core.errors import Refused
from service.server_binary import ServerBinary

HOST = "127.0.0.1"  # of the server: nobody else's business
STAMP = "inboxd.json"
LOCK = "lock"
LOG = "server.log"
MANIFEST = Path("appendonlydir") / "appendonly.aof.manifest"  # without it a server begins empty

PATIENCE = 10.0  # seconds for a left-behind server to end
_RETRY = 0.1  # seconds between two tries at the lock
_PORTS = range(20_000, 32_000)
_NOT_DATA = {LOCK, "lost+found"}  # a mounted volume has the latter from the start


@dataclass(frozen=True, slots=True)
class Stamp:
    """What lies in the directory. `started`: a server has been ready on it, so there must be an AOF."""

    flavour: str
    version: str
    port: int
    started: bool = False


class DataDir:
    """A directory this process holds. `stamp` is true from `open` on."""

    def __init__(self, path: Path, lock_fd: int, stamp: Stamp) -> None:
        self.path = path
        self.lock_fd = lock_fd  # the server inherits it: the lock is held until both have ended
        self.stamp = stamp

    @classmethod
    async def open(cls, path: Path, binary: ServerBinary, say: Callable[[str], None]) -> Self:
        """Makes, locks and checks the directory. Raises Refused when it is another's or cannot be used."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_ours(path)  # before a lock file is put into somebody's directory
            lock_fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"The data directory {path} cannot be used: {error.strerror}.") from error
        try:
            await _lock(lock_fd, path, say)
            held = cls(path, lock_fd, _checked(path, _read_stamp(path), binary))
            held._write()
        except BaseException:
            os.close(lock_fd)
            raise
        return held

    def mark_started(self, binary: ServerBinary) -> None:
        """A server of `binary` is ready on this data."""
        self.stamp = replace(self.stamp, version=binary.version, started=True)
        self._write()

    def log_tail(self, lines: int = 12) -> str:
        """The newest lines of the server's log, indented; empty when there are none."""
        try:
            with (self.path / LOG).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])

    def close(self) -> None:
        os.close(self.lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        # Renamed into place: a crash leaves the old stamp or the new one, never half of one.
        fresh = self.path / f"{STAMP}.new"
        with fresh.open("w") as file:
            json.dump(asdict(self.stamp), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / STAMP)


def _check_ours(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()} - _NOT_DATA
    foreign = sorted(name for name in names if not name.startswith("."))
    if foreign and STAMP not in names:
        raise Refused(
            f"The data directory {path} is not empty and not inboxd's (it holds {foreign[0]}): "
            "name an empty or new one with INBOXD_DATA_DIR."
        )


def _read_stamp(path: Path) -> Stamp | None:
    try:
        return Stamp(**json.loads((path / STAMP).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Refused(
            f"The stamp {path / STAMP} cannot be read ({error}), so nobody knows whose data this is. "
            "Restore it, or name another directory with INBOXD_DATA_DIR."
        ) from error


def _checked(path: Path, stamp: Stamp | None, binary: ServerBinary) -> Stamp:
    """The stamp to go on with, its port free. Raises Refused where `binary` could not read the data."""
    if stamp is None:
        return Stamp(binary.flavour, binary.version, free_port(None))
    if stamp.flavour != binary.flavour:
        raise Refused(
            f"The data in {path} was written by {stamp.flavour} {stamp.version}, and {binary.path} is "
            f"{binary.flavour} {binary.version}, which cannot be trusted to read it. "
            f"Install {stamp.flavour}, or name another directory with INBOXD_DATA_DIR."
        )
    if int(stamp.version.partition(".")[0]) > binary.major:
        raise Refused(
            f"The data in {path} was written by {stamp.flavour} {stamp.version}, which is newer than "
            f"{binary.path} ({binary.version}). Install {stamp.flavour} {stamp.version} or newer, "
            "or name another directory with INBOXD_DATA_DIR."
        )
    if stamp.started and not (path / MANIFEST).is_file():
        raise Refused(
            f"The data in {path} is gone: {MANIFEST} is missing. Restore it; or, to begin with nothing, "
            "remove what is left there."
        )
    return replace(stamp, port=free_port(stamp.port))


def free_port(wanted: int | None) -> int:
    """`wanted` if it is free on the loopback, else any other that is.

    Others come from below the ports that the kernel gives to outgoing connections: while the server is
    down, a client's try to reach it could otherwise be given its very port.
    """
    tries = [] if wanted is None else [wanted]
    tries += random.sample(_PORTS, 100)
    for port in tries:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen(1)  # bind alone succeeds beside another's that does not listen yet
            except OSError:
                continue
            return port
    raise Refused(f"There is no free port on {HOST}.")


async def _lock(fd: int, path: Path, say: Callable[[str], None]) -> None:
    """Takes the lock. Raises Refused naming the holder's pid.

    A holder that is gone has left a server that is about to end: that is waited for.
    """
    waits = most = int(PATIENCE / _RETRY)
    while not _try_lock(fd):
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        if _alive(holder):
            raise Refused(
                f"The data directory {path} is in use by process {holder}. Stop that one, "
                "or name another directory with INBOXD_DATA_DIR."
            )
        if waits == 0:
            raise Refused(
                f"The data directory {path} is in use by a server that process {holder} has left behind "
                f"(its port is in {path / STAMP}). Stop it, or name another directory with INBOXD_DATA_DIR."
            )
        if waits == most:
            say(f"waiting for the server that process {holder} has left behind to end")
        waits -= 1
        await asyncio.sleep(_RETRY)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
