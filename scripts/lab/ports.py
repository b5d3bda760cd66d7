"""Free TCP ports, each given out once."""

import random
import socket
import sys

PORTS = range(11_000, 20_000)
"""Below those the kernel gives to outgoing connections, and those of embedded servers; browsers refuse 10080."""

_ports = random.Random()  # a test that has seeded the common one gets no others' ports for that


def free_port() -> int:
    """A loopback port nobody listens on; until this process ends nobody else is given it."""
    while True:
        port = _ports.choice(PORTS)
        if is_free(port) and _taken(port):
            return port


def is_free(port: int) -> bool:
    """Whether one could listen on a loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _taken(port: int) -> bool:
    """Puts up a mark that goes with this process (Linux; elsewhere luck has to do). Two servers that are started on one
    port at the same time would otherwise be taken for each other.
    """
    if sys.platform != "linux":
        return True
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0lab-port-{port}")
    except OSError:
        mark.close()
        return False
    mark.detach()
    return True
