"""Rates: how many messages a second somebody may send through this worker, and how a request is told so.

Each worker counts by itself, without asking the store: whoever is connected to one gets exactly the rate, whoever
spreads requests over N workers up to N times as much (docs/decisions/0017-rates-are-counted-by-each-worker.md).
"""

import math
import time
from collections.abc import Callable

from fastapi import Request

from service.config import Settings
from service.core.bucket import Bucket, Buckets, Rate
from service.core.errors import ClientError
from service.core.identity import SEND_ANY, Identity
from service.edge import headers
from service.telemetry import REQUESTS_LIMITED, SOCKETS_SLOWED

MOST_BUCKETS = 100_000
"""Names that are remembered at once: about 25 MiB. Buckets are full again within seconds, and are then dropped."""

USERS, BACKENDS = "user", "backend"
"""The names of the policies, as answers show them."""

Clock = Callable[[], float]


class Rates:
    """The buckets of one worker. Without authentication there are none: anybody could take another name."""

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        users = Rate(settings.rate, settings.burst)
        self._buckets = {USERS: Buckets(users, MOST_BUCKETS)}
        if settings.rate_backend is not None:
            backends = Rate(settings.rate_backend, max(settings.burst, math.ceil(settings.rate_backend)))
            self._buckets[BACKENDS] = Buckets(backends, MOST_BUCKETS)

    def account(self, identity: Identity) -> "Account | None":
        """None: no rate for this one."""
        policy, buckets = self._of(identity)
        return Account(policy, buckets, identity.user, self._clock()) if buckets is not None else None

    def _of(self, identity: Identity) -> tuple[str, Buckets | None]:
        policy = BACKENDS if identity.may(SEND_ANY) else USERS
        return policy, None if identity.token is None else self._buckets.get(policy)

    def admit(self, request: Request, identity: Identity) -> None:
        """A request with at least one message: served while the bucket is not empty. Raises ClientError
        `rate_limited`; the answer, whatever it is, says how the bucket stands.
        """
        account = self.account(identity)
        if account is None:
            return
        wait = account.wait()
        if wait <= 0:
            account.draw(1)
        headers.add(request.scope, account.fields())
        if wait > 0:
            REQUESTS_LIMITED.inc()
            headers.add(request.scope, {"retry-after": str(math.ceil(wait))}.items())
            raise ClientError("rate_limited", f"{account.rate.rate:g} messages a second are taken, on average")

    def charge(self, request: Request, identity: Identity, more: int) -> None:
        """So many messages more were in it: they are served, and paid for by those that come next."""
        account = self.account(identity)
        if account is not None and more > 0:
            account.draw(more)
            headers.add(request.scope, account.fields())

    def turn(self, identity: Identity) -> float:
        """Seconds that a socket is to rest before its next message is taken."""
        _, buckets = self._of(identity)
        if buckets is None:
            return 0.0
        now = self._clock()
        wait = buckets.of(identity.user, now).reserve(now)
        if wait > 0:
            SOCKETS_SLOWED.inc()
        return wait


class Account:
    """What one name may send, looked at in one moment."""

    def __init__(self, policy: str, buckets: Buckets, name: str, now: float) -> None:
        self._policy = policy
        self._now = now
        self._bucket: Bucket = buckets.of(name, now)
        self.rate = buckets.rate

    def wait(self) -> float:
        return self._bucket.wait(self._now)

    def draw(self, count: int) -> None:
        self._bucket.draw(count, self._now)

    def fields(self) -> list[tuple[str, str]]:
        """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10; the unit is a message."""
        bucket, now, rate = self._bucket, self._now, self.rate
        field = f'"{self._policy}";r={bucket.left(now)}'
        if not bucket.full(now):
            field += f";t={max(1, math.ceil(bucket.wait(now)))}"
        return [("ratelimit-policy", f'"{self._policy}";q={rate.burst};w={rate.window}'), ("ratelimit", field)]
