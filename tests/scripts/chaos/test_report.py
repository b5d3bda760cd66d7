"""What is told of a run."""

from scripts.chaos.checker import MAY_REWIND
from scripts.chaos.figures import Figures
from scripts.chaos.report import page, table
from scripts.chaos.runner import Result
from scripts.chaos.scenarios import SCENARIOS
from scripts.chaos.stage import Scenario, Stage


def nothing(stage: Stage) -> None:  # type: ignore[type-arg]
    """Plays nothing."""


FINE = Result(
    Scenario("fine", "something breaks", nothing),
    figures=Figures(tried=10, accepted=12, deliveries=24, slowest=0.25, recovered=1.5),
    proofs=[("it broke", True)],
)
BAD = Result(
    Scenario("bad", "something else breaks", nothing, promise=MAY_REWIND),
    faults=[f"lost: m{number}" for number in range(30)],
    lost=30,
    lost_with_server=3,
)
SKIPPED = Result(Scenario("skipped", "a storm", nothing), skipped="no weather here")


def test_a_table_tells_figures_proofs_and_faults() -> None:
    told = table(FINE)
    assert "fine: passed" in told
    assert "it broke" in told
    assert "1.50 s" in told
    told = table(BAD)
    assert "bad: FAILED" in told
    assert "lost: m0" in told
    assert "and 18 more" in told
    assert "may happen" in told
    assert "no weather here" in table(SKIPPED)


def test_the_page_has_versions_seed_and_a_row_and_a_section_for_each() -> None:
    told = page([FINE, BAD, SKIPPED], 42, 25)
    assert "seed 42" in told
    assert "2 of 3" not in told
    assert "1 of 3 passed, 1 skipped" in told
    for word in ("inboxd", "server", "Python", "kernel", "## `fine`", "## `bad`", "## `skipped`", "**failed**"):
        assert word in told
    assert "| `fine` | 12 | 24 | 0 | 0 | 0 | 0.25 s | 1.50 s | passed |" in told


def test_every_scenario_is_played_once_and_says_what_it_is_about() -> None:
    assert len(SCENARIOS) >= 25
    for name, one in SCENARIOS.items():
        assert name == one.name
        assert one.about
        assert not one.about.endswith(".")
