"""A round over all users, slow, by one worker alone; begun anew where another took over."""

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
        self.failing: set[int] = set()  # steps that fail, counted from 1

    async def lead(self, worker: str, life: float) -> bool:
        return self.leads.pop(0) if len(self.leads) > 1 else self.leads[0]

    async def primaries(self) -> list[tuple[str, Any, int]]:
        return [("a:1", "a", 2 * KEYS + 1), ("b:1", "b", 0)]

    async def step(self, primary: Any, position: str) -> Step:
        self.steps.append((primary, position))
        if len(self.steps) in self.failing:
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


async def test_after_a_server_was_away_it_goes_on_where_it_was() -> None:
    sweep = Sweep(True)
    sweep.failing = {2, 4, 6}  # a server that is away for a moment, again and again
    running = asyncio.create_task(sweeper(sweep).run())
    await until(lambda: len(sweep.steps) >= 11, "two rounds")
    await ended(running)
    trouble = [("a", "0"), ("a", "7"), ("a", "7"), ("a", "9"), ("a", "9"), ("b", "0"), ("b", "0")]
    assert sweep.steps[:11] == [*trouble, *WHOLE], "and the next round begins at the beginning"


async def test_who_leads_again_after_somebody_else_begins_at_the_beginning() -> None:
    sweep = Sweep(True, True, False, True)
    running = asyncio.create_task(sweeper(sweep, period=0.04).run())
    await until(lambda: len(sweep.steps) >= 8, "a whole round")
    await ended(running)
    taken = next(n for n, step in enumerate(sweep.steps) if n and step == WHOLE[0])
    assert 0 < taken < 4
    assert sweep.steps[taken : taken + 4] == WHOLE


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
