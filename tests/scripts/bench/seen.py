"""What a client of a peer was told, and waiting for it."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from scripts.bench.peers.peer import Client
from scripts.lab.timing import PATIENCE


class Seen:
    """What a client was told."""

    def __init__(self, client: Client) -> None:
        self.accepted: list[str] = []
        self.messages: list[tuple[str, str]] = []
        self.lost = 0
        self._news = asyncio.Event()
        client.on_accepted = self._accepted
        client.on_message = self._message
        client.on_lost = self._gone

    def _accepted(self, id: str) -> None:
        self.accepted.append(id)
        self._news.set()

    def _message(self, id: str, text: str) -> None:
        self.messages.append((id, text))
        self._news.set()

    def _gone(self) -> None:
        self.lost += 1
        self._news.set()

    async def wait_for(self, messages: int = 0, accepted: int = 0, lost: int = 0) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.messages) < messages or len(self.accepted) < accepted or self.lost < lost:
                self._news.clear()
                await self._news.wait()


class Placed(Protocol):
    """A client that knows the port of its process."""

    _port: int


C = TypeVar("C", bound=Placed)


def neighbour(make: Callable[[str], C], of: C, *, same: bool) -> C:
    """A client on the same process as another one, or on another."""
    clients = (make(f"other-{number}") for number in range(1000))
    return next(client for client in clients if (client._port == of._port) == same)
