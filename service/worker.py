"""A worker process: `python -m service.worker`, started by the supervisor.

It inherits the listening socket, tells through a pipe when it serves and when it begins to drain, and ends with 0
after a drain or 3 where it refuses to start.
"""

import gc
import logging
import math
import os
import signal
import socket
import sys
import warnings
from contextlib import suppress
from functools import partial
from typing import Any, cast

import uvicorn

from service.app import create_app
from service.config import LISTEN_FD, READY_FD, Settings
from service.core.errors import Refused, Unavailable
from service.delivery.worker import Worker
from service.edge.headers import guarded
from service.edge.http_protocol import Bounds, HttpConnection
from service.edge.ws_opening import Opening
from service.listening import BACKLOG, room

REFUSED = 3
GC_YOUNG = 10_000
"""Allocations between two collections of the youngest generation."""

log = logging.getLogger("inboxd")

CLIENTS_FAULT = ("Invalid UTF-8", "Invalid HTTP request")


class Server(uvicorn.Server):
    """Says when it serves, and has the worker say goodbye before uvicorn shuts connections."""

    def __init__(self, config: uvicorn.Config, worker: Worker, ready: int | None) -> None:
        super().__init__(config)
        self._worker = worker
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._worker.start()
        except (Refused, Unavailable) as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(REFUSED)
        await super().startup(sockets)
        if self.started:
            self._tell(b"1")

    def _tell(self, what: bytes) -> None:
        """The parent, if there is one and it still listens."""
        if self._ready is not None:
            with suppress(OSError):
                os.write(self._ready, what)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _end_at_last(self._worker.settings.drain_timeout)
        for server in self.servers:
            server.close()  # first of all: what connects from now on is another worker's
        self._tell(b"0")
        await self._worker.drain()
        await super().shutdown(sockets)
        await self._worker.stop()


def main() -> int:
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s [{os.getpid()}] %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for library in ("httpx2", "httpcore2"):  # they log whole URLs, and one may hold a password
        logging.getLogger(library).setLevel(logging.WARNING)
    # A client's bad bytes are answered (1007, 400): a line for each would only help whoever wants to fill the disk.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not str(record.msg).startswith(CLIENTS_FAULT))
    listener = socket.socket(fileno=int(os.environ[LISTEN_FD]))
    ready = os.environ.get(READY_FD)
    worker = Worker(settings, _end)
    # uvicorn raises the signals it caught once more when it is done: a drain ends with 0 all the same.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    # One that comes before the loop runs finds the work not begun.
    warnings.filterwarnings("ignore", "coroutine 'Server.serve' was never awaited", RuntimeWarning)
    config = config_of(worker)
    # What exists now stays: no collection need look at it again, and bursts of frames make no cycles.
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 20)
    Server(config, worker, int(ready) if ready else None).run([listener])
    return 0


def config_of(worker: Worker) -> uvicorn.Config:
    """How uvicorn serves this worker's application."""
    settings = worker.settings
    bounds = Bounds(
        connections=room(settings.max_connections),
        handshake=settings.handshake_timeout,
        keep_alive=settings.keep_alive,
        silence=2 * settings.ping_interval,
    )
    return uvicorn.Config(
        guarded(create_app(worker)),
        loop="uvloop",
        http=cast("Any", partial(HttpConnection, bounds=bounds)),
        proxy_headers=False,  # nothing here asks who the peer is, or over which scheme
        ws=Opening,
        ws_max_size=settings.max_frame,
        ws_per_message_deflate=False,  # 200-byte frames do not shrink; its buffers would cost every connection
        ws_ping_interval=settings.ping_interval,
        ws_ping_timeout=settings.ping_interval,
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, int(settings.drain_timeout / 2)),
        server_header=False,
    )


def _end_at_last(seconds: float) -> None:
    """Whatever hangs then: the kernel ends this process, and the supervisor starts another."""
    signal.alarm(math.ceil(seconds) + 1)


def _end(task: str) -> None:
    """A background task has died: leave in order, the supervisor starts another worker."""
    log.critical("ending, because the %s has died", task)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
