"""Settings: environment variables `INBOXD_*`, or flags of `inboxd serve`.

Every default has its reason beside it. Durations are seconds (float) once read; they may be
written as numbers of seconds or with a suffix: `250ms`, `10s`, `5m`, `24h`, `30d`.
"""

import ipaddress
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.core import cursor

VERSION = "0.1.0"  # the package's own version is read from here
BUILD = VERSION if cursor.__file__.endswith(".py") else f"{VERSION}+compiled"
"""What runs here, as it is told operators; `compiled`: what every message passes is (docs/decisions/0031)."""

ENV_PREFIX = "INBOXD_"

# Set by the parent for its workers (service/supervisor.py); settings of one process, not of the service.
LISTEN_FD = "INBOXD_LISTEN_FD"
READY_FD = "INBOXD_READY_FD"
TOKEN = "INBOXD_TOKEN"  # noqa: S105 - the name of the variable in which the commands find a token

DURABILITY = re.compile(r"auto|appended|fsynced|replicated:[1-9]\d?")
WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{30,86}={0,2}")
LogLevel = Literal["debug", "info", "warning", "error"]

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://(\[[0-9a-f:.]+\]|[a-z0-9._\-]+)(:\d{1,5})?")
_REDIS_SCHEMES = re.compile(r"(unix|rediss?(\+sentinel|\+cluster)?)://")


def parse_duration(value: object) -> float:
    """Seconds from `10`, `"10"`, `"250ms"`, `"24h"`. Raises ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * _UNITS[match[2]]
    else:
        raise ValueError(f"{value!r} is not a duration: write seconds, or 250ms, 10s, 5m, 24h, 30d")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a duration: it must be finite and not negative")
    return seconds


def _more_than_nothing(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Delay = Annotated[float, BeforeValidator(parse_duration)]
Duration = Annotated[Delay, AfterValidator(_more_than_nothing)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address: 127.0.0.0/8, ::1 or the name localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """What the service was told. Keywords win over the environment, an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    # Where it listens. Loopback while authentication is off: whoever reaches it may read everything.
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free one, named in the start-up message
    workers: int = Field(default=2, ge=1, le=256)  # two, so that one may die unnoticed
    log_level: LogLevel = "info"

    # The server. No URL: a private one is started in data_dir.
    redis_url: str | None = Field(default=None, repr=False)  # may hold a password
    data_dir: Path = Path("data")
    prefix: str = "chat:"  # of every key
    durability: str = "auto"  # auto: what the server's settings give without waiting

    # Who is asking.
    auth: Literal["off", "jwt"] = "off"
    jwt_secret: str | None = Field(default=None, repr=False)  # of HS256
    jwt_public_key: str | None = Field(default=None, repr=False)  # PEM, or its path; long, but no secret
    jwks_url: str | None = Field(default=None, repr=False)  # a path, file://, http(s)://, which may hold a password
    jwt_audience: str | None = None  # wanted in `aud`; without it tokens that name an audience are refused
    jwt_issuer: str | None = None  # wanted in `iss`
    origins: CommaSeparated = ()  # browser origins allowed beside the service's own

    # Limits of what comes in.
    max_body: int = Field(default=65_536, ge=1)  # bytes of one message's body, as compact JSON
    max_frame: int = Field(default=1_048_576, ge=1)  # bytes of one WebSocket frame
    max_batch_bytes: int = Field(default=16_777_216, ge=1)  # bytes of one HTTP batch
    max_pending: int = Field(default=10_000, ge=1)  # entries an inbox holds that no live device has acked
    max_group: int = Field(default=1000, ge=1)  # members: what is sent to them costs as many appends

    # Who may take how much: per worker process, counted without asking the store.
    rate: float = Field(default=50.0, gt=0, allow_inf_nan=False)  # messages a second of one user; a person types one
    burst: int = Field(default=200, ge=1)  # of them at once, after a rest: what was typed without a network
    rate_backend: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # of a backend; none: it is trusted
    max_connections: int = Field(default=10_000, ge=1)  # an idle socket costs about 10 KiB: 100 MiB
    max_connections_per_user: int = Field(default=50, ge=1)  # more devices than anybody has at hand
    max_devices: int = Field(default=100, ge=1)  # a claim looks at all of a user's
    handshake_timeout: Duration = 10.0  # for a request's head; slow networks need no longer
    keep_alive: Duration = 15.0  # an idle connection between two requests

    # What is kept.
    history: int = Field(default=1000, ge=1)  # acked entries; at least one, the newest is never trimmed
    retention: Duration = 30 * 86400.0  # an inbox that nobody touched
    device_expiry: Duration = 30 * 86400.0  # a silent device's say in what is kept
    dedupe_window: Duration = 86400.0  # message ids are known for one to two of these
    own_copy: bool = True  # the sender's own copy, so that all its devices show both sides
    receipts: bool = True  # senders see what became of what they sent; costs an append for each burst of acks

    # Push, for whoever is not there to ack.
    push_url: str | None = Field(default=None, repr=False)  # may hold a password
    push_secret: str | None = Field(default=None, repr=False)  # several, with spaces: while one takes another's place
    push_format: Literal["webhook", "matrix"] = "webhook"  # for an application's backend; for a gateway that exists
    push_after: Duration = 10.0  # longer than a device takes that only changes its network
    push_private: bool = False  # a URL into one's own network is more often a mistake, or made by somebody else
    push_timeout: Duration = 10.0  # of one try, with everything; a receiver should queue, not work
    push_backoff: Duration = 5.0  # after the first failure; doubles
    push_backoff_most: Duration = 600.0  # what a user waits for at most when the receiver is back
    push_interval: Duration = 1.0  # what a push may be late: so often every worker asks who is due
    push_sweep: Duration = 3600.0  # one round over all users; it finds what no append will

    # Liveness of workers and connections.
    heartbeat: Duration = 3.0
    dead_after: Duration = 10.0  # three heartbeats missed: a long pause alone must not kill
    audit_interval: Duration = 5.0  # what a lost hint may cost
    presence_settle: Duration = 3.0  # a drained device is back within 2: a deploy makes nobody flicker
    ping_interval: Duration = 20.0  # below the idle time-outs of common proxies (60 s, 30 s)
    hello_timeout: Duration = 10.0
    drain_timeout: Duration = 10.0  # what a container's stop leaves before its kill

    # Waiting, inside a worker.
    ack_delay: Delay = 0.05  # acks gather before they are written: each write is an fsync that sends wait for, too
    hole_patience: Delay = 0.020  # hints of several writers cross; only then the inbox is read
    redis_timeout: Duration = 5.0  # socket time-out of every client: a black hole is noticed after it
    reader_block: Duration = 2.0  # shorter than redis_timeout, else every quiet read would be an error

    @field_validator("auth", mode="before")
    @classmethod
    def _known_auth(cls, auth: object) -> object:
        if auth not in {"off", "jwt"}:
            raise ValueError(f"{auth!r} is not known: there are 'off' and 'jwt'")
        return auth

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin as browsers write it: scheme://host, in lower case, with the port where "
                    "it is not the usual one, and nothing behind it"
                )
        return origins

    @field_validator("durability", mode="before")
    @classmethod
    def _known_durability(cls, level: object) -> object:
        if not isinstance(level, str) or not DURABILITY.fullmatch(level):
            raise ValueError(
                f"{level!r} is not known: there are 'auto', 'appended', 'fsynced' and 'replicated:N' (replicas)"
            )
        return level

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str | None) -> str | None:
        if url is not None and not _REDIS_SCHEMES.match(url):
            # Only the scheme is shown: the rest may hold a password.
            raise ValueError(
                f"the scheme {url.partition(':')[0]!r} is not known: one server is reached by redis://, rediss:// or "
                "unix://, a group by redis+sentinel://h1:p,h2:p/name, a Cluster by redis+cluster://h1:p,h2:p"
            )
        return url

    @field_validator("prefix")
    @classmethod
    def _plain_prefix(cls, prefix: str) -> str:
        if not re.fullmatch(r"[\x21-\x7e]+", prefix) or set(prefix) & set("{}*?[]\\"):
            raise ValueError(
                f"{prefix!r} will not do: visible ASCII without braces (they would decide the Cluster slot) "
                "and without * ? [ ] \\ (they would act as patterns)"
            )
        return prefix

    @model_validator(mode="after")
    def _known_by(self) -> Self:
        """Who is asking is known in one way, and the other machines are let in only then."""
        ways = [name for name in ("jwt_secret", "jwt_public_key", "jwks_url") if getattr(self, name) is not None]
        named = ", ".join(f"{ENV_PREFIX}{name.upper()}" for name in ways)
        if self.auth == "jwt" and len(ways) != 1:
            raise ValueError(
                "INBOXD_AUTH=jwt needs one way to check tokens: INBOXD_JWT_SECRET, INBOXD_JWT_PUBLIC_KEY or "
                f"INBOXD_JWKS_URL. There is {f'more than one: {named}' if ways else 'none'}"
            )
        if self.auth == "off":
            ways += [name for name in ("jwt_audience", "jwt_issuer") if getattr(self, name) is not None]
            if ways:
                raise ValueError(
                    f"INBOXD_AUTH: it is off, so no token would be checked, but {ENV_PREFIX}{ways[0].upper()} is set. "
                    "Set INBOXD_AUTH=jwt, or take that away"
                )
            if not is_loopback(self.host):
                raise ValueError(
                    f"INBOXD_HOST: {self.host!r} is not a loopback address, and without authentication "
                    "(INBOXD_AUTH=off) whoever can reach it could read every inbox. Listen on 127.0.0.1, ::1 or "
                    "localhost, or have tokens checked (INBOXD_AUTH=jwt)"
                )
        return self

    @field_validator("push_secret")
    @classmethod
    def _signing_secrets(cls, secrets: str | None) -> str | None:
        for secret in (secrets or "").split():
            if not WEBHOOK_SECRET.fullmatch(secret) or len(secret) % 4 != 2:
                raise ValueError(
                    "a secret is whsec_ and 24 to 64 bytes in base64: "
                    "python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
                )
        return secrets

    @model_validator(mode="after")
    def _pushes(self) -> Self:
        """What is told leaves the machine: signed, and not in the clear."""
        if self.push_url is None:
            if self.push_secret is not None:
                raise ValueError("INBOXD_PUSH_SECRET signs what goes to INBOXD_PUSH_URL, which is not set")
            return self
        scheme, _, rest = self.push_url.partition("://")
        if scheme not in {"http", "https"} or not re.match(r"[^/?#\s]", rest) or re.search(r"[#\s]", rest):
            raise ValueError("INBOXD_PUSH_URL is no URL: it begins with https://, names a host, and has no # in it")
        if scheme == "http" and not self.push_private:
            raise ValueError(
                "INBOXD_PUSH_URL must begin with https://, since it leaves this machine. For a receiver in your own "
                "network set INBOXD_PUSH_PRIVATE=on"
            )
        if self.push_secret is None and self.push_format == "webhook":
            raise ValueError(
                "INBOXD_PUSH_SECRET is missing: without it the receiver behind INBOXD_PUSH_URL could not tell whether "
                "it is this service that asks. It is whsec_ and base64, and the receiver has the same"
            )
        if self.push_backoff_most < self.push_backoff:
            raise ValueError("INBOXD_PUSH_BACKOFF_MOST must not be shorter than INBOXD_PUSH_BACKOFF")
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.dead_after <= self.heartbeat:
            raise ValueError("INBOXD_DEAD_AFTER must be longer than INBOXD_HEARTBEAT, else workers reap the living")
        if self.reader_block >= self.redis_timeout:
            raise ValueError("INBOXD_READER_BLOCK must be shorter than INBOXD_REDIS_TIMEOUT")
        if self.max_frame <= self.max_body:
            raise ValueError("INBOXD_MAX_FRAME must be larger than INBOXD_MAX_BODY: a frame holds a body")
        return self

    def environ(self) -> dict[str, str]:
        """All settings as environment variables, for a child process: reading them gives equal settings."""
        values = self.model_dump()
        return {f"{ENV_PREFIX}{name.upper()}": _render(v) for name, v in values.items() if v is not None}


def _render(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")  # exact, and without an exponent
    return str(value)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Names in `environ` that look like settings and are none: a typing error should not pass in silence."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {LISTEN_FD, READY_FD, TOKEN}
    return sorted(name for name in environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)


def explain(error: ValidationError) -> str:
    """What is wrong with the settings, one line for each, by the variables' names."""
    lines = []
    for fault in error.errors(include_url=False):
        name = f"{ENV_PREFIX}{str(fault['loc'][0]).upper()}: " if fault["loc"] else ""
        lines.append(name + fault["msg"].removeprefix("Value error, "))
    return "\n".join(lines)
