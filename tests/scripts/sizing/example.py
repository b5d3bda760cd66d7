"""Costs that are easy to calculate with."""

from typing import Any

from scripts.sizing.assumptions import Assumptions
from scripts.sizing.costs import Costs, Price


def costs(**other: Any) -> Costs:
    given: dict[str, Any] = {
        "full_send": Price(100, 40, 600, 60),
        "full_relay": Price(80, 20, 400, 200),
        "calm": Price(360, 120, 1000, 260),
        "replay": Price(10, 5, 4, 400),
        "member": Price(50, 40, 600, 60),
        "connect": Price(1000, 150, 1000, 200),
        "second": Price(10, 2, 30, 20),
        "look_us": 40.0,
        "worker_bytes": 16_000,
        "server_bytes": 500,
        "entry_bytes": 400,
        "inbox_bytes": 4_000,
        "group_sends": 100.0,
        "group_members": 100,
    }
    return Costs(**given | other)


def people(**other: Any) -> Assumptions:
    return Assumptions(**{"users": 1e6} | other)
