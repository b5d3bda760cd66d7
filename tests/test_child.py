"""One child process: how it is started, and how it is brought to an end."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process

import pytest

from scripts.lab.processes import is_alive
from service.child import end, ending, spawn

WAITS = "print(flush=True); import signal; signal.pause()"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


async def started(code: str) -> Process:
    """A process that has come to its `print`."""
    process = await spawn([sys.executable, "-I", "-c", code], env=os.environ, fds=(), stdout=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def test_it_inherits_what_it_is_given_and_is_in_a_group_of_its_own() -> None:
    inherited, ours = os.pipe()
    code = f"import os; os.write({ours}, os.environ['WORD'].encode()); print(os.getpgrp())"
    process = await spawn([sys.executable, "-I", "-c", code], env={"WORD": "hi"}, fds=(ours,), stdout=PIPE)
    said, _ = await process.communicate()
    assert os.read(inherited, 2) == b"hi"
    assert int(said) == process.pid
    os.close(inherited)
    os.close(ours)


async def test_a_child_that_ends_on_sigterm_ends_by_itself() -> None:
    process = await started(WAITS)
    assert await end(process, 3600)
    assert process.returncode == -15


async def test_one_that_does_not_is_killed() -> None:
    process = await started(IGNORES)
    assert not await end(process, 0.01)
    assert process.returncode == -9


async def test_one_that_has_ended_already_is_left_alone() -> None:
    process = await started("print()")
    await process.wait()
    assert await end(process, 0)


async def test_it_is_killed_on_the_way_out_of_a_cancelled_task_too() -> None:
    """Pythons before 3.11.3 would leave it behind if an asyncio.timeout measured the patience."""
    process = await started(IGNORES)

    async def owner() -> None:
        try:
            await process.wait()
        finally:
            assert not await end(process, 0.01)

    task = asyncio.create_task(owner())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert not is_alive(process.pid)


@pytest.mark.parametrize(
    ("code", "words"), ((0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-199, "signal 199"))
)
def test_an_ending_is_told_in_words(code: int, words: str) -> None:
    assert ending(code) == words
