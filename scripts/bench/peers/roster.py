"""All systems that are compared, in the order of the tables."""

from collections.abc import Callable

from scripts.bench.peers.peer import Peer

ROSTER: tuple[Callable[[], Peer], ...] = ()
"""Each makes one, not started."""
