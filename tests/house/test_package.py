"""pyproject.toml, Makefile and the CI script keep what they promise."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service.config import VERSION
from tests.house.tree import ROOT, Module, modules

PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT)
TARGETS = ("run", "test", "test-compiled", "check", "bench")

BOUNDED = re.compile(r"[\w-]+(\[[\w,]+\])?>=[\d.]+,<\d+(\.\d+)?(;.*)?")


def requirements() -> list[str]:
    project = PROJECT["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in requirements():
        assert BOUNDED.fullmatch(requirement), requirement


def test_the_version_is_written_once() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "service/config.py"


def test_every_rule_that_is_switched_off_has_a_reason() -> None:
    section = PYPROJECT.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.mccabe]")[0]
    rules = [line for line in section.splitlines() if line.startswith('  "')]
    assert len(rules) > 10
    for line in rules:
        assert re.search(r'",\s+# \S+ \S+', line), line


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_its_targets_and_installs_first(target: str) -> None:
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", target], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert said.index("--editable") < said.rindex(".venv/bin/")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with the Makefile and a PATH on which there is nothing yet."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    environ["PATH"] = str(folder / "bin")
    return subprocess.run([program, "run"], capture_output=True, text=True, check=False, cwd=folder, env=environ)


def put(folder: Path, name: str, script: str) -> None:
    program = folder / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_a_python_make_says_which_one_it_needs(bare: Path) -> None:
    done = make(bare)
    assert done.returncode != 0
    assert "no Python 3.11 or newer" in done.stderr


def test_an_old_python_is_passed_over(bare: Path) -> None:
    put(bare, "python3", "exit 1")
    assert "no Python 3.11 or newer" in make(bare).stderr


def test_a_python_that_cannot_make_environments_is_told_with_the_remedy(bare: Path) -> None:
    put(bare, "python3", 'case "$2" in *venv*) exit 1;; esac')
    done = make(bare)
    assert done.returncode != 0
    assert "python3 cannot make virtual environments" in done.stderr
    assert "apt install python3-venv" in done.stderr


def test_uv_is_used_where_it_is(bare: Path) -> None:
    put(bare, "uv", 'echo "uv $*"; exit 1')
    assert "uv venv" in make(bare).stdout


def compiled() -> list[Module]:
    """What `make compiled` makes extension modules of."""
    hook = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    assert hook["enable-by-default"] is False
    return [Module(ROOT / name.removeprefix("/")) for name in hook["include"]]


def test_what_is_compiled_exists_and_stands_in_order() -> None:
    names = [module.name for module in compiled()]
    assert all(module.path.is_file() for module in compiled())
    assert names == sorted(set(names))


def test_nothing_interpreted_inherits_from_what_is_compiled() -> None:
    """That fails only when such an object is made."""
    names = {module.name for module in compiled()}
    bases = {one.name for module in compiled() for one in module.classes()}
    for module in modules("service"):
        own = {one.name for one in module.classes()}
        for one in module.classes() if module.name not in names else ():
            taken = {base.id for base in one.bases if isinstance(base, ast.Name)} - module.libraries - own
            assert not taken & bases, f"{module.name}: {one.name}"


def test_the_ci_script_runs_the_checks_and_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-3:] == ["make check", "make test", "make test-compiled"]
    subprocess.run(["bash", "-n", str(script)], check=True)
