"""Where keys come from: one that was configured, or a set that somebody else publishes and changes."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx2

from service.core.errors import ClientError
from service.edge.signing_keys import MOST_BYTES, Key, UnusableKeyError, key_set

log = logging.getLogger("inboxd.keys")

FLOOR = 10.0
"""Seconds between two fetches: tokens with an unknown `kid` must not turn the service against the issuer."""
FRESH = 300.0
"""Seconds after which a set is fetched again beside its use: a key that was taken back should not count for ever."""
FETCH_TIMEOUT = 5.0

Fetch = Callable[[], Awaitable[bytes]]


class KeySource(Protocol):
    """`generation` grows when keys have changed: what was checked with the old ones must be checked again."""

    generation: int

    async def find(self, algorithm: str, kid: str | None) -> Key | None:
        """The key for a token of that header. Raises ClientError `unavailable` while that cannot be known."""

    def problem(self) -> str | None:
        """Why no token can be checked; None when some can."""


class OneKey:
    """The key of INBOXD_JWT_SECRET or INBOXD_JWT_PUBLIC_KEY. A `kid` says nothing here."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self.generation = 0

    async def find(self, algorithm: str, kid: str | None) -> Key | None:
        return self._key if algorithm == self._key.algorithm else None

    def problem(self) -> str | None:
        return None


class KeySet:
    """A published set, kept. One fetch at a time, owned here; everybody who needs it waits for the same.

    A fetch that fails leaves the keys as they are.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        clock: Callable[[], float] = time.monotonic,
        floor: float = FLOOR,
        fresh: float = FRESH,
    ) -> None:
        self._fetch, self._clock, self._floor, self._fresh = fetch, clock, floor, fresh
        self._keys: tuple[Key, ...] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._asked_at = -float("inf")
        self._failed = False
        self.generation = 0

    async def find(self, algorithm: str, kid: str | None) -> Key | None:
        found = self._pick(algorithm, kid)
        if found is None:
            fetching = self._refresh(self._floor)
            if fetching is not None:
                await asyncio.shield(fetching)  # whoever waits may leave; the fetch is everybody's
                found = self._pick(algorithm, kid)
            if found is None and (self._keys is None or self._failed):
                raise ClientError("unavailable", "the keys that tokens are checked with cannot be had; try again")
        else:
            self._refresh(self._fresh)
        return found

    def problem(self) -> str | None:
        if self._keys is None:
            self._refresh(self._floor)
            return "the keys that tokens are checked with have not come yet"
        return None if self._keys else "the key set has no key that can be used"

    def _pick(self, algorithm: str, kid: str | None) -> Key | None:
        """A token without `kid` is only understood where one key alone can be meant."""
        fitting = [key for key in self._keys or () if key.algorithm == algorithm and kid in (None, key.id)]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None

    def _refresh(self, age: float) -> "asyncio.Task[None] | None":
        """The fetch under way, or a new one where the last is older than `age` seconds."""
        if self._fetching is None and self._clock() - self._asked_at >= age:
            self._asked_at = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._renew(), name="key set")
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._fetching = None

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                keys = key_set(await self._fetch())
        except (UnusableKeyError, OSError, httpx2.HTTPError, TimeoutError) as error:
            self._failed = True
            why = str(error) if isinstance(error, UnusableKeyError) else type(error).__name__
            log.warning("the key set could not be fetched; the keys stay as they are: %s", why)
        except Exception:
            self._failed = True
            log.exception("the key set could not be fetched; the keys stay as they are")
        else:
            self._failed = False
            if keys != self._keys:
                log.info("%d keys for tokens", len(keys))
                self._keys, self.generation = keys, self.generation + 1


def fetcher(url: str) -> Fetch:
    """How to get INBOXD_JWKS_URL: over HTTP(S), or from a file. Raises UnusableKeyError."""
    if url.partition("://")[0] in ("http", "https"):
        _check(url)
        return HttpFetch(url)
    if (path := file_of(url)) is None:
        raise UnusableKeyError("it is a path, file://, http:// or https://")
    return lambda: asyncio.to_thread(read_file, path)


def _check(url: str) -> None:
    try:
        host = httpx2.URL(url).host
    except httpx2.InvalidURL:
        host = ""
    if not host:
        raise UnusableKeyError("it is no URL")  # the URL itself may hold a password


def file_of(url: str) -> Path | None:
    """The file that INBOXD_JWKS_URL names; None where it names none."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    return Path(url) if "://" not in url else None


def read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


class HttpFetch:
    """Follows no redirect, takes no compression, and reads no more than a set may have."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._context: ssl.SSLContext | None = None

    async def __call__(self) -> bytes:
        if self._context is None:
            self._context = await asyncio.to_thread(ssl.create_default_context)  # reads every CA there is
        async with (
            httpx2.AsyncClient(verify=self._context, timeout=FETCH_TIMEOUT) as client,
            client.stream("GET", self._url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != 200:
                raise UnusableKeyError(f"the answer was HTTP {response.status_code}")
            if "content-encoding" in response.headers:
                raise UnusableKeyError("the answer is compressed, which was not asked for")
            raw = b""
            async for part in response.aiter_raw():
                raw += part
                if len(raw) > MOST_BYTES:
                    break  # key_set says so
            return raw
