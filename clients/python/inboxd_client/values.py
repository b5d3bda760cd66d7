"""Ids and bodies: what the service would refuse is found before it is stored."""

import json
import math
import re
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any

from inboxd_client.errors import SendError

NAME = re.compile(r"[A-Za-z0-9._\-@:+]{1,128}")
MESSAGE_ID = re.compile(r"[A-Za-z0-9._\-@:+]{1,64}")
MOST_RECIPIENTS = 100
MOST_DEPTH = 64
MOST_SECONDS = 2_592_000
"""Of `expires_in`: 30 days."""
SMALL_BODY = 1024
"""Bytes of a reaction's or a signal's body."""


def new_id() -> str:
    """A UUIDv7: unique, and in the order of time to the millisecond."""
    ms = time.time_ns() // 1_000_000 & (1 << 48) - 1
    number = ms << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=number))


def compact(value: Any) -> str:
    """JSON as the service counts its bytes. Raises ValueError or TypeError for what is not JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check_id(id: str) -> None:
    """Raises SendError `invalid_field`."""
    if not MESSAGE_ID.fullmatch(id):
        raise SendError("invalid_field", "id: 1 to 64 characters of A-Z a-z 0-9 . _ - @ : +", id)


def check_to(to: str | Sequence[str] | None, group: str | None, id: str) -> None:
    """Exactly one of the two. Raises SendError `invalid_field`."""
    if (to is None) == (group is None):
        raise SendError("invalid_field", "exactly one of to and group", id)
    names = [group] if to is None else [to] if isinstance(to, str) else list(to)
    if group is not None and not NAME.fullmatch(group):
        raise SendError("invalid_field", "group: 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +", id)
    if not 1 <= len(names) <= MOST_RECIPIENTS or len(set(names)) < len(names) or not all(map(is_name, names)):
        raise SendError("invalid_field", "to: a user, or a list of 1 to 100 different users", id)


def is_name(value: object) -> bool:
    """Of a user, a device or a group."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def check_life(expires_in: int | None, id: str) -> None:
    """Raises SendError `invalid_field`."""
    if expires_in is not None and (isinstance(expires_in, bool) or not 1 <= expires_in <= MOST_SECONDS):
        raise SendError("invalid_field", f"expires_in: whole seconds, 1 to {MOST_SECONDS:,}", id)


def body_text(body: Any, id: str) -> str:
    """The body as compact JSON. Raises SendError `invalid_field` for what the service could not read."""
    try:
        check_depth(body)
        text = compact(body)
        text.encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise SendError("invalid_field", f"body: {fault}", id) from fault
    return text


def check_depth(value: Any, depth: int = 0) -> None:
    """Raises ValueError: nested too deep, or a number that does not travel."""
    if isinstance(value, dict | list | tuple):
        if depth >= MOST_DEPTH:
            raise ValueError(f"nested deeper than {MOST_DEPTH} levels")
        for item in value.values() if isinstance(value, dict) else value:
            check_depth(item, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("an integer beyond 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and Infinity are not JSON")
