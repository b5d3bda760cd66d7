"""What is told when something waits: to an application's backend, or to a Matrix push gateway. Never what it says."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from service.core.push import Counted
from service.store.pushers import Pusher, Pushers
from service.telemetry import PUSHERS_REJECTED


class Format(Protocol):
    """A receiver's language."""

    async def recipients(self, user: str) -> Mapping[str, Pusher] | None:
        """Device → pusher, where the language has those. None: there is nobody to tell. Raises Unavailable."""

    def body(self, user: str, to: Mapping[str, Pusher], waits: Counted, id: str, now_ms: int) -> bytes:
        """What these are told. Something waits."""

    async def accepted(self, user: str, to: Mapping[str, Pusher], content: bytes) -> bool:
        """What the receiver answered to it: whether anybody was told. Raises Unavailable."""


class WebhookFormat:
    """`inbox.pending`, as `docs/protocol.md` has it."""

    async def recipients(self, user: str) -> Mapping[str, Pusher] | None:
        """The backend knows."""
        return {}

    def body(self, user: str, to: Mapping[str, Pusher], waits: Counted, id: str, now_ms: int) -> bytes:
        """Count and newest sender."""
        newest = waits.newest
        assert newest is not None  # something waits
        told = {"from": newest.sender, "group": newest.group or None, "cursor": str(newest.cursor),
                "ts": newest.cursor.ms}  # fmt: skip
        at = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {"user": user, "pending": waits.count, "newest": told}
        return orjson.dumps({"type": "inbox.pending", "timestamp": at, "data": data})

    async def accepted(self, user: str, to: Mapping[str, Pusher], content: bytes) -> bool:
        """Nothing in it counts."""
        return True


class MatrixFormat:
    """A notification of the Matrix Push Gateway API, for every device of the user that has a pusher."""

    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers

    async def recipients(self, user: str) -> Mapping[str, Pusher] | None:
        """None where no device has a pusher."""
        return await self._pushers.of(user) or None

    def body(self, user: str, to: Mapping[str, Pusher], waits: Counted, id: str, now_ms: int) -> bytes:
        """`event_id` is by what gateways drop repeats."""
        newest = waits.newest
        assert newest is not None  # something waits
        notification = {
            "event_id": f"${id}",
            "room_id": newest.group or newest.sender,
            "type": "m.room.message",
            "sender": newest.sender,
            "prio": "high",
            "counts": {"unread": waits.count},
            "devices": [_device(pusher) for pusher in to.values()],
        }
        return orjson.dumps({"notification": notification})

    async def accepted(self, user: str, to: Mapping[str, Pusher], content: bytes) -> bool:
        """Pushers whose key the gateway rejects are gone."""
        rejected = rejected_in(content)
        gone = [(device, pusher) for device, pusher in to.items() if pusher.pushkey in rejected]
        if gone:
            PUSHERS_REJECTED.inc(await self._pushers.reject(user, gone))
        return len(gone) < len(to)


def _device(pusher: Pusher) -> dict[str, Any]:
    return {"app_id": pusher.app_id, "pushkey": pusher.pushkey, "pushkey_ts": pusher.since, "data": pusher.data}


def rejected_in(content: bytes) -> frozenset[str]:
    """The keys that an answer rejects; none where it cannot be read."""
    try:
        told = orjson.loads(content)
        return frozenset(key for key in told["rejected"] if isinstance(key, str))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return frozenset()
