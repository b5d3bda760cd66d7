"""Frames and answers by their fields, for type checkers; at run time they are dicts as they came.

More fields may come with a newer service. Times are Unix ms.
"""

from typing import Any, Literal, NotRequired, TypedDict


class Receipt(TypedDict):
    """`by` has every message of one's own to them, up to and including `target`."""

    type: str
    id: str
    target: str
    kind: Literal["delivered", "read"]
    by: str
    cursor: str
    ts: int


ReadMark = TypedDict(
    "ReadMark",
    {
        "type": str, "id": str, "from": NotRequired[str], "group": NotRequired[str], "upto": str | int, "cursor": str,
        "ts": int,
    },
)  # fmt: skip
"""Event `read`: one has read that far, on this device or another. `upto`: a message's id; in a group its number."""

Change = TypedDict(
    "Change",
    {
        "type": Literal["edit", "delete", "react"], "id": str, "target": str, "target_from": str, "from": str,
        "to": NotRequired[str | list[str]], "group": NotRequired[str], "seq": NotRequired[int],
        "body": NotRequired[Any], "cursor": str, "ts": int, "replay": NotRequired[bool],
    },
)  # fmt: skip
"""Of the message `target` of `target_from`. A reaction with the body None is taken back."""

Deleted = TypedDict(
    "Deleted",
    {
        "type": str, "id": str, "from": str, "to": NotRequired[str | list[str]], "group": NotRequired[str],
        "seq": NotRequired[int], "cursor": str, "ts": int, "replay": NotRequired[bool],
    },
)  # fmt: skip
"""Stands where an erased message was."""

Signal = TypedDict(
    "Signal", {"type": str, "from": str, "to": NotRequired[str], "group": NotRequired[str], "body": Any, "ts": int}
)


class GroupEvent(TypedDict):
    """Event `group`. `user`: whom it is about; `by`: who did it. `name`: of `created` and `renamed`."""

    type: str
    id: str
    group: str
    seq: int
    event: Literal["created", "joined", "left", "renamed", "deleted"]
    user: str
    by: str
    name: NotRequired[str | None]
    cursor: str
    ts: int


class Gap(TypedDict):
    """The entries after `after` up to and including `cursor` will not come. `missing`: None where not known."""

    type: str
    after: str
    cursor: str
    missing: int | None
    reason: Literal["trimmed", "expired", "deleted", "rewound"]


class Presence(TypedDict):
    """`last_seen`: None where never."""

    user: str
    status: Literal["online", "offline"]
    last_seen: int | None


Conversation = TypedDict(
    "Conversation",
    {
        "with": NotRequired[str], "group": NotRequired[str], "last": dict[str, Any] | None, "unread": int,
        "read_upto": str | int | None,
    },
)  # fmt: skip


class GroupSummary(TypedDict):
    """`members`: how many."""

    group: str
    name: str | None
    owner: str
    members: int


class Group(TypedDict):
    """`members`: who."""

    group: str
    name: str | None
    owner: str
    members: list[str]
    created_at: int


class Reached(TypedDict):
    """`seq`: the number in the group."""

    seq: int
    at: int


class Mark(TypedDict):
    """Of one member; None where it has nothing yet."""

    user: str
    delivered: Reached | None
    read: Reached | None


class FateOf(TypedDict):
    """Of one recipient. `state`: `pending`, `delivered`, `read`, `expired`, `trimmed`. `devices`: those that acked."""

    to: str
    cursor: str
    state: str
    accepted_at: int
    delivered_at: int | None
    read_at: int | None
    devices: list[str]


Fate = TypedDict("Fate", {"id": str, "from": str, "recipients": list[FateOf]})
"""What has become of a message."""
