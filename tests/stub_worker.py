"""A worker that only keeps the contract with its parent: run as a program, its behaviour is its argument.

It answers every connection with its pid and its environment as JSON, needs nothing but the standard
library, and so starts in milliseconds.
"""

import json
import os
import signal
import socket
import sys
import threading

REASON = "stub worker: refuses to start, the moon is wrong"


def main(behaviour: str) -> None:
    if behaviour == "refuse":
        sys.stderr.write(f"{REASON}\n")
        sys.exit(3)
    if behaviour == "crash":
        sys.exit(7)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, _linger if behaviour == "lingers" else _end)
    listener = socket.socket(fileno=int(os.environ["INBOXD_LISTEN_FD"]))
    listener.setblocking(True)
    if behaviour != "silent":
        os.write(int(os.environ["INBOXD_READY_FD"]), b"1")
    answer = json.dumps({"pid": os.getpid(), "environ": dict(os.environ)}).encode()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)


def _linger(number: int, frame: object) -> None:
    """Says that it drains, and has no end of it."""
    os.write(int(os.environ["INBOXD_READY_FD"]), b"0")
    threading.Event().wait()


def _end(number: int, frame: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
