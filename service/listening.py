"""The listening socket, opened by the parent and shared by all workers; and how many connections fit a worker.

One socket, not one per worker: connections that wait in its queue are served by whichever worker comes
next, so that they survive the death of one.
"""

import errno
import logging
import resource
import socket

from service.core.errors import Refused

log = logging.getLogger("inboxd")

BACKLOG = 4096  # connections that may wait while workers are replaced; the kernel caps it at somaxconn
SPARE_FILES = 400
"""Files that a worker opens beside its clients' connections: the server's, metrics, and the connections that are one
too many but still told so (service/edge/http_protocol.py).
"""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises Refused naming port and remedy."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Refused(_why(error, host, port)) from error
    listener.setblocking(False)
    return listener


def room(wanted: int) -> int:
    """How many connections this process may hold: as many as wanted, or as the limit of open files allows, which is
    raised as far as it may be. A process that runs out of files can neither accept nor reach its server.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    log.warning("only %d open files are allowed: at most %d connections are held (ulimit -n)", soft, soft - SPARE_FILES)
    return max(1, soft - SPARE_FILES)


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken. Stop what uses it, or name another: INBOXD_PORT or --port."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be opened by this user. Name one above 1023: INBOXD_PORT or --port."
    return f"Cannot listen on {host}, port {port}: {error.strerror}. See INBOXD_HOST and INBOXD_PORT."
