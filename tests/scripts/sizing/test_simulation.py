"""A small service in motion. Seeded: what is found once is found always."""

from dataclasses import replace

import pytest

from scripts.sizing.costs import Price, measured
from scripts.sizing.fit import compared
from scripts.sizing.simulation import FAULTS, Fault, Told, simulated
from scripts.sizing.slices import Slice, sliced
from tests.scripts.sizing.example import costs, people

SMALL = Slice(
    workers=4,
    shards=4,
    singles=200,
    groups=5,
    members=8,
    reached=0.5,
    connects=10,
    connections=500,
    send=Price(200e-6, 80e-6, 0, 0),
    relay=Price(150e-6, 40e-6, 0, 0),
    member=Price(50e-6, 40e-6, 0, 0),
    connect=Price(1e-3, 2e-4, 0, 0),
    look=5e-5,
)


def run(fault: Fault, seconds: float = 12.0, **other: object) -> Told:
    return simulated(replace(SMALL, **other), fault, seconds=seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_seed_gives_the_same(fault: Fault) -> None:
    assert run(fault, 3.0) == run(fault, 3.0)


def test_another_seed_gives_another() -> None:
    assert simulated(SMALL, seconds=2.0, seed=1) != simulated(SMALL, seconds=2.0, seed=2)


def test_in_calm_everything_is_accepted_soon_and_nobody_is_thrown_out() -> None:
    told = run("none")
    assert len(told.accepted) == pytest.approx(12 * 205, rel=0.05)
    assert told.p("accepted", 0.99) < 0.01
    assert not told.away
    assert not told.counts


def test_processes_are_as_busy_as_their_load_says() -> None:
    told = run("none", groups=0, connects=0)
    assert told.worker_busy == pytest.approx(50 * (200e-6 + 0.5 * 150e-6), rel=0.2)
    assert told.shard_busy == pytest.approx(50 * (80e-6 + 0.5 * 40e-6), rel=0.2)


@pytest.mark.parametrize(("fault", "thrown_out"), (("worker", 500), ("zone", 500)))
def test_whoever_is_thrown_out_comes_back(fault: Fault, thrown_out: int) -> None:
    told = run(fault)
    assert len(told.away) >= thrown_out
    assert told.out == 0
    assert 0 < told.back < 5


def test_a_slower_handshake_makes_everybody_wait_longer() -> None:
    quick, slow = (run("worker", connect=Price(cost, 2e-4, 0, 0)) for cost in (5e-4, 1e-2))
    assert slow.back > 2 * quick.back
    assert slow.worker_queue > quick.worker_queue


def test_who_waits_too_long_for_a_connection_gives_up_and_is_more_work() -> None:
    told = run("worker", connections=8_000, connect=Price(5e-3, 2e-4, 0, 0), singles=10)
    assert told.counts["gave up connecting"] > 0
    assert told.out > 0


def test_a_killed_server_takes_its_own_inboxes_with_it_and_no_others() -> None:
    told = run("shard killed", failover=5.0)
    assert told.counts["unavailable"] > 0
    assert told.p("others", 0.9) < 0.1
    assert told.back > 4


def test_a_frozen_server_holds_up_the_batches_of_everybody() -> None:
    """One flight at a time: that is the committer's order, and its price (decision 18)."""
    killed, frozen = run("shard killed", failover=5.0), run("shard frozen", failover=5.0)
    assert frozen.p("others", 0.99) > 10 * killed.p("others", 0.5)


def test_a_slice_is_as_busy_as_the_whole() -> None:
    a, price = people(users=3e6), costs()
    slice_ = sliced(a, price)
    assert slice_.workers == 4
    told = simulated(slice_, seconds=4.0)
    assert 0.05 < told.worker_busy < 0.9


def test_the_simulation_is_near_what_was_measured_at_the_size_that_fits_here() -> None:
    """Against the recorded measurement: nothing is timed here. Throughput is near; latency depends on who else ran."""
    rate = compared(measured())[0]
    assert 0.5 < rate.ratio < 2.0, rate
