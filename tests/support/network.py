"""One machine's network for all test processes: a browser drops what it is loading when an interface comes or goes."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def held(tmp_path_factory: pytest.TempPathFactory, *, changing: bool) -> Iterator[None]:
    """Whoever changes it is alone; all others share it."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if base.name.startswith("popen-") else base  # of all processes of this run
    with Path(run, "network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if changing else fcntl.LOCK_SH)
        yield
