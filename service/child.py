"""A child process of the parent: started on a leash, ended in order, its ending told in words."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence

from service.leash import leashed


async def spawn(
    command: Sequence[str], *, env: Mapping[str, str], fds: tuple[int, ...], stdout: int | None = None
) -> Process:
    """Starts a command that inherits `fds` and our stderr, and does not outlive us."""
    return await asyncio.create_subprocess_exec(
        *leashed(command),
        stdin=DEVNULL,
        stdout=stdout,
        pass_fds=fds,
        env=env,
        process_group=0,  # Ctrl-C reaches the parent alone, which stops things in their order
    )


async def end(process: Process, patience: float) -> bool:
    """SIGTERM; SIGKILL after `patience` seconds. Returns when the process has ended: whether by itself.

    It is called on the way out of a cancelled task, where Pythons before 3.11.3 take the end of an
    asyncio.timeout for one more cancellation, and would leave the process behind.
    """
    if process.returncode is not None:
        return True
    process.terminate()
    waiting = asyncio.ensure_future(process.wait())
    await asyncio.wait((waiting,), timeout=patience)
    by_itself = waiting.done()
    if not by_itself:
        process.kill()
    await waiting
    return by_itself


def ending(code: int) -> str:
    """An exit code in words: negative ones are signals."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
