"""Bearer tokens: JWTs, checked. What comes out is an `Identity`.

A verified token is remembered until it expires, by its hash, so that a backend's thousand requests cost one
signature. Refused ones are not: whoever sends many of them could push the good ones out.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from service.core.errors import ClientError
from service.core.identity import CHAT, NAME, SCOPES, Identity
from service.edge.key_sources import KeySource
from service.edge.problems import Denied
from service.edge.signing_keys import ALGORITHMS

LONGEST = 8192
"""Characters of a token; those of real issuers have one or two thousand."""
LEEWAY = 10.0
"""Seconds that an issuer's clock may be ahead (`nbf`, `iat`). `exp` has none: it is the issuer's promise."""
REMEMBERED = 10_000
LAST = 2.0**53
"""An `exp` beyond it (in seconds) is a mistake, and more than timers take."""

_DETAILS: dict[type[Exception], str] = {
    ExpiredSignatureError: "the token has expired",
    ImmatureSignatureError: "the token is not valid yet",
    InvalidAudienceError: "the token is for another audience",
    InvalidIssuerError: "the token is of another issuer",
    InvalidSignatureError: "the token's signature does not fit",
}


def unauthenticated(detail: str) -> Denied:
    """For a token that is there, and does not do."""
    return Denied("unauthenticated", detail, 'Bearer error="invalid_token"')


class Tokens:
    """Checks tokens. `clock`: seconds since 1970."""

    def __init__(
        self,
        keys: KeySource,
        audience: str | None = None,
        issuer: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        remembered: int = REMEMBERED,
    ) -> None:
        self.keys = keys
        self._audience, self._issuer, self._clock = audience, issuer, clock
        self._known: OrderedDict[bytes, Identity] = OrderedDict()
        self._generation = keys.generation
        self._most = remembered
        self._jwt = jwt.PyJWT()

    async def identify(self, token: str) -> Identity:
        """Raises ClientError: `unauthenticated`, or `unavailable` where no key can be had."""
        if len(token) > LONGEST:
            raise unauthenticated(f"the token has more than {LONGEST} characters")
        name = hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=16).digest()
        if self._generation != self.keys.generation:
            self._known.clear()
            self._generation = self.keys.generation
        identity = self._known.get(name)
        if identity is None:
            identity = await self._check(token, name.hex())
            self._remember(name, identity)
        assert identity.expires is not None  # of every token
        if identity.expires <= self._clock():
            self._known.pop(name, None)
            raise unauthenticated(_DETAILS[ExpiredSignatureError])
        return identity

    def _remember(self, name: bytes, identity: Identity) -> None:
        """The oldest goes: one in use is checked again at once, which is cheaper than an order of use."""
        self._known[name] = identity
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    async def _check(self, token: str, name: str) -> Identity:
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            raise unauthenticated("the token cannot be read") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise unauthenticated(f"the token's algorithm is none of {', '.join(ALGORITHMS)}")
        key = await self.keys.find(algorithm, kid)
        if key is None:
            raise unauthenticated("no key fits the token's algorithm and kid")
        try:
            claims = self._jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "sub"], "enforce_minimum_key_length": True},
            )
        except MissingRequiredClaimError as error:
            raise unauthenticated(f"the token has no {error.claim}") from None
        except (PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise unauthenticated(_DETAILS.get(type(error), "the token cannot be read")) from None
        return _identity(claims, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def _identity(claims: dict[str, Any], name: str) -> Identity:
    user, expires, scope = claims["sub"], claims["exp"], claims.get("scope", CHAT)
    if not NAME.fullmatch(user):
        raise unauthenticated("the token's sub is no user: 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +")
    if not _is_time(expires):
        raise unauthenticated("the token's exp is no time")
    if not isinstance(scope, str):
        raise unauthenticated("the token's scope is no text")
    return Identity(user, SCOPES.intersection(scope.split(" ")), float(expires), name)


def _is_time(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= LAST


def forbidden(detail: str, *scopes: str) -> ClientError:
    """For a token that lacks all of `scopes`."""
    return Denied("forbidden", detail, f'Bearer error="insufficient_scope", scope="{scopes[0]}"')
