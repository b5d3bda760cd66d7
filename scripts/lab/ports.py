"""Free TCP ports."""

import random
import socket


def free_port() -> int:
    """A loopback port nobody listens on, from below the range the kernel gives to outgoing connections."""
    while True:
        port = random.randint(20_000, 32_000)
        if is_free(port):
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
