"""The other side of a connection: a WebSocket, of this protocol or the older one, or an event stream."""

from typing import Protocol


class Peer(Protocol):
    """Where frames go."""

    def send(self, lines: list[bytes]) -> None:
        """Writes frames, bundled. Never blocks; what is in flight is bounded by the session."""

    def close(self, code: int, reason: str) -> None:
        """Says goodbye; the reading side then ends."""

    @property
    def gone(self) -> bool:
        """Nobody is there any more."""

    @property
    def flooded(self) -> bool:
        """More waits than anybody who acks what they have read would leave unread."""
