"""A round over all users, slow, by one worker alone; begun anew where another took over or a server was away."""

import asyncio
from typing import Any

from service.core.errors import Unavailable
from service.delivery.push_sweeper import PushSweeper
from service.store.push_sweep import KEYS, Step
from tests.delivery.rig import ended, ticks, until


class Sweep:
    """Two primaries, the first of three steps; notes what is asked. `leads`: whether one may go on, each time."""

    def __init__(self, *leads: bool) -> None:
        self.leads = list(leads)
        self.steps: list[tuple[str, str]] = []
        self.failing = 0

    async def lead(self, worker: str, life: float) -> bool:
        return self.leads.pop(0) if len(self.leads) > 1 else self.leads[0]

    async def primaries(self) -> list[tuple[Any, int]]:
        return [("a", 2 * KEYS + 1), ("b", 0)]

    async def step(self, primary: Any, position: str) -> Step:
        self.steps.append((primary, position))
        if self.failing:
            self.failing -= 1
            raise Unavailable("away")
        following = {"0": "7", "7": "9", "9": "0"}[position] if primary == "a" else "0"
        return Step(following, 0)


WHOLE = [("a", "0"), ("a", "7"), ("a", "9"), ("b", "0")]


def sweeper(sweep: Sweep, period: float = 0.001) -> PushSweeper:
    return PushSweeper(sweep, period, 0.003, lambda: "w-1")  # type: ignore[arg-type]


async def test_a_round_goes_over_every_primary_to_its_end() -> None:
    sweep = Sweep(True)
    await sweeper(sweep).round()
    assert sweep.steps == WHOLE


async def test_a_worker_that_no_longer_leads_stops_where_it_is() -> None:
    sweep = Sweep(True, False)
    await sweeper(sweep).round()
    assert sweep.steps == WHOLE[:2]


async def test_a_server_that_is_away_makes_it_begin_anew() -> None:
    sweep = Sweep(True)
    sweep.failing = 1
    running = asyncio.create_task(sweeper(sweep).run())
    await until(lambda: len(sweep.steps) >= 5, "a whole round")
    await ended(running)
    assert sweep.steps[:5] == [("a", "0"), *WHOLE]


async def test_who_does_not_lead_looks_at_nothing() -> None:
    sweep = Sweep(False)
    running = asyncio.create_task(sweeper(sweep).run())
    await ticks()
    await ended(running)
    assert sweep.steps == []


async def test_a_round_takes_its_time() -> None:
    sweep = Sweep(True)
    running = asyncio.create_task(sweeper(sweep, period=3600).round())
    await until(lambda: bool(sweep.steps), "the first step")
    await ticks()
    assert not running.done()
    await ended(running)
    assert sweep.steps == WHOLE[:1], "an hour for four of them"
