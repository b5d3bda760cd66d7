"""The JavaScript client, ready to be tested: its development dependencies and its build, once for all processes."""

import fcntl
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from scripts.tools import Node

CLIENT = Path(os.environ.get("CLIENTS_UNDER_TEST", str(Path(__file__).parents[2] / "clients"))) / "js"
ENOUGH = 300  # seconds for what may have to be fetched


class NotBuiltError(Exception):
    """What npm or the build said."""


@cache
def prepare(node: Node) -> Path:
    """Runs `npm ci` and the build where something changed since they ran last; answers the client's folder."""
    with (CLIENT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        lockfile = [CLIENT / "package-lock.json"]
        _unless_same(CLIENT / "node_modules" / ".of", lockfile, node, [[*node.npm, "ci", "--no-audit", "--no-fund"]])
        build = [[node.program, "build.mjs"], [node.program, "node_modules/typescript/bin/tsc", "-p", "."]]
        _unless_same(CLIENT / "dist" / ".of", _sources(), node, build)
    return CLIENT


def run(node: Node, *command: str, timeout: float = ENOUGH) -> "subprocess.CompletedProcess[str]":
    """Runs a Node.js program in the client's folder."""
    return subprocess.run(
        [node.program, *command],
        cwd=CLIENT,
        env=node.environ,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _sources() -> list[Path]:
    return sorted([*CLIENT.glob("src/**/*.mts"), *CLIENT.glob("*.json"), CLIENT / "build.mjs"])


def _unless_same(stamp: Path, of: list[Path], node: Node, commands: list[list[str]]) -> None:
    digest = hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in of)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    for command in commands:
        done = subprocess.run(
            command, cwd=CLIENT, env=node.environ, capture_output=True, text=True, timeout=ENOUGH, check=False
        )
        if done.returncode != 0:
            raise NotBuiltError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    stamp.write_text(digest)
