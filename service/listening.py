"""The listening socket, opened by the parent and shared by all workers.

One socket, not one per worker: connections that wait in its queue are served by whichever worker comes
next, so that they survive the death of one.
"""

import errno
import socket

from service.core.errors import Refused

BACKLOG = 4096  # connections that may wait while workers are replaced; the kernel caps it at somaxconn


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises Refused naming port and remedy."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Refused(_why(error, host, port)) from error
    listener.setblocking(False)
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken. Stop what uses it, or name another: INBOXD_PORT or --port."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user. Name one above 1023: INBOXD_PORT or --port."
    return f"Cannot listen on {host}, port {port}: {error.strerror}. See INBOXD_HOST and INBOXD_PORT."
