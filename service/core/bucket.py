"""Token buckets: how many messages somebody may send now. Pure: time is passed in, in seconds of any one clock."""

import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate` messages a second in the long run, `burst` of them at once after a rest."""

    rate: float
    burst: int

    @property
    def window(self) -> int:
        """Seconds in which an empty bucket fills, at least 1."""
        return max(1, math.ceil(self.burst / self.rate))


class Bucket:
    """Begins full. A draw of more than it holds leaves a debt, which is paid before anything else is served."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._level = float(rate.burst)
        self._at = now

    def level(self, now: float) -> float:
        """What it holds; negative: a debt."""
        if now > self._at:  # a clock that stands still or goes back gives nothing
            self._level = min(float(self._rate.burst), self._level + (now - self._at) * self._rate.rate)
            self._at = now
        return self._level

    def left(self, now: float) -> int:
        """Whole messages that may be sent at once."""
        return max(0, math.floor(self.level(now)))

    def full(self, now: float) -> bool:
        return self.level(now) >= self._rate.burst

    def wait(self, now: float) -> float:
        """Seconds until one message more may be sent; 0: now."""
        return max(0.0, (1.0 - self.level(now)) / self._rate.rate)

    def draw(self, count: int, now: float) -> None:
        self._level = self.level(now) - count

    def reserve(self, now: float) -> float:
        """Draws one message, and the seconds to wait before it is sent: those who wait take their turns."""
        wait = self.wait(now)
        self._level -= 1
        return wait


class Buckets:
    """One bucket for each name that sent lately. Those that are full again say nothing and are dropped; beyond
    `most`, those that were used longest ago are dropped too, which gives their owners a burst more.
    """

    def __init__(self, rate: Rate, most: int) -> None:
        self.rate = rate
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, name: str, now: float) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[name] = Bucket(self.rate, now)
        self._buckets.move_to_end(name)
        return bucket

    def _forget(self, now: float) -> None:
        while self._buckets:
            oldest = next(iter(self._buckets))
            if len(self._buckets) < self._most and not self._buckets[oldest].full(now):
                return
            del self._buckets[oldest]
