"""A command on a leash is the command itself, and ends with its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from scripts.lab.processes import descendants, is_alive
from scripts.lab.timing import eventually
from service.leash import leashed

# Nothing but a signal ends it.
SAY_PID_AND_WAIT = "import os, signal; print(os.getpid(), flush=True); signal.pause()"

PARENT = f"""
import subprocess, sys
from service.leash import leashed
subprocess.Popen(leashed([sys.executable, "-c", {SAY_PID_AND_WAIT!r}])).wait()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as process:
        yield process
        left = descendants(process.pid)
        process.kill()
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def test_it_becomes_the_command_with_its_pid_and_exit_code() -> None:
    code = "import os, sys; print(os.getpid()); sys.exit(5)"
    with subprocess.Popen(leashed([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].strip() == str(process.pid)
        assert process.returncode == 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a wish to the kernel")
@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGTERM))
def test_it_ends_with_its_parent(parent: subprocess.Popen[str], number: signal.Signals) -> None:
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.send_signal(number)
    eventually(lambda: not is_alive(child), "the child has ended")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a wish to the kernel")
def test_it_does_not_begin_when_its_parent_is_gone_already() -> None:
    command = leashed([sys.executable, "-c", "print('begun')"])
    assert str(os.getpid()) in command
    orphaned = [word if word != str(os.getpid()) else "1" for word in command]
    assert subprocess.run(orphaned, capture_output=True, check=True).stdout == b""
