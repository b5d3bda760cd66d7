"""A careless system that runs, and sizes that take a moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scripts.bench.crew import Gate
from scripts.bench.peers.reading import Stage
from scripts.bench.peers.sizes import QUICK
from tests.scripts.bench.careless_peer import CarelessPeer

MOMENT = replace(
    QUICK, pairs=4, in_flight=8, seconds=0.3, warm_up=0.1, steady=0.5, offline=0.3, backlogs=(200,), idle=8,
    killed=400, drain=1.0,
)  # fmt: skip


class OpenGate(Gate):
    """Holds up nobody."""

    def __init__(self) -> None: ...

    async def wait(self) -> None: ...


@contextmanager
def careless(folder: Path, *, loses: int = 0, repeats: int = 0) -> Iterator[tuple[CarelessPeer, Stage]]:
    peer = CarelessPeer(loses=loses, repeats=repeats)
    peer.start(folder)
    try:
        yield peer, Stage(peer, MOMENT, loads=1)
    finally:
        peer.stop()
