"""What each stage costs one core, from `measured.json`. µs and bytes."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MEASURED = Path(__file__).with_name("measured.json")
SEND_SHARE = 0.8  # of the whole path at most: they come from two loads, whose noise may make the part as dear
LOOKS = ("info", "config|get")
LOOK_OVERHEAD = 2.0  # an answer of 3 kB is written as well, which the command's own time does not hold


@dataclass(frozen=True)
class Price:
    """µs of a worker's core and of a server's; bytes that went to the server and came from it."""

    worker: float
    server: float
    to_server: float
    from_server: float

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        return cls(found["worker_us"], found["server_us"], found["to_server"], found["from_server"])

    def at_most(self, share: float, whole: "Price") -> "Price":
        """No more than that of the whole."""
        return Price(
            min(self.worker, share * whole.worker),
            min(self.server, share * whole.server),
            min(self.to_server, share * whole.to_server),
            min(self.from_server, share * whole.from_server),
        )

    def less(self, other: "Price") -> "Price":
        """What is left without the other; nothing is less than nothing."""
        return Price(
            max(0.0, self.worker - other.worker),
            max(0.0, self.server - other.server),
            max(0.0, self.to_server - other.to_server),
            max(0.0, self.from_server - other.from_server),
        )


@dataclass(frozen=True)
class Costs:
    """`send`: from the frame to `accepted`, of a message to one user, away. `relay`: announced, read, delivered, acked.
    Both where much is done at once (`full`) and where hardly two messages meet (`calm`), as it is on many servers.
    `second`: of a connection that says nothing. `look_us`: what one worker's looks at it cost a primary each second.
    """

    full_send: Price
    full_relay: Price
    calm: Price
    replay: Price
    member: Price
    connect: Price
    second: Price
    look_us: float
    worker_bytes: int
    server_bytes: int
    entry_bytes: int
    inbox_bytes: int
    group_sends: float
    group_members: int

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        pairs = Price.of(found["pairs"])
        send = Price.of(found["sends"]).at_most(SEND_SHARE, pairs)
        memory, connections, group = found["memory"], found["connections"], found["group"]
        return cls(
            full_send=send,
            full_relay=pairs.less(send),
            calm=Price.of(found["calm"]),
            replay=Price.of(found["replay"]),
            member=Price.of(group),
            connect=Price.of(connections["connect"]),
            second=Price.of(connections["idle"]),
            look_us=LOOK_OVERHEAD * sum(math.prod(found["alone"]["calls"].get(name, (0, 0))) for name in LOOKS),
            worker_bytes=connections["bytes"]["worker"],
            server_bytes=max(0, connections["bytes"]["server"]),
            entry_bytes=memory["entry_bytes"],
            inbox_bytes=memory["first_entry_bytes"],
            group_sends=group["sends_per_s"],
            group_members=group["members"],
        )

    @property
    def calm_send(self) -> Price:
        """What of a lone message's path is the send: as much of it as where much is done at once."""
        return _part(self.calm, self.full_send, self.full_relay)

    @property
    def calm_relay(self) -> Price:
        return self.calm.less(self.calm_send)


def _part(whole: Price, part: Price, rest: Price) -> Price:
    def share(a: float, b: float) -> float:
        return a / (a + b) if a + b else 0.0

    return Price(
        whole.worker * share(part.worker, rest.worker),
        whole.server * share(part.server, rest.server),
        whole.to_server * share(part.to_server, rest.to_server),
        whole.from_server * share(part.from_server, rest.from_server),
    )


def measured(place: Path = MEASURED) -> dict[str, Any]:
    """What `python -m scripts.sizing.measure` wrote last."""
    found: dict[str, Any] = json.loads(place.read_text())
    return found
