"""The data directory: locked, stamped, and refused rather than begun empty."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service import data_dir
from service.core.errors import Refused
from service.data_dir import LOCK, LOG, MANIFEST, STAMP, DataDir, free_port
from service.server_binary import ServerBinary

VALKEY = ServerBinary(Path("/usr/bin/valkey-server"), "valkey", "9.1.2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def ignore(line: str) -> None:
    """Hears what is said."""


async def leave_data(path: Path, binary: ServerBinary = VALKEY) -> None:
    """As a server that was once ready leaves it."""
    with await DataDir.open(path, binary, ignore) as held:
        held.mark_started(binary)
    (path / MANIFEST).parent.mkdir()
    (path / MANIFEST).touch()


async def refusal(path: Path, binary: ServerBinary = VALKEY) -> str:
    with pytest.raises(Refused) as caught:
        await DataDir.open(path, binary, ignore)
    return str(caught.value)


async def test_a_new_directory_is_made_for_its_owner_alone_and_stamped(path: Path) -> None:
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert path.stat().st_mode & 0o777 == 0o700
        stamp = json.loads((path / STAMP).read_text())
        assert stamp == {"flavour": "valkey", "version": "9.1.2", "port": held.stamp.port, "started": False}
        assert (path / LOCK).read_text() == str(os.getpid())


async def test_the_port_is_kept(path: Path) -> None:
    await leave_data(path)
    with await DataDir.open(path, VALKEY, ignore) as held:
        first = held.stamp.port
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert held.stamp.port == first


async def test_the_port_is_another_when_somebody_has_taken_it(path: Path) -> None:
    await leave_data(path)
    taken = json.loads((path / STAMP).read_text())["port"]
    with socket.create_server(("127.0.0.1", taken)), await DataDir.open(path, VALKEY, ignore) as held:
        assert held.stamp.port != taken
        assert held.stamp.started


def test_ports_come_from_below_those_of_outgoing_connections() -> None:
    assert all(20_000 <= free_port(None) < 32_000 for _ in range(20))


async def test_a_second_holder_is_told_the_firsts_pid(path: Path) -> None:
    with await DataDir.open(path, VALKEY, ignore):
        said = await refusal(path)
    assert f"in use by process {os.getpid()}" in said
    assert "INBOXD_DATA_DIR" in said


async def test_a_directory_that_was_closed_can_be_opened_again(path: Path) -> None:
    for _ in range(2):
        with await DataDir.open(path, VALKEY, ignore):
            pass


def inheritor(held: DataDir) -> subprocess.Popen[bytes]:
    """A process that holds the lock as the server does; it ends when its stdin is closed."""
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(held.lock_fd,))


def a_pid_that_is_gone() -> int:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    return process.pid


async def test_a_server_that_a_dead_parent_left_behind_is_waited_for(path: Path) -> None:
    with await DataDir.open(path, VALKEY, ignore) as held:
        server = inheritor(held)
    (path / LOCK).write_text(str(a_pid_that_is_gone()))
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        assert server.stdin is not None
        server.stdin.close()

    with await DataDir.open(path, VALKEY, say):
        assert server.wait() == 0
    assert len(said) == 1
    assert "waiting for the server" in said[0]


async def test_one_that_does_not_end_is_named_with_its_dead_parent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_dir, "PATIENCE", 0.2)
    with await DataDir.open(path, VALKEY, ignore) as held:
        server = inheritor(held)
    gone = a_pid_that_is_gone()
    (path / LOCK).write_text(str(gone))
    said = await refusal(path)
    server.communicate()
    assert f"a server that process {gone} has left behind" in said


async def test_somebody_elses_directory_is_refused_and_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "dump.rdb").write_text("precious")
    said = await refusal(path)
    assert "not empty and not inboxd's" in said
    assert "dump.rdb" in said
    assert [entry.name for entry in path.iterdir()] == ["dump.rdb"]


@pytest.mark.parametrize("name", ("lost+found", ".gitkeep"))
async def test_what_a_volume_or_a_repository_brings_along_does_not_matter(path: Path, name: str) -> None:
    path.mkdir()
    (path / name).touch()
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert not held.stamp.started


async def test_another_flavours_data_is_refused(path: Path) -> None:
    await leave_data(path)
    said = await refusal(path, ServerBinary(Path("/usr/bin/redis-server"), "redis", "8.0.0"))
    assert "written by valkey 9.1.2" in said
    assert "/usr/bin/redis-server is redis 8.0.0" in said
    assert "Install valkey" in said


async def test_data_of_a_newer_major_version_is_refused(path: Path) -> None:
    await leave_data(path, replace(VALKEY, version="10.0.1"))
    said = await refusal(path)
    assert "written by valkey 10.0.1, which is newer than" in said
    assert json.loads((path / STAMP).read_text())["version"] == "10.0.1"


async def test_data_of_an_older_version_is_taken_and_stamped_anew_once_a_server_was_ready(path: Path) -> None:
    await leave_data(path, replace(VALKEY, version="8.0.1"))
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert held.stamp.version == "8.0.1"
        held.mark_started(VALKEY)
    assert json.loads((path / STAMP).read_text())["version"] == "9.1.2"


async def test_data_that_is_gone_is_noticed(path: Path) -> None:
    await leave_data(path)
    (path / MANIFEST).unlink()
    said = await refusal(path)
    assert "is gone" in said
    assert str(MANIFEST) in said


async def test_a_start_that_never_got_ready_leaves_a_directory_to_begin_with(path: Path) -> None:
    with await DataDir.open(path, VALKEY, ignore):
        pass
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert not held.stamp.started


@pytest.mark.parametrize("content", ("", "{", "[]", "{}", '{"flavour": "valkey", "colour": "red"}'))
async def test_a_stamp_that_cannot_be_read_is_refused(path: Path, content: str) -> None:
    await leave_data(path)
    (path / STAMP).write_text(content)
    said = await refusal(path)
    assert str(path / STAMP) in said
    assert "cannot be read" in said


async def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file" / "data") in await refusal(tmp_path / "file" / "data")


async def test_a_refusal_gives_the_lock_back(path: Path) -> None:
    await leave_data(path)
    for _ in range(2):
        assert "Install valkey" in await refusal(path, ServerBinary(Path("/redis"), "redis", "8.0.0"))


async def test_the_logs_newest_lines_are_shown(path: Path) -> None:
    with await DataDir.open(path, VALKEY, ignore) as held:
        assert held.log_tail() == ""
        (path / LOG).write_text("".join(f"line {n}\n" for n in range(10_000)))
        assert held.log_tail(2) == "  line 9998\n  line 9999"
