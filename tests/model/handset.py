"""A device as a client library is: it keeps a cursor, drops repeats by identity, and remembers what it was shown."""

from collections.abc import Callable
from typing import Any

from service.delivery.worker import Worker
from tests.delivery.rig import Client
from tests.model.truth import Identity
from tests.support.rules import ENTRIES

Frame = dict[str, Any]


def identity_of(frame: Frame) -> Identity:
    kind = "message" if frame["type"] == "deleted" else frame["type"]
    who = {"receipt": "by", "group": "group"}.get(kind) or ("from" if "from" in frame else "group")
    return (kind, frame[who], frame["id"])


class Handset:
    """One device. `log`: every entry once, in the order it came. `acked`: the furthest it ever said; `began`: where its
    first replay started. `judge`: is told of every receipt when it comes.
    """

    def __init__(self, user: str, name: str, judge: Callable[[str, Frame], None]) -> None:
        self.user, self.name = user, name
        self._judge = judge
        self.client: Client | None = None
        self.worker: Worker | None = None
        self.cursor = ""
        self.began = ""
        self.acked = (0, 0)
        self.log: list[Frame] = []
        self.seen: dict[Identity, str] = {}
        self._attempt = 0
        self._taken = 0

    async def connect(self, worker: Worker, window: int, *, named: bool) -> None:
        """`named`: it says where it stands, rather than leave that to the service."""
        self.leave()
        self._attempt += 1
        self.worker, self._taken = worker, 0
        self.client = Client(worker, self.user, self.name, self._attempt)
        start = {"cursor": self.cursor} if named and self.cursor else {}
        if start:
            self.acked = max(self.acked, position(self.cursor))
        await self.client.hello(window=window, attempt=self._attempt, **start)
        await self.client.next("welcome")
        self.began = self.began or self.client.of("welcome")[0]["cursor"]

    def leave(self) -> None:
        """The connection is lost."""
        if self.client is not None:
            self.take()
            self.client.hang_up()
        self.client = None

    def take(self) -> None:
        """Handles what has come."""
        client = self.client
        assert client is not None
        assert client.fault is None, client.fault
        frames, self._taken = client.frames[self._taken :], len(client.frames)
        for frame in frames:
            if frame["type"] in ENTRIES:
                self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        assert frame["type"] != "gap", f"nothing was trimmed, expired or lost: {frame}"
        found, self.cursor = identity_of(frame), frame["cursor"]
        if found in self.seen:
            assert self.seen[found] == frame["cursor"], f"{found} came twice, as two entries"
            return
        self.seen[found] = frame["cursor"]
        self.log.append(frame)
        if frame["type"] == "receipt":
            self._judge(self.user, frame)

    def ack(self) -> None:
        """Everything that was handled."""
        if self.client is not None and self.cursor:
            self.take()
            self.acked = max(self.acked, position(self.cursor))
            self.client.ack(self.cursor)


def position(cursor: str) -> tuple[int, int]:
    ms, _, number = cursor.partition("-")
    return int(ms), int(number)
