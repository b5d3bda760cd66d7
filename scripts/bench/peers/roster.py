"""All systems that are compared, in the order of the tables."""

from collections.abc import Callable

from scripts.bench.peers.centrifugo import Centrifuge, Centrifugo
from scripts.bench.peers.ejabberd import Ejabberd
from scripts.bench.peers.inboxd import Inboxd
from scripts.bench.peers.mosquitto import Mosquitto
from scripts.bench.peers.peer import Peer
from scripts.bench.peers.pubsub import PubSub
from scripts.bench.peers.socketio import SocketIO


def with_own_copy() -> Peer:
    return Inboxd("OWN_COPY")


def with_everything() -> Peer:
    return Inboxd("OWN_COPY", "RECEIPTS")


ROSTER: tuple[Callable[[], Peer], ...] = (
    Inboxd,
    with_own_copy,
    with_everything,
    PubSub,
    SocketIO,
    Centrifugo,
    Centrifuge,
    Ejabberd,
    Mosquitto,
)
"""Each makes one, not started. The first is the one that the others are set beside."""
