"""How the service is to run for a measurement: what is asked for, and the environment that says so."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from scripts.lab import build

LOOPBACK = "127.0.0.1"

EMBEDDED, EVERYSEC, REPLICAS = "the embedded server", "AOF everysec", "AOF always and two replicas"
CLUSTER = "a Cluster of three primaries"

# Every rate is counted, and none is reached: the limits are measured along, not met.
BEYOND = {"INBOXD_RATE": "1000000", "INBOXD_BURST": "1000000", "INBOXD_MAX_PENDING": "1000000"}


@dataclass(frozen=True)
class Setup:
    """How the service is to run. Its tokens are checked; the sender's own copy is the default's."""

    workers: int = 2
    own_copy: bool = True
    durability: str = "auto"
    store: str = EMBEDDED

    def __str__(self) -> str:
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        plain = f"{count}, own copy {'on' if self.own_copy else 'off'}"
        if self.store == EMBEDDED:
            return plain
        level = "" if self.durability == "auto" else f"{self.durability} "
        return f"{plain}, {level}on {self.store}"


def new_secret() -> str:
    """What signs the tokens of one started service."""
    return secrets.token_hex(32)


def environment(setup: Setup, port: int, data_dir: Path, redis_url: str | None, secret: str) -> dict[str, str]:
    """The caller's settings, but the benchmark's own place, server, tokens and subject."""
    inherited = {key: value for key, value in os.environ.items() if key != "INBOXD_REDIS_URL"}
    ours = {
        "INBOXD_HOST": LOOPBACK,
        "INBOXD_PORT": str(port),
        "INBOXD_WORKERS": str(setup.workers),
        "INBOXD_DATA_DIR": str(data_dir),
        "INBOXD_OWN_COPY": "on" if setup.own_copy else "off",
        "INBOXD_AUTH": "jwt",
        "INBOXD_JWT_SECRET": secret,
        **BEYOND,
    }
    if redis_url is not None:
        ours |= {"INBOXD_REDIS_URL": redis_url, "INBOXD_DURABILITY": setup.durability}
    return inherited | build.chosen() | ours
