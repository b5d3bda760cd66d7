"""Who asks, and what they may. Pure: who says so is checked in `edge/tokens.py`."""

import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9._\-@:+]{1,128}", re.ASCII)
"""Of a user or a device; to be matched in full."""

CHAT, SEND_ANY, OPS = "chat", "send:any", "ops"
SCOPES = frozenset((CHAT, SEND_ANY, OPS))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `expires`: seconds since 1970, None for never. `token`: a hash that names the token; none: no token."""

    user: str
    scopes: frozenset[str] = SCOPES
    expires: float | None = None
    token: str | None = None

    def may(self, *scopes: str) -> bool:
        """Whether it has one of them."""
        return not self.scopes.isdisjoint(scopes)
