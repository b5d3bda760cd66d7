"""What a system must offer to be measured beside the others: its processes, and clients that speak to them."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Client(Protocol):
    """One user of a system. Made in the parent, pickled, then used inside a load process.

    Until `connect` it is a plain record: no loop, no socket, no future in `__init__`. The callbacks are set in the load
    process. They may call `send`, and are called at most once for each thing that arrived. What one turn of
    the loop gives rise to goes out in one write (`bench/outbox.py`): the load must not be the limit.
    """

    on_accepted: Callable[[str], None]
    """The system has confirmed this id to its sender, by the strongest confirmation it has.

    Where it has none it is called when the send was handed to the socket, and `Peer.confirms` is empty."""

    on_message: Callable[[str, str], None]
    """(id, text), for every message that arrived, repeated ones too; the client acks as the system wants it."""

    on_lost: Callable[[], None]
    """The connection is gone without `close`; what is sent from now on is dropped without a word."""

    async def connect(self) -> None:
        """Connects as this user, with whatever session or persistence the system offers.

        Returns when messages can be sent and received. What was kept for the user may arrive before or after.
        Called again after `close` or a loss it takes up the same session, on the same object or on a new one
        of the same user in another process. Raises what it likes (OSError, TimeoutError) when it cannot.
        """

    def send(self, to: str, id: str, text: str) -> None:
        """One message. `text`: 200 ASCII characters that need no escapes; `id`: up to 40 of `A-Za-z0-9-`.

        The id travels where the system has a place for it, else in front of the text.
        """

    async def close(self) -> None:
        """Leaves as a user does who will be back: what comes meanwhile is kept, where the system can."""


class Peer(Protocol):
    """One system. Each round of a run makes a new one, starts it, measures it and stops it."""

    name: str
    """As it stands in the tables: "Socket.IO + streams adapter"."""

    confirms: str
    """What its confirmation says, in a few words ("in Redis, fsynced"); "" where it has none."""

    keeps: int
    """How many messages it keeps for one user who is away, as it is started here; 0: none."""

    in_full: bool
    """False: a further row of a system that has one: only what it carries is measured, and what that costs."""

    def missing(self) -> str:
        """Why it cannot run here: the program that is not there, and how to get it. "" if it can."""

    def start(self, folder: Path) -> None:
        """Starts its processes, and its own Redis where it has one (`lab.redis_server`: AOF `always`).

        Two server processes where the system has processes, its most durable mode, data in `folder` (which is there
        and empty), free loopback ports. It is ready when this returns; raises when it does not get ready.
        """

    @property
    def pids(self) -> list[int]:
        """All its processes, Redis included: for CPU and memory."""

    @property
    def versions(self) -> dict[str, str]:
        """Of what it consists of: {"Socket.IO": "4.8.1", "Node.js": "20.19", "Valkey": "9.1"}. After `start`."""

    @property
    def redis_url(self) -> str:
        """Of its Redis, which is asked what it was asked to do; "": it has none. After `start`."""

    def client(self, user: str) -> Client:
        """A client of this user. Users are `A-Za-z0-9-`, up to 40, and need not be known before.

        Users are spread over the processes (by a hash of the name, or as the kernel does it), so that about every
        second message crosses from one process to another.
        """

    def kill_one(self) -> None:
        """SIGKILL to one of the processes that clients are connected to.

        The system's own supervisor starts it again, or this does; returns when clients can connect again.
        """

    def stop(self) -> None:
        """Ends all its processes. Also after a `start` that failed half way."""


def ignore_id(id: str) -> None:
    """An `on_accepted` that nobody listens to."""


def ignore_message(id: str, text: str) -> None:
    """An `on_message` that nobody listens to."""


def ignore_loss() -> None:
    """An `on_lost` that nobody listens to."""
