"""The states of a connection, the same in every client of inboxd."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a client stands."""

    IDLE = "idle"
    """Made, never connected."""
    CONNECTING = "connecting"
    """The socket is being opened, or `hello` was sent."""
    REPLAYING = "replaying"
    """After `welcome`: what was missed is coming."""
    LIVE = "live"
    """Caught up."""
    RECONNECTING = "reconnecting"
    """Waits for the next try."""
    OFFLINE = "offline"
    """There is no network (`set_online(False)`): nothing is tried."""
    CLOSED = "closed"
    """`close()` was called."""
    FAILED = "failed"
    """The service said not to come back. `connect()` tries again."""


CONNECTED = frozenset({State.REPLAYING, State.LIVE})
TRYING = frozenset({State.CONNECTING, *CONNECTED})


@dataclass(frozen=True)
class StateChange:
    """Event `state`. `retry_at`: Unix time in ms of the next try, where one is due. `code`, `reason`: why, if known."""

    state: State
    previous: State
    retry_at: int | None = None
    code: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why the state is `failed`: the close code (None where there was none) and its reason."""

    code: int | None
    reason: str


@dataclass
class Stats:
    """Counts since the client was made. `last_pending`: what the last `welcome` said was waiting.

    `received`: entries, repeats included; `repeats`: those kept from the application; `sent`: `send` frames, including
    those sent again; `connections`: those that reached `welcome`.
    """

    repeats: int = 0
    received: int = 0
    sent: int = 0
    gaps: int = 0
    connections: int = 0
    last_pending: int = 0
