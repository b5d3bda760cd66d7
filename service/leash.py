"""Runs a command that does not outlive its parent: `python leash.py PARENT-PID COMMAND…`.

A small program of its own rather than a preexec_fn, because between fork and exec in a process with
threads hardly anything is safe to call. It becomes the command (same pid), so signals and the exit code
are the command's own. Away from Linux there is no such wish to the kernel, and it only runs the command.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` leashed to this process. SIGTERM comes when this process ends."""
    # -I -S: neither the environment nor site-packages are needed, and without them it starts in a few ms.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        # The wish holds across exec. It is told when the parent's *thread* ends: children are started
        # from the main thread only.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return  # it died before it could be leashed to
    os.execvp(command[0], command)  # noqa: S606 - a shell would stay in between


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
