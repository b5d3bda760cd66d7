"""docs/scaling.md says what the code says."""

import re
from dataclasses import fields

import pytest

from scripts.sizing import page
from scripts.sizing.__main__ import asked, main, parser
from scripts.sizing.assumptions import SMALL, Assumptions
from scripts.sizing.costs import measured

RENEW = "python -m scripts.sizing --page"


def part(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", page.PAGE.read_text(), re.DOTALL)
    assert found, f"no place for {name}"
    return found[1]


@pytest.mark.parametrize("name", page.tables(measured()))
def test_each_table_of_the_page_is_the_codes(name: str) -> None:
    assert part(name) == page.tables(measured())[name], RENEW


def test_what_was_simulated_is_what_is_simulated() -> None:
    """One row for all of them, which take a minute."""
    row = "| " + " | ".join(page.fault_row(measured(), SMALL, "worker")) + " |"
    assert row in part("faults"), RENEW


def test_every_assumption_has_its_words_and_its_flag() -> None:
    names = {field.name for field in fields(Assumptions)} - {"users"}
    assert set(page.WORDS) == names
    options = parser().parse_args(["--users", "2e6", "--history", "50", "--copy", "off", "--replicas", "2"])
    found = asked(options)
    assert (found.users, found.history, found.copy, found.replicas) == (2e6, 50, False, 2)


def test_the_command_prints_what_a_number_of_users_takes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--users", "3e4"])
    printed = capsys.readouterr().out
    assert "**workers**" in printed
    assert "30 k users" in printed


@pytest.mark.parametrize(
    ("value", "text"),
    ((0.123, "0.123"), (12.34, "12.3"), (1389.0, "1,389"), (26_000.0, "26 k"), (1.82e11, "182 G"), (True, "on")),
)
def test_numbers_are_for_reading(value: float, text: str) -> None:
    assert page.number(value) == text


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place"):
        page.filled("nothing", "costs", "…")
