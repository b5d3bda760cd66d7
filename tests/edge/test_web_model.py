"""What the page shows, made of what it has stored: its pure functions, tested where they run, in JavaScript."""

import subprocess

import pytest

from scripts.lab.timing import PATIENCE
from scripts.tools import NO_NODE, node
from tests.house.tree import ROOT


def test_the_pages_pure_functions_do_what_their_own_tests_say() -> None:
    found = node()
    if found is None:
        pytest.skip(NO_NODE)
    tests = sorted(str(path) for path in (ROOT / "tests/edge/web").glob("*.test.mjs"))
    done = subprocess.run(
        [found.program, "--test", "--test-reporter=tap", *tests],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=6 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# tests 0" not in done.stdout
