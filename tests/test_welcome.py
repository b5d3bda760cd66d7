"""The start-up message: every line in it can be copied."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from service.config import Settings
from service.welcome import welcome


def lines(message: str) -> list[str]:
    return [line.strip() for line in message.splitlines()]


def test_it_names_every_place() -> None:
    said = welcome(Settings(redis_url="redis://127.0.0.1:24001/0", workers=1), "fsynced", Path("/some/data"))
    assert "1 worker on the embedded server (data in /some/data)" in said
    assert "acceptances are fsynced" in said
    assert "chat page   http://127.0.0.1:8000/\n" in said
    assert "http://127.0.0.1:8000/docs" in said
    assert "ws://127.0.0.1:8000/v1/ws" in said
    assert "redis-cli -p 24001" in said


def test_the_line_to_send_is_a_command_with_valid_json() -> None:
    said = welcome(Settings(redis_url="redis://127.0.0.1:24001/0", port=9000), "fsynced", Path("/some/data"))
    words = shlex.split(next(line for line in lines(said) if line.startswith("curl -s -X POST")))
    assert words[4] == "http://127.0.0.1:9000/v1/messages"
    assert json.loads(words[-1]) == {"to": "bob", "body": {"text": "hi"}}


def test_the_line_to_receive_waits_for_a_device() -> None:
    said = welcome(Settings(redis_url="redis://127.0.0.1:24001/0"), "fsynced", Path("/some/data"))
    words = shlex.split(next(line for line in lines(said) if "/v1/inbox?" in line))
    assert words[2] == "http://127.0.0.1:8000/v1/inbox?device=phone&wait=30"
    assert words[-1] == "X-Inboxd-User: bob"


def test_with_tokens_the_lines_take_one_from_the_environment_and_show_no_secret() -> None:
    secret = "a-secret-of-the-tests-with-enough-bytes"
    settings = Settings(redis_url="redis://127.0.0.1:24001/0", auth="jwt", jwt_secret=secret)
    said = welcome(settings, "fsynced", Path("/some/data"))
    assert said.count('-H "Authorization: Bearer $INBOXD_TOKEN"') == 2
    assert "X-Inboxd-User" not in said
    assert "token --user bob" in said
    assert secret not in said


def test_where_others_sign_tokens_no_command_is_named_for_it() -> None:
    settings = Settings(
        redis_url="redis://127.0.0.1:24001/0", auth="jwt", jwks_url="https://user:hunter2@issuer.example"
    )
    said = welcome(settings, "fsynced", Path("/some/data"))
    assert "$INBOXD_TOKEN" in said
    assert "token --user" not in said
    assert "hunter2" not in said


def test_the_command_is_written_as_it_can_be_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    settings = Settings(redis_url="redis://127.0.0.1:24001/0")
    assert ".venv/bin/inboxd tail bob" in lines(welcome(settings, "fsynced", tmp_path))

    program = tmp_path / ".venv/bin/inboxd"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert "inboxd tail bob" in lines(welcome(settings, "fsynced", tmp_path))


def test_the_command_is_told_of_another_port() -> None:
    said = welcome(Settings(redis_url="redis://127.0.0.1:24001/0", port=9000), "fsynced", Path("/some/data"))
    assert any(line.startswith("INBOXD_PORT=9000 ") and line.endswith("tail bob") for line in lines(said))


def test_an_ipv6_address_stands_in_brackets() -> None:
    said = welcome(Settings(host="::1", redis_url="redis://127.0.0.1:24001/0"), "fsynced", Path("/some/data"))
    assert "http://[::1]:8000/docs" in said


@pytest.mark.parametrize(
    ("url", "server", "look"),
    (
        ("redis://127.0.0.1:6390/2", "redis://127.0.0.1:6390/2", "redis-cli -p 6390 -n 2"),
        ("redis://ops:hunter2@127.0.0.1:6390", "redis://ops:***@127.0.0.1:6390", "redis-cli -p 6390 --user ops"),
        ("redis://db?db=1&password=hunter2", "redis://db?db=1&password=***", "redis-cli -h db -p 6379"),
        ("redis://:hunter2@db", "redis://:***@db", "redis-cli -h db -p 6379"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "redis-cli -s /run/redis.sock"),
    ),
)
def test_a_server_of_ones_own_is_named_without_its_password(url: str, server: str, look: str) -> None:
    said = welcome(Settings(redis_url=url), "appended", None)
    assert f"2 workers on {server}, acceptances are appended" in said
    assert look in said
    assert "hunter2" not in said
    assert "embedded" not in said
