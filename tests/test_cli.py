"""The program `inboxd`, as far as it is not the operators' commands."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from service import cli
from service.config import BUILD, Settings

ROOT = Path(cli.__file__).parent.parent


def inboxd(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INBOXD_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**clean, **environ},
    )


class Recorded:
    """In place of the supervisor: keeps the settings it is given."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        Recorded.settings = settings

    async def run(self) -> int:
        return 0


def test_it_says_its_version() -> None:
    assert inboxd("--version").stdout == f"inboxd {BUILD}\n"


def test_without_a_command_it_shows_what_there_is() -> None:
    said = inboxd().stdout + inboxd().stderr
    assert "serve" in said
    assert "tail" in said


def test_flags_win_over_the_environment_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "Supervisor", Recorded)
    monkeypatch.setenv("INBOXD_PORT", "9000")
    monkeypatch.setenv("INBOXD_HISTORY", "7")
    with pytest.raises(typer.Exit) as caught:
        cli.serve(port=9001, workers=3, data_dir=tmp_path, durability="fsynced", log_level="debug")
    assert caught.value.exit_code == 0
    got = Recorded.settings
    assert (got.port, got.workers, got.data_dir, got.history) == (9001, 3, tmp_path, 7)
    assert (got.durability, got.log_level, got.redis_url) == ("fsynced", "debug", None)


def test_bad_settings_are_told_by_name_without_a_stack_trace() -> None:
    done = inboxd("serve", "--port", "70000", INBOXD_HEARTBEAT="soon")
    assert done.returncode == 2
    assert "INBOXD_PORT: " in done.stderr
    assert "INBOXD_HEARTBEAT: 'soon' is not a duration" in done.stderr
    assert "Traceback" not in done.stderr


def test_listening_to_others_without_authentication_is_refused_by_name() -> None:
    done = inboxd("serve", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "INBOXD_HOST: " in done.stderr
    assert "INBOXD_AUTH=jwt" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refusal_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = inboxd("serve", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 3
    assert done.stderr.startswith(f"inboxd: Port {port} on 127.0.0.1 is taken.")
    assert "Traceback" not in done.stderr


def test_a_variable_that_is_no_setting_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = inboxd("serve", "--port", "0", "--data-dir", str(tmp_path), INBOXD_WROKERS="3")
    assert done.returncode == 3, "the directory is somebody else's"
    assert "INBOXD_WROKERS is not a setting of this version; it has no effect" in done.stdout


def test_a_server_that_cannot_be_reached_is_told_without_its_password() -> None:
    done = inboxd("serve", "--port", "0", "--redis-url", "redis://user:hunter2@127.0.0.1:1/0")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
