"""The Python client of inboxd: what was accepted arrives, in order, and the application sees it once.

- `InboxClient`: a device, over a WebSocket, with cursor and outbox on disk (asyncio).
- `InboxSender`: a backend that sends over HTTP (synchronous).

The pieces, from the outside in: client.py (the public face), engine.py (what sets off what), delivery.py and
sending.py (the two directions), reading.py and watching.py (what is said again), asking.py (HTTP), connector.py and
wire.py (sockets, timers, tokens), storage.py and database.py (SQLite). Decisions are pure and apart: link.py (when to
connect), drafts.py and outbox.py (what goes out, and when), inbox.py (what is a repeat, what may be acked), reads.py
(what is read).
"""

from inboxd_client.client import InboxClient
from inboxd_client.errors import (
    ClientClosed,
    ClientFailed,
    InboxError,
    RequestError,
    SendError,
    StorageError,
    Unreachable,
)
from inboxd_client.frames import Acceptance, Message
from inboxd_client.handling import Handling
from inboxd_client.outbox import ItemKind, ItemState, OutboxItem
from inboxd_client.sender import InboxSender, Outgoing
from inboxd_client.shapes import (
    Change,
    Conversation,
    Deleted,
    Fate,
    FateOf,
    Gap,
    Group,
    GroupEvent,
    GroupSummary,
    Mark,
    Presence,
    Reached,
    ReadMark,
    Receipt,
    Signal,
)
from inboxd_client.states import Failure, State, StateChange, Stats
from inboxd_client.timing import Timing

__all__ = [
    "Acceptance",
    "Change",
    "ClientClosed",
    "ClientFailed",
    "Conversation",
    "Deleted",
    "Failure",
    "Fate",
    "FateOf",
    "Gap",
    "Group",
    "GroupEvent",
    "GroupSummary",
    "Handling",
    "InboxClient",
    "InboxError",
    "InboxSender",
    "ItemKind",
    "ItemState",
    "Mark",
    "Message",
    "OutboxItem",
    "Outgoing",
    "Presence",
    "Reached",
    "ReadMark",
    "Receipt",
    "RequestError",
    "SendError",
    "Signal",
    "State",
    "StateChange",
    "Stats",
    "StorageError",
    "Timing",
    "Unreachable",
]

__version__ = "0.1.0"
