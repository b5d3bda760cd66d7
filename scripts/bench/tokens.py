"""Tokens as an application's own backend would make them (HS256)."""

import time

import jwt

LIFE = 6 * 3600  # s


def token(secret: str, user: str, scope: str) -> str:
    """A token for this user. `scope`: words of `docs/protocol.md`, section 3."""
    return jwt.encode({"sub": user, "scope": scope, "exp": int(time.time()) + LIFE}, secret, algorithm="HS256")
