"""Server programs of other makes and ages than the usual one, where they are installed."""

import functools
import shutil

from scripts.lab.rights import version

OLDEST = (7, 0)
"""The oldest Redis that is served; Debian 12 has it."""


@functools.cache
def oldest() -> str:
    """The path of a Redis 7.0; empty where there is none."""
    path = shutil.which("redis-server")
    return path if path and version(path) == OLDEST else ""
