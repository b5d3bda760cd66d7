"""The end of a token, while its connection lives: one timer, nothing polled."""

import asyncio
import time
from collections.abc import Callable

LONGEST_TIMER = 3600.0
"""Seconds after which the clock is looked at again: it may be set while a timer of days runs."""


class Expiry:
    """`expired` is called once, when the token is over. Whoever owns it cancels it."""

    def __init__(self, expired: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._expired, self._clock = expired, clock
        self._expires: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def at(self, expires: float | None) -> None:
        """`expires`: seconds since 1970, in place of what was there; None: never."""
        self.cancel()
        self._expires = expires
        if expires is not None:
            wait = min(max(0.0, expires - self._clock()), LONGEST_TIMER)
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        assert self._expires is not None  # or there was no timer
        if self._clock() >= self._expires:
            self._timer = None
            self._expired()
        else:
            self.at(self._expires)
