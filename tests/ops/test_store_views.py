import asyncio
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from scripts.lab.ports import free_port
from service.config import Settings
from service.ops.views import register
from service.store.client import connect
from tests.ops import example

APP = typer.Typer()
register(APP)


def inboxd(*words: str) -> Result:
    return CliRunner().invoke(APP, words)


@pytest.fixture
def filled(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    asyncio.run(example.build(redis_url))
    monkeypatch.setenv("INBOXD_REDIS_URL", redis_url)
    return redis_url


def write(url: str, *command: str) -> None:
    async def once() -> None:
        client = connect(Settings(redis_url=url))
        await client.run(*command)
        await client.aclose()

    asyncio.run(once())


def test_inbox_shows_entries_newest_last_then_devices_then_state(filled: str) -> None:
    result = inboxd("inbox", "bob", "-n", "2")
    entries, devices, state = (part.splitlines() for part in result.stdout.split("\n\n"))
    assert result.exit_code == 0
    assert entries[0] == "cursor\tkind\tid\tfrom\tto\tbody"
    assert [row.split("\t")[1:] for row in entries[1:]] == [
        ["message", "m-3", "alice", "bob", "it is about tomorrow"],
        ["message", "m-4", "alice", "bob", "call me"],
    ]
    assert [row.split("\t")[::2] for row in devices] == [
        ["device", "behind", "worker"],
        ["laptop", "3", "-"],
        ["phone", "1", example.ALIVE],
    ]
    assert state[1].split("\t")[3:] == ["4", "1"]


def test_inbox_as_json_has_the_fields_of_the_protocol_and_the_entries(filled: str) -> None:
    view = json.loads(inboxd("inbox", "bob", "--json").stdout)
    assert list(view) == ["user", "last", "floor", "length", "pending", "devices", "entries"]
    assert view["entries"][3]["body"] == {"text": "call me"}
    assert [entry["cursor"][-2:] for entry in view["entries"]] == ["-1", "-2", "-3", "-4"]


def test_an_unknown_user_is_bad_news(filled: str) -> None:
    result = inboxd("inbox", "mallory")
    assert result.exit_code == 1
    assert "mallory has no inbox" in result.stderr
    assert not result.stdout


def test_what_somebody_else_wrote_into_an_inbox_is_shown_harmlessly(filled: str) -> None:
    write(filled, "XADD", "chat:inbox:{eve}", "5-1", "kind", "\x1b[2J", "body", '{"text":"[red]\\u001b]0;x"}')
    write(filled, "XADD", "chat:inbox:{eve}", "5-2", "body", "no json \x9b")
    shown, as_json = inboxd("inbox", "eve").stdout, inboxd("inbox", "eve", "--json").stdout
    assert "\\u001b[2J" in shown
    assert "[red]\\u001b]0;x" in shown
    assert "no json \\u009b" in shown
    assert not {"\x1b", "\x9b"} & {*shown, *as_json}
    assert json.loads(as_json)["entries"][1]["body"] == "no json \x9b"


def test_workers_shows_who_lives(filled: str) -> None:
    result = inboxd("workers")
    head, row = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head == "worker\thost\tpid\tversion\tconnections\theartbeat\tlag"
    assert row.split("\t")[:5] == [example.ALIVE, "chat-1", "4711", "0.1.0", "1"]
    assert row.split("\t")[6] == "1"


def test_workers_with_who_shows_also_who_is_connected(filled: str) -> None:
    assert f"bob\tphone\t{example.ALIVE}\ts-51" in inboxd("workers", "--who").stdout
    view = json.loads(inboxd("workers", "--who", "--json").stdout)
    assert list(view["workers"][0]) == [*("worker", "host", "pid", "version", "connections", "heartbeat_age_ms", "lag")]
    assert view["online"] == [
        {"user": "bob", "device": "phone", "worker": example.ALIVE, "session": "s-51", "attempt": "7"}
    ]


def test_no_worker_is_bad_news(redis_url: str) -> None:
    result = inboxd("workers", "--redis-url", redis_url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"workers": []}
    assert "inboxd serve" in result.stderr


def test_another_prefix_is_another_service(filled: str) -> None:
    assert inboxd("inbox", "bob", "--prefix", "other:").exit_code == 1


def test_doctor_is_content_with_the_server_of_the_tests(filled: str) -> None:
    result = inboxd("doctor")
    assert result.exit_code == 0, result.stdout
    assert "ok    appendfsync: always" in result.stdout
    assert "secret" not in result.stdout


def test_doctor_fails_with_the_command_that_helps(filled: str) -> None:
    write(filled, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        result, as_json = inboxd("doctor"), inboxd("doctor", "--json")
    finally:
        write(filled, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "fail  maxmemory-policy: allkeys-lru: may throw inboxes away" in result.stdout
    assert "CONFIG SET maxmemory-policy noeviction" in result.stdout
    failed = [row for row in json.loads(as_json.stdout)["findings"] if row["level"] == "fail"]
    assert [row["check"] for row in failed] == ["maxmemory-policy"]


@pytest.mark.parametrize("command", (("inbox", "bob"), ("workers",), ("doctor",)))
def test_nothing_to_read_is_said_plainly(command: tuple[str, ...], tmp_path: Path) -> None:
    nothing = inboxd(*command, "--data-dir", str(tmp_path))
    assert nothing.exit_code == 3
    assert "No server was ever started" in nothing.stderr
    down = inboxd(*command, "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert down.exit_code == 3
    assert "does not answer" in down.stderr


def test_settings_that_make_no_sense_are_wrong_use() -> None:
    result = inboxd("workers", "--redis-url", "http://x")
    assert result.exit_code == 2
    assert "INBOXD_REDIS_URL" in result.stderr
