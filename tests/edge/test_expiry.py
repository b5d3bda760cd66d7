"""The timer of a token: it fires when the token is over, by the clock, and never after it was cancelled."""

import asyncio

import pytest

from service.edge import expiry
from service.edge.expiry import Expiry


class Clock:
    """Goes as the loop's own, from a time of our choosing."""

    def __init__(self, start: float) -> None:
        self.ahead = start - asyncio.get_running_loop().time()

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


async def test_it_fires_once_the_time_has_come() -> None:
    clock, fired = Clock(1000.0), asyncio.Event()
    Expiry(fired.set, clock).at(1000.05)
    await fired.wait()
    assert clock() >= 1000.05


async def test_a_time_that_has_passed_fires_at_once_but_not_within_the_call() -> None:
    fired = asyncio.Event()
    Expiry(fired.set, Clock(1000.0)).at(5.0)
    assert not fired.is_set()
    await fired.wait()


async def test_a_later_time_takes_the_place_of_the_first() -> None:
    clock, fired = Clock(1000.0), asyncio.Event()
    timer = Expiry(fired.set, clock)
    timer.at(1000.01)
    timer.at(1000.1)
    await fired.wait()
    assert clock() >= 1000.1


async def test_a_clock_that_was_set_back_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LONGEST_TIMER", 0.01)
    clock, fired = Clock(1000.0), asyncio.Event()
    Expiry(fired.set, clock).at(1000.05)
    clock.ahead -= 0.1
    await fired.wait()
    assert clock() >= 1000.05


@pytest.mark.parametrize("expires", (None, 2.0**53))
async def test_never_and_very_late_need_no_special_timer(expires: float | None) -> None:
    timer = Expiry(lambda: pytest.fail("fired"), Clock(1000.0))
    timer.at(expires)
    await asyncio.sleep(0)
    timer.cancel()
    assert timer._timer is None


async def test_a_cancelled_one_holds_no_timer_any_more() -> None:
    timer = Expiry(lambda: pytest.fail("fired"), Clock(1000.0))
    timer.at(1000.0)
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
