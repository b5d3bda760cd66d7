"""Processes, by pid."""

import ctypes
import os
import signal
import sys

import psutil

from scripts.lab.timing import PATIENCE, eventually

SERVER_NAMES = ("valkey-server", "redis-server")


def die_with_parent() -> None:
    """In a child before its program begins: let it end with the thread that started it (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds a process."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[psutil.Process]:
    """All living children of a process and theirs."""
    try:
        return [child for child in psutil.Process(pid).children(recursive=True) if is_alive(child.pid)]
    except psutil.NoSuchProcess:
        return []


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(psutil.Process(pid).memory_info().rss)


def kill(pid: int) -> None:
    """`kill -9`, and waits until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), f"process {pid} gone after SIGKILL", PATIENCE)


def pause(pid: int) -> None:
    """`kill -STOP`, and waits until it holds."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid), f"process {pid} stopped by SIGSTOP", PATIENCE)


def resume(pid: int) -> None:
    """`kill -CONT`."""
    os.kill(pid, signal.SIGCONT)
