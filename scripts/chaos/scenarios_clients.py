"""What clients do to the service."""

import asyncio
import random
from collections import Counter

from scripts.chaos.client import COME_BACK, Device, Session
from scripts.chaos.crowd import Cast
from scripts.chaos.grounds import Ground
from scripts.chaos.history import Ended
from scripts.chaos.stage import Stage, scenario

RIVALS = 12


@scenario("device-storm", "a device connects many times at once; the highest `attempt` stays")
def device_storm(stage: Stage[Ground]) -> None:
    user = stage.crowd.users[0]
    device = Device(stage.ground.service.url, user, "storm", stage.history, random.Random(stage.rng.random()))
    codes: Counter[int] = Counter()
    rounds = max(2, int(stage.seconds / 3))
    with stage.fault():
        for number in range(rounds):
            first = number * RIVALS + 1
            sessions = stage.crowd.run(storm(device, list(range(first, first + RIVALS)), stage.rng))
            stage.wait(1.5)
            alive = [session.attempt for session in sessions if not session.ended]
            stage.expect(alive == [first + RIVALS - 1], f"only the highest attempt stays, not {alive}")
            stage.crowd.run(let_go(sessions))
            codes.update(session.code for session in sessions)
    stage.prove(codes[4509] >= rounds * (RIVALS - 1), f"{codes[4509]} rivals were closed with 4509")


async def storm(device: Device, attempts: list[int], rng: random.Random) -> list[Session]:
    """Dials all, then says all hellos at once, in any order."""
    sessions = list(await asyncio.gather(*(device.dial(attempt) for attempt in attempts)))
    for session in rng.sample(sessions, len(sessions)):
        await session.greet()
    return sessions


async def let_go(sessions: list[Session]) -> None:
    for session in sessions:
        if not session.ended:
            await session.ack()
        await session.leave()


@scenario("comers-and-goers", "most devices come and go at random", cast=Cast(others=("laptop",), users=10))
def comers_and_goers(stage: Stage[Ground]) -> None:
    with stage.fault():
        stage.wait(stage.seconds)
    left = sum(end.device == "laptop" for end in stage.since_fault(Ended))
    stage.prove(left >= 10, f"laptops came and went {left} times")


@scenario(
    "slow-and-stalled",
    "readers that ack late, and readers that stop reading from their socket",
    cast=Cast(others=("car", "watch"), users=8),
)
def slow_and_stalled(stage: Stage[Ground]) -> None:
    with stage.fault():
        stage.wait(stage.seconds)
        stage.wait_for(lambda: cut_off(stage, "car") > 0)
    stage.prove(cut_off(stage, "car") > 0, f"stalled connections were cut off {cut_off(stage, 'car')} times")
    stage.expect(cut_off(stage, "watch") == 0, "slow readers are not cut off")


def cut_off(stage: Stage[Ground], device: str) -> int:
    """How many connections of devices of this name the service ended for want of an answer."""
    return sum(end.device == device and end.code in {1006, 4001} for end in stage.since_fault(Ended))


@scenario("connections-flood", "hundreds of connections that say nothing, again and again")
def connections_flood(stage: Stage[Ground]) -> None:
    opened = 0
    with stage.fault():
        for _ in range(3):
            opened += stage.crowd.run(flood(stage.ground.service.url, 100, stage))
            stage.wait(stage.seconds / 6)
    stage.prove(opened >= 100, f"{opened} connections were opened and never said hello")


async def flood(base: str, count: int, stage: Stage[Ground]) -> int:
    """Opens connections and drops them after a moment; how many there were."""
    opened = []
    for number in range(count):
        device = Device(base, f"nobody{number}", "phone", stage.history, stage.rng)
        try:
            opened.append(await device.dial(1))
        except COME_BACK:
            continue
    await asyncio.sleep(0.5)
    for session in opened:
        await session.leave()
    return len(opened)
