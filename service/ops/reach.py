"""Which server the commands read, and what they say when it is not there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service.config import Settings
from service.core.errors import InboxdError, Unavailable
from service.data_dir import STAMP
from service.store.address import Kind, parse
from service.store.client import connect
from service.store.link import Link

CONNECTIONS = 2
"""A command asks one question after the other; the second one is for the impatient."""


class NothingRuns(InboxdError):
    """No server could be found or asked; the text says what to do."""


def server_url(settings: Settings) -> str:
    """INBOXD_REDIS_URL, else the embedded server of the data directory. Raises NothingRuns."""
    if settings.redis_url is not None:
        return settings.redis_url
    port = _stamped_port(settings.data_dir)
    if port is None:
        raise NothingRuns(
            f"No server was ever started in {settings.data_dir.absolute()}. Start the service there with "
            "`inboxd serve`, or name its data directory (--data-dir, INBOXD_DATA_DIR) or its server "
            "(--redis-url, INBOXD_REDIS_URL)."
        )
    return f"redis://127.0.0.1:{port}/0"


def _stamped_port(data_dir: Path) -> int | None:
    """Where the embedded server of this directory was started last; None where there never was one."""
    try:
        return int(json.loads((data_dir / STAMP).read_text())["port"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NothingRuns(f"The stamp {data_dir.absolute() / STAMP} cannot be read: {error}.") from error


def redis_cli(url: str) -> str:
    """The command line that looks into the server of `url`. It shows no password: REDISCLI_AUTH takes it."""
    address = parse(url)
    if address.kind is not Kind.ONE:
        host, port = address.nodes[0]
        line = " ".join(("redis-cli", *(("-c",) if address.kind is Kind.CLUSTER else ()), "-h", host, "-p", str(port)))
        return f"{line} SENTINEL GET-MASTER-ADDR-BY-NAME {address.group}" if address.kind is Kind.SENTINEL else line
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis-cli -s {parts.path}"
    words = ["redis-cli"]
    if parts.hostname not in (None, "localhost", "127.0.0.1"):
        words += ["-h", str(parts.hostname)]
    words += ["-p", str(parts.port or 6379)]
    if parts.path.strip("/") not in ("", "0"):
        words += ["-n", parts.path.strip("/")]
    if parts.username:
        words += ["--user", parts.username]
    if parts.scheme == "rediss":
        words += ["--tls"]
    return " ".join(words)


@asynccontextmanager
async def reached(settings: Settings) -> AsyncIterator[tuple[Link, str]]:
    """A client and the URL it goes to. Unavailable within becomes NothingRuns."""
    url = server_url(settings)
    client = connect(settings.model_copy(update={"redis_url": url}), "inboxd-command", CONNECTIONS)
    try:
        if settings.redis_url is None:
            await _check_ours(client, settings.data_dir, url)
        yield client, url
    except Unavailable as error:
        raise NothingRuns(_silent(settings, url, error)) from error
    finally:
        await client.aclose()


async def _check_ours(client: Link, data_dir: Path, url: str) -> None:
    """While the service is down its port may be another server's."""
    name, folder = await client.run("CONFIG", "GET", "dir")
    if Path(folder.decode()) != data_dir.resolve():
        raise NothingRuns(
            f"The embedded server of {data_dir.absolute()} is not there: at {url} another one answers, whose "
            f"{name.decode()} is {folder.decode()}. Start the service with `inboxd serve`."
        )


def _silent(settings: Settings, url: str, error: Unavailable) -> str:
    look, why = f"`{redis_cli(url)} PING`", error.why.rstrip(".")
    if settings.redis_url is not None:
        return f"The server does not answer as it should: {why}. Try {look}."
    return (
        f"The embedded server of {settings.data_dir.absolute()} does not answer: {why}. "
        f"Is `inboxd serve` running there? (Try {look}.)"
    )


def http_url(settings: Settings, given: str | None) -> str:
    """Base URL of the service: as given, else where the settings say it listens."""
    if given is not None:
        return given.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def socket_url(base: str) -> str:
    return "ws" + base.removeprefix("http") + "/v1/ws"


def settings_of(redis_url: str | None = None, data_dir: Path | None = None, prefix: str | None = None) -> Settings:
    """The environment's settings, with what the command line says in their place. Raises ValidationError."""
    said: dict[str, Any] = {"redis_url": redis_url, "data_dir": data_dir, "prefix": prefix}
    return Settings(**{name: value for name, value in said.items() if value is not None})
