"""A network namespace joined to this machine by a pair of virtual interfaces, on which packets get lost.

What runs inside (a server, a service) loses IP packets both ways, and TCP has to make up for it, as on a bad network.
Needs root, `ip` and `nft`. Each is named for the process that made it, so that what a crashed run has left is swept
by the next one.
"""

import atexit
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
from typing import Self

import psutil

PREFIX = "lab"
TABLE = "inet lab"
_numbers = itertools.count(1)


def obstacle() -> str:
    """Why there can be no namespaces here; empty where they can be."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"network namespaces need the program {program}"
    try:
        with Namespace() as space:
            space.lose(1)
    except subprocess.CalledProcessError as error:
        return f"this kernel gives no network namespaces: {error.stderr.strip()}"
    return ""


class Namespace:
    """`address` is inside, `outside` the same wire's end on this machine. `wrapped` commands run inside.

    Made by `open`, removed with all that runs in it by `close`, or at the end of this process.
    """

    def __init__(self) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._near, self._far = (f"{PREFIX}{end}{os.getpid() % 100_000}-{self.name.rpartition('-')[2]}" for end in "ab")
        wire = f"198.18.{random.randint(0, 255)}.{4 * random.randint(0, 62)}"  # a range for measuring networks
        self.outside, self.address = (f"{wire.rpartition('.')[0]}.{int(wire.rpartition('.')[2]) + n}" for n in (1, 2))

    def open(self) -> None:
        """Raises CalledProcessError."""
        sweep()
        atexit.register(self.close)
        _ip("netns", "add", self.name)
        _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
        _ip("addr", "add", f"{self.outside}/30", "dev", self._near)
        _ip("link", "set", self._near, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", self._far)
        for interface in ("lo", self._far):
            _ip("-n", self.name, "link", "set", interface, "up")

    def close(self) -> None:
        atexit.unregister(self.close)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._near)
        _remove(self.name)

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wrapped(self, command: list[str]) -> list[str]:
        """The same command, run inside. The process keeps its pid."""
        return ["ip", "netns", "exec", self.name, *command]

    # Faults

    def lose(self, percent: int, *, to_it: bool = True, from_it: bool = True) -> None:
        """So many of 100 packets, chosen at random, are dropped on their way in and out; 100: the cable is cut."""
        rule = f"numgen random mod 100 < {percent} counter drop" if percent < 100 else "counter drop"
        rules = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
        for hook, way, on in (("input", "iifname", to_it), ("output", "oifname", from_it)):
            rules += [f"chain {hook} {{", f"type filter hook {hook} priority 0;"]
            rules += [f'{way} "{self._far}" {rule}'] if on and percent else []
            rules.append("}")
        _run(*self.wrapped(["nft", "-f", "-"]), feed="\n".join([*rules, "}", ""]))

    def heal(self) -> None:
        """Nothing is lost any more."""
        self.lose(0)

    @property
    def lost(self) -> int:
        """Packets dropped since `lose`."""
        told = json.loads(_run(*self.wrapped(["nft", "-j", "list", "table", *TABLE.split()])))
        rules = [item["rule"]["expr"] for item in told["nftables"] if "rule" in item]
        return sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


def sweep() -> None:
    """Removes namespaces of processes that are gone."""
    for row in json.loads(_ip("-j", "netns", "list") or "[]"):
        prefix, _, rest = str(row["name"]).partition("-")
        owner = rest.partition("-")[0]
        if prefix == PREFIX and owner.isdigit() and not psutil.pid_exists(int(owner)):
            _remove(row["name"])


def _remove(name: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        for pid in _ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "del", name)


def _ip(*words: str) -> str:
    return _run("ip", *words)


def _run(*command: str, feed: str | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, input=feed).stdout
