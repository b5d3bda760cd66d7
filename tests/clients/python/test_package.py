"""What is published: the module, its types and its licence, and nothing of the service."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import inboxd_client
import pytest
from hatchling.build import build_wheel

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "clients/python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PACKAGE)
        name = build_wheel(str(folder))
    return zipfile.ZipFile(folder / name)


def test_the_wheel_holds_exactly_the_module_its_types_and_the_licence(wheel: zipfile.ZipFile) -> None:
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    modules = {path.name for path in (PACKAGE / "inboxd_client").glob("*.py")}
    assert len(modules) > 10
    assert found == {f"inboxd_client/{name}" for name in {*modules, "py.typed"}}
    (licence,) = [name for name in wheel.namelist() if name.endswith("LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_it_needs_two_libraries_within_the_bounds_that_the_service_has_too() -> None:
    ours = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"]
    theirs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {name.split(">")[0] for name in ours} == {"httpx2", "websockets"}
    assert set(ours) <= set(theirs)


def test_what_is_installed_imports_nothing_of_the_service(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    script = "import sys, inboxd_client; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    names = done.stdout.decode().split()
    assert "inboxd_client" in names
    assert not {"service", "fastapi", "redis", "pydantic", "orjson"} & set(names)


def test_the_readme_names_everything_that_is_public() -> None:
    page = (PACKAGE / "README.md").read_text()
    assert [name for name in inboxd_client.__all__ if f"`{name}" not in page] == []
