"""The arithmetic from people to machines."""

from dataclasses import replace
from typing import Any

import pytest

from scripts.sizing.assumptions import SIZES, of
from scripts.sizing.costs import Costs, measured
from scripts.sizing.model import load, memory, rates, size
from tests.scripts.sizing.example import costs, people


def test_rates_are_counted_from_people() -> None:
    a = people(users=86_400, messages=10, peak=2, grouped=0.5, group=10, receipts=0, copy=False, reached=0.5, devices=1)
    found = rates(a)
    assert found.sends == pytest.approx(20)
    assert found.single == pytest.approx(10)
    assert found.members == pytest.approx(100)
    assert found.entries == pytest.approx(110)
    assert found.relayed == pytest.approx(55)


def test_what_is_not_delivered_at_once_is_delivered_later_to_each_device() -> None:
    found = rates(people(reached=0.25, owned=2, devices=1))
    assert found.relayed + found.replayed == pytest.approx(2 * found.entries)


@pytest.mark.parametrize("more", ({"copy": True}, {"receipts": 1.0}, {"group": 24.0}))
def test_copies_receipts_and_groups_are_appends(more: dict[str, Any]) -> None:
    bare = people(copy=False, receipts=0.1)
    assert rates(replace(bare, **more)).entries > rates(bare).entries


def test_twice_the_people_are_twice_the_load() -> None:
    one, two = (load(rates(a), a, costs(), spread=True) for a in (people(), people(users=2e6)))
    assert two.worker == pytest.approx(2 * one.worker)
    assert two.server == pytest.approx(2 * one.server)


def test_few_people_need_one_server_and_many_need_several() -> None:
    assert size(people(users=1e4), costs()).servers == 1
    assert size(people(users=1e7), costs()).servers > 3


def test_servers_are_as_many_as_memory_asks_for_where_it_asks_for_more() -> None:
    a = people(server_memory=4e9)
    assert size(a, costs()).servers == -(-int(memory(a, costs())) // int(4e9))


def test_workers_are_as_many_as_connections_ask_for_where_those_ask_for_more() -> None:
    found = size(people(connections=1_000), costs())
    assert found.workers == 260


def test_an_inbox_keeps_no_more_than_its_history_and_no_more_than_came() -> None:
    users = 1e6
    short, long_ = (memory(people(users=users, history=h, online=0), costs()) / users for h in (10, 1e9))
    assert short == pytest.approx(4_000 + 10 * 400)
    daily = rates(people()).entries / people().peak * 86_400 / users
    assert long_ == pytest.approx(4_000 + daily * 30 * 400)


def test_one_zone_has_nothing_that_crosses() -> None:
    assert size(people(zones=1), costs()).crossing == 0
    assert size(people(zones=3), costs()).crossing > 0


def test_a_limit_is_passed_where_it_is_passed_in_fact() -> None:
    """The group of the measurement takes 100 sends a second of 100 members."""
    limits = {one.what: one.used for one in size(people(hottest=20, biggest=1000), costs()).limits}
    assert limits["the busiest group"] == pytest.approx(2.0)


def test_the_nearest_limit_comes_first() -> None:
    used = [one.used for one in size(people(), costs()).limits]
    assert used == sorted(used, reverse=True)


def test_a_number_of_users_finds_the_assumptions_made_for_its_like() -> None:
    assert [of(users).history for users in (1e4, 1e6, 5e6, 1e8)] == [one.history for one in SIZES]
    assert of(3e6).users == 3e6


def test_what_was_measured_can_be_calculated_with() -> None:
    found = Costs.of(measured())
    assert found.full_send.worker > 0
    assert found.calm_send.worker + found.calm_relay.worker == pytest.approx(found.calm.worker)
    assert all(size(a, found).workers >= 2 for a in SIZES)
