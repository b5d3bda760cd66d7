"""Whether to connect, when, and whether the connection still lives. Pure: fed with what happened and the time.

Times are seconds of any clock that only moves forward. Each method answers with what is to be done, in order. Every
try has a number; whatever is said of an older one is too late and does nothing.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from inboxd_client.states import CONNECTED, TRYING, Failure, State
from inboxd_client.timing import Timing

TOKEN_OVER = 4002
NOT_AUTHENTICATED = 4501
FIRST_FINAL = 4500
"""Close codes from here on say: do not come back."""


@dataclass(frozen=True)
class Open:
    """Raise and store the attempt, open a socket, say hello. `fresh`: with another token than the last one."""

    number: int
    fresh: bool = False


@dataclass(frozen=True)
class Drop:
    """Cut this connection (or stop opening it) without waiting for it."""

    number: int


@dataclass(frozen=True)
class Ping:
    """Ask whether anybody is there."""


@dataclass(frozen=True)
class Changed:
    """The state is another one. `wait`: seconds until the next try, where one is due."""

    state: State
    previous: State
    wait: float | None = None
    code: int | None = None
    reason: str | None = None


Effect = Open | Drop | Ping | Changed


class Link:
    """`uniform(low, high)`: the randomness of the back-off. `renews`: a fresh token can be asked for.

    `deadline`: when `tick` wants to be called.
    """

    def __init__(
        self, timing: Timing, uniform: Callable[[float, float], float] = random.uniform, *, renews: bool = False
    ) -> None:
        self.state = State.IDLE
        self.failure: Failure | None = None
        self.number = 0  # of the newest try
        self.deadline: float | None = None
        self._timing, self._uniform = timing, uniform
        self._renews = renews
        self._online = True
        self._tries = 0  # since the last steady connection
        self._ping_interval = 20.0
        self._welcomed_at: float | None = None
        self._pinged = False
        self._ordered_wait: float | None = None  # of `closing`
        self._refused = False  # the last token was, and a fresh one has been asked for
        self._fresh = False  # the next try needs another token

    def is_current(self, number: int) -> bool:
        """Whether this try is the one that counts."""
        return number == self.number and self.state in TRYING

    @property
    def is_refused(self) -> bool:
        """The service has refused the last token, and this is the one more try."""
        return self._refused

    # What the application and the platform say

    def connect(self, now: float) -> list[Effect]:
        """Begins, or begins anew; a wait is cut short."""
        if self.state in TRYING:
            return []
        self.failure, self._refused = None, False
        if not self._online:
            return self._change(State.OFFLINE)
        return self._try(now)

    def close(self) -> list[Effect]:
        """For good. The connection, if any, is the caller's to close."""
        self.deadline = None
        return self._change(State.CLOSED)

    def set_online(self, online: bool, now: float) -> list[Effect]:
        """The platform's word on whether there is a network."""
        self._online = online
        if online:
            return self._try(now) if self.state in (State.OFFLINE, State.RECONNECTING) else []
        if self.state in TRYING or self.state is State.RECONNECTING:
            return [*self._dropped(), *self._lost(now, None, "offline")]
        return []

    def wake(self, now: float) -> list[Effect]:
        """Somebody looks: what waits for a try has it now."""
        return self._try(now) if self.state is State.RECONNECTING else []

    def drop(self, now: float) -> list[Effect]:
        """As if the network had failed."""
        return [*self._dropped(), *self._lost(now, None, "dropped")] if self.state in TRYING else []

    def fail(self, code: int | None, reason: str) -> list[Effect]:
        """Nothing is tried until `connect` is called."""
        if self.state not in TRYING and self.state is not State.RECONNECTING:
            return []
        cut = self._dropped()
        self.failure, self.deadline = Failure(code, reason), None
        return [*cut, *self._change(State.FAILED, code=code, reason=reason)]

    # What the connection says

    def welcomed(self, number: int, ping_interval: float, now: float) -> list[Effect]:
        """`welcome` came, with the service's own interval."""
        if not self.is_current(number) or self.state is not State.CONNECTING:
            return []
        self._welcomed_at = now
        self._refused = self._fresh = False
        self._ping_interval = self._timing.ping_interval or ping_interval
        self.heard(number, now, connecting=True)
        return self._change(State.REPLAYING)

    def went_live(self, number: int) -> list[Effect]:
        """`live` came."""
        if not self.is_current(number) or self.state is not State.REPLAYING:
            return []
        return self._change(State.LIVE)

    def heard(self, number: int, now: float, connecting: bool = False) -> None:
        """Anything came."""
        if self.is_current(number) and (connecting or self.state in CONNECTED):
            self._pinged = False
            self.deadline = now + self._ping_interval

    def closing(self, number: int, after: float) -> None:
        """The service is about to close, and says when to come back (seconds)."""
        if self.is_current(number):
            self._ordered_wait = after

    def ended(
        self, number: int, code: int | None, reason: str, now: float, retry_after: float | None = None
    ) -> list[Effect]:
        """The connection is gone, or could not be had (then `code` is None)."""
        if not self.is_current(number):
            return []
        if retry_after is not None:
            self._ordered_wait = retry_after
        if code == TOKEN_OVER:
            return self._token_over(reason, now)
        if code == NOT_AUTHENTICATED and self._renews and not self._refused:
            self._refused = True
            return self._try(now, fresh=True)
        if code is not None and FIRST_FINAL <= code < 5000:
            return self.fail(code, reason)
        return self._lost(now, code, reason)

    def _token_over(self, reason: str, now: float) -> list[Effect]:
        self._fresh = True
        if self._welcomed_at is None:  # over before it began: at once, again and again, helps nobody
            return self._lost(now, TOKEN_OVER, reason)
        return self._try(now)

    def tick(self, now: float) -> list[Effect]:
        """The deadline may have come."""
        if self.deadline is None or now < self.deadline:
            return []
        if self.state is State.RECONNECTING:
            return self._try(now)
        if self.state in CONNECTED and not self._pinged:
            self._pinged = True
            self.deadline = now + self._timing.patience
            return [Ping()]
        return [*self._dropped(), *self._lost(now, None, "silent")]

    # Steps

    def _dropped(self) -> list[Effect]:
        return [Drop(self.number)] if self.state in TRYING else []

    def _try(self, now: float, *, fresh: bool = False) -> list[Effect]:
        self._settle(now)
        self._tries += 1
        self.number += 1
        self._ordered_wait = None
        self.deadline = now + self._timing.try_timeout
        return [*self._change(State.CONNECTING), Open(self.number, fresh or self._fresh)]

    def _settle(self, now: float) -> None:
        """Looks back at the connection that has ended."""
        if self._welcomed_at is not None and now - self._welcomed_at >= self._timing.steady:
            self._tries = 0
        self._welcomed_at, self._pinged = None, False

    def _lost(self, now: float, code: int | None, reason: str) -> list[Effect]:
        self._settle(now)
        wait = self._ordered_wait
        self._ordered_wait = None
        if not self._online:
            self.deadline = None
            return self._change(State.OFFLINE, code=code, reason=reason)
        if wait is None:
            wait = self._timing.wait(self._tries, self._uniform)
        self.deadline = now + wait
        return self._change(State.RECONNECTING, wait=wait, code=code, reason=reason)

    def _change(
        self, state: State, *, wait: float | None = None, code: int | None = None, reason: str | None = None
    ) -> list[Effect]:
        previous, self.state = self.state, state
        return [] if state is previous else [Changed(state, previous, wait, code, reason)]
