"""The queues of the simulation, against what is known of queues."""

import random

import pytest

from scripts.sizing.queues import Clock, Cores, Process


def test_events_come_in_order_and_at_one_time_as_they_were_asked_for() -> None:
    clock, seen = Clock(), list[str]()
    for seconds, name in ((2, "late"), (1, "first"), (1, "second")):
        clock.after(seconds, lambda name=name: seen.append(name))  # type: ignore[misc]
    clock.run(1.5)
    assert (seen, clock.now) == (["first", "second"], 1.5)
    clock.run(3)
    assert seen == ["first", "second", "late"]


@pytest.mark.parametrize("busy", (0.3, 0.5, 0.8))
def test_a_queue_is_as_long_as_the_books_say(busy: float) -> None:
    """M/D/1: the mean wait is busy / (2 · (1 - busy)) services."""
    clock, chance = Clock(), random.Random(7)
    process, waits = Process(clock, Cores()), list[float]()

    def come() -> None:
        came = clock.now
        process.give(1.0, lambda: waits.append(clock.now - came - 1.0))
        clock.after(chance.expovariate(busy), come)

    come()
    clock.run(60_000)
    assert sum(waits) / len(waits) == pytest.approx(busy / (2 * (1 - busy)), rel=0.1)


def test_processes_share_the_cores_there_are() -> None:
    clock, cores, ended = Clock(), Cores(2), list[float]()
    for process in (Process(clock, cores) for _ in range(4)):
        for _ in range(10):
            process.give(1.0, lambda: ended.append(clock.now))
    clock.run(100)
    assert (len(ended), max(ended)) == (40, 20.0)


def test_one_sync_is_for_all_that_were_taken_at_once() -> None:
    clock, done = Clock(), list[float]()
    process = Process(clock, Cores(), most=8, sync=5.0)
    for _ in range(9):
        process.give(1.0, lambda: done.append(clock.now))
    clock.run(100)
    assert done == [6.0, *[19.0] * 8]  # the first alone, the rest together


def test_what_the_dead_had_in_hand_is_lost() -> None:
    clock, done = Clock(), list[float]()
    process = Process(clock, Cores())
    process.give(1.0, lambda: done.append(clock.now))
    process.give(1.0, lambda: done.append(clock.now))
    clock.after(0.5, process.die)
    clock.run(10)
    assert done == []
    process.revive()
    process.give(1.0, lambda: done.append(clock.now))
    clock.run(20)
    assert done == [11.0]
