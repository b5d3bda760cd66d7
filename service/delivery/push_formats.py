"""What is told when something waits: to an application's backend, or to a Matrix push gateway. Never what it says."""

from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from service.core.push import Pending
from service.store.pushers import Pusher, Pushers
from service.telemetry import PUSHERS_REJECTED


class Format(Protocol):
    """A receiver's language."""

    async def body(self, user: str, pending: Pending, id: str, now_ms: int) -> bytes | None:
        """None: there is nobody to tell. Raises Unavailable."""

    async def accepted(self, user: str, content: bytes) -> None:
        """What the receiver answered to it. Raises Unavailable."""


class WebhookFormat:
    """`inbox.pending`, as `docs/protocol.md` has it."""

    async def body(self, user: str, pending: Pending, id: str, now_ms: int) -> bytes | None:
        """Count and newest sender."""
        newest = pending.newest
        assert newest is not None  # something waits
        told = {"from": newest.sender, "group": newest.group or None, "cursor": str(newest.cursor),
                "ts": newest.cursor.ms}  # fmt: skip
        at = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {"user": user, "pending": pending.count, "newest": told}
        return orjson.dumps({"type": "inbox.pending", "timestamp": at, "data": data})

    async def accepted(self, user: str, content: bytes) -> None:
        """Nothing in it counts."""


class MatrixFormat:
    """A notification of the Matrix Push Gateway API, for every device of the user that has a pusher."""

    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers

    async def body(self, user: str, pending: Pending, id: str, now_ms: int) -> bytes | None:
        """None where no device has a pusher. `event_id` is by what gateways drop repeats."""
        pushers = await self._pushers.of(user)
        if not pushers:
            return None
        newest = pending.newest
        assert newest is not None  # something waits
        notification = {
            "event_id": f"${id}",
            "room_id": newest.group or newest.sender,
            "type": "m.room.message",
            "sender": newest.sender,
            "prio": "high",
            "counts": {"unread": pending.count},
            "devices": [_device(pusher) for pusher in pushers.values()],
        }
        return orjson.dumps({"notification": notification})

    async def accepted(self, user: str, content: bytes) -> None:
        """Pushers whose key the gateway rejects are gone."""
        rejected = rejected_in(content)
        pushers = (await self._pushers.of(user)).items() if rejected else ()
        gone = [(device, pusher) for device, pusher in pushers if pusher.pushkey in rejected]
        if gone:
            PUSHERS_REJECTED.inc(await self._pushers.reject(user, gone))


def _device(pusher: Pusher) -> dict[str, Any]:
    return {"app_id": pusher.app_id, "pushkey": pusher.pushkey, "pushkey_ts": pusher.since, "data": pusher.data}


def rejected_in(content: bytes) -> frozenset[str]:
    """The keys that an answer rejects; none where it cannot be read."""
    try:
        told = orjson.loads(content)
        return frozenset(key for key in told["rejected"] if isinstance(key, str))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return frozenset()
