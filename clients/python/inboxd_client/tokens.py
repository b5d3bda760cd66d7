"""When to ask for a fresh token. The signature is the service's business."""

import binascii
import json
from base64 import urlsafe_b64decode

REMAINING = 0.8
"""Share of a token's remaining life after which a fresh one is asked for."""


def expiry(token: str) -> float | None:
    """The `exp` of a JWT, Unix seconds; None where it cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, TypeError, KeyError, binascii.Error, OverflowError):
        return None


def renew_in(token: str, now: float) -> float | None:
    """Seconds until a fresh one is to be asked for; None: never. `now`: Unix seconds."""
    end = expiry(token)
    return None if end is None else max(0.0, (end - now) * REMAINING)
