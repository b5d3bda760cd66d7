"""The page of promises names what shows them: every scenario, and none that does not exist."""

import re

from scripts.chaos.scenarios import SCENARIOS
from tests.house.tree import ROOT


def test_the_scenarios_on_the_page_of_promises_are_those_of_the_run() -> None:
    named = set(re.findall(r"chaos `([a-z-]+)`", (ROOT / "docs/promises.md").read_text()))
    assert named == set(SCENARIOS)
