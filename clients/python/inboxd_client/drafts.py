"""From what the application asks for to an item of the outbox, checked. Pure; raises SendError before any is stored."""

from collections.abc import Mapping, Sequence
from typing import Any

from inboxd_client.errors import RequestError, SendError
from inboxd_client.frames import Frame, Message
from inboxd_client.outbox import ItemKind, OutboxItem
from inboxd_client.values import SMALL_BODY, body_text, check_id, check_life, check_to, is_name, new_id

Target = Message | Mapping[str, Any]
"""A message that something is done with: as received, or its frame, or an object with `id`, `from`, `to` or `group`."""


def frame_of(target: Target) -> Frame:
    """Its fields; those that say which message it is."""
    if not isinstance(target, Message):
        return dict(target)
    named = {"id": target.id, "from": target.sender, "to": target.to, "group": target.group, "seq": target.seq}
    return {name: value for name, value in {**named, "cursor": target.cursor}.items() if value is not None}


def of_message(
    to: str | Sequence[str] | None, group: str | None, body: Any, id: str | None, expires_in: int | None, receipts: bool
) -> OutboxItem:
    """A `send`."""
    id = new_id() if id is None else id
    check_id(id)
    check_to(to, group, id)
    check_life(expires_in, id)
    return OutboxItem(id, listed(to), body_text(body, id), expires_in, group=group, receipts=receipts)


def of_change(kind: ItemKind, target: Target, body: Any, id: str | None, me: str | None) -> OutboxItem:
    """An `edit` or a `delete` of one's own message, or a `react` to anybody's. `me`: who is asking, where known."""
    id = new_id() if id is None else id
    frame = frame_of(target)
    author, group = frame.get("from", me), frame.get("group")
    mine = author == me
    to = None if group is not None else frame.get("to") if mine else author
    check_id(id)
    if not isinstance(frame.get("id"), str) or not is_name(author):
        raise SendError("invalid_field", "message: one as received, or an object with id, from, and to or group", id)
    check_to(to, group, id)
    if kind is not ItemKind.REACT and not mine:
        raise SendError("forbidden", "only the author changes a message", id)
    text = body_text(body, id)
    if kind is ItemKind.REACT and len(text.encode()) > SMALL_BODY:
        raise SendError("too_large", f"the body of a reaction: up to {SMALL_BODY:,} bytes", id)
    return OutboxItem(
        id, listed(to), text, kind=kind, group=group, target=frame["id"], target_from=None if mine else author
    )


def signal(to: str | Sequence[str] | None, group: str | None, body: Any) -> Frame:
    """The frame. Raises RequestError `invalid_field`, `too_large`."""
    try:
        check_to(to, group, "")
        text = body_text(body, "")
    except SendError as fault:
        raise RequestError(fault.code, fault.message) from fault
    if len(text.encode()) > SMALL_BODY:
        raise RequestError("too_large", f"the body of a signal: up to {SMALL_BODY:,} bytes")
    return {"type": "signal", **({"to": listed(to)} if group is None else {"group": group}), "body": body}


def listed(to: str | Sequence[str] | None) -> str | list[str] | None:
    """As JSON has it."""
    return to if to is None or isinstance(to, str) else list(to)
