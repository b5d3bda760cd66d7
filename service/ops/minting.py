"""`inboxd token`: a token for trying things out, signed with INBOXD_JWT_SECRET.

Real tokens come from whoever knows the users. This is for operators, who have the secret anyway.
"""

import time
from typing import Annotated

import jwt
import typer
from jwt.exceptions import InvalidKeyError
from pydantic import ValidationError

from service.config import ENV_PREFIX, Settings, explain, parse_duration
from service.core.identity import NAME, SCOPES
from service.ops.answers import WRONG_USE, stop
from service.ops.show import Out


def token(
    user: Annotated[str, typer.Option("--user", help="Whose token.")],
    scope: Annotated[str, typer.Option("--scope", help="Of chat, send:any and ops, separated by spaces.")] = "chat",
    expires_in: Annotated[str, typer.Option("--expires-in", help="How long it lasts: 30s, 10m, 1h, 7d.")] = "1h",
) -> None:
    """Make a token for trying out, with INBOXD_JWT_SECRET: inboxd token --user alice --scope "chat ops"."""
    settings = _settings()
    if NAME.fullmatch(user) is None:
        stop("--user: 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +", WRONG_USE)
    if unknown := [word for word in scope.split() if word not in SCOPES]:
        stop(f"--scope: {unknown[0]!r} is none of {', '.join(sorted(SCOPES))}", WRONG_USE)
    try:
        lasts = parse_duration(expires_in)
    except ValueError as error:
        stop(f"--expires-in: {error}", WRONG_USE)
    try:
        Out().line(made(settings, user, scope, lasts))
    except InvalidKeyError:
        stop(f"{ENV_PREFIX}JWT_SECRET will not do: at least 32 bytes are needed, and no PEM", WRONG_USE)


def _settings() -> Settings:
    """The environment's. Without INBOXD_AUTH the secret alone says what is meant."""
    try:
        settings = Settings(auth="jwt")
    except ValidationError as error:
        stop(explain(error), WRONG_USE)
    if settings.jwt_secret is None:
        stop(
            f"only {ENV_PREFIX}JWT_SECRET signs tokens here; with a public key or a key set whoever has the private "
            "key makes them",
            WRONG_USE,
        )
    return settings


def made(settings: Settings, user: str, scope: str, lasts: float) -> str:
    """A token that a service with these settings takes for `lasts` seconds. Raises InvalidKeyError."""
    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "scope": scope, "iat": now, "exp": now + int(lasts)}
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    assert settings.jwt_secret is not None  # the caller has looked
    strict = jwt.PyJWT(options={"enforce_minimum_key_length": True})
    return strict.encode(claims, settings.jwt_secret, algorithm="HS256")
