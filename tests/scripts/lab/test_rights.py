"""The least rights are those of the operators' page: enough, and none too many."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from scripts.lab import rights
from scripts.lab.redis_server import RedisServer
from scripts.lab.rights import Rights
from service.config import Settings
from service.store.preflight import preflight

SOURCES = Path(__file__).parents[3] / "service"
TEXT = "\n".join(path.read_text() for kind in ("*.py", "*.lua") for path in SOURCES.rglob(kind))
UNNAMED = {"+client|setname", "+client|setinfo"}
"""Sent by the client library."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Its one user besides the admin may what the page says."""
    server = RedisServer(tmp_path_factory.mktemp("rights"), rights=Rights())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def user(server: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.service_url, retry=None) as client:
        yield client


@pytest.mark.parametrize("word", sorted({word for word in Rights().words.split() if word[0] == "+"} - set(UNNAMED)))
def test_every_command_that_is_granted_is_one_the_code_sends(word: str) -> None:
    for part in word.removeprefix("+").upper().split("|"):
        assert re.search(rf"[\"']{part}[\"']", TEXT), f"nothing sends {word}"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\b(?:call|try)\('([A-Z]+)'", TEXT))))
def test_every_command_of_a_script_is_granted(command: str) -> None:
    assert f"+{command.lower()}" in Rights().words.split()


def test_its_own_keys_are_open_to_it(user: Any) -> None:
    assert user.hset("chat:state:{bob}", "last", "0-0") == 1


def test_other_keys_and_commands_are_refused_and_the_refusals_seen(server: RedisServer, user: Any) -> None:
    for command in (("HGET", "other", "x"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "SET", "appendfsync", "no")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command)
    assert "inboxd: key other" in server.refusals()
    assert "inboxd: command flushall" in server.refusals()


def test_a_script_may_do_no_more_than_its_caller(user: Any) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match="permission"):
        user.eval("return redis.call('DEL', KEYS[1])", 1, "chat:state:{bob}")


async def test_who_may_not_read_the_settings_gets_no_word_of_the_disk(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, rights=Rights().without("+config|get"))
    server.start()
    try:
        level = await preflight(Settings(redis_url=server.service_url))
        assert getattr(level, "name", level) == "appended"
        assert server.refusals() == ["inboxd: command config|get"]
    finally:
        server.stop()


def test_the_line_is_put_together_from_the_page() -> None:
    lines = ("user inboxd on >pw ~chat:* \\", "  +get", "```", "```", "+cluster|slots +asking")
    page = "\n".join(("# A", rights.HEADING, "```", *lines, "```", "## B", "user inboxd on >other"))
    assert rights.line(page) == "user inboxd on >pw ~chat:* +get +cluster|slots +asking"
    assert Rights(rights.line(page)).login == "inboxd:pw@"


def test_the_page_says_what_older_servers_do_not_know() -> None:
    text = rights.section(rights.PAGE.read_text(encoding="utf-8"))
    [older] = [line for line in text.splitlines() if "older than 7.2" in line]
    assert tuple(re.findall(r"`(\+[^`]+)`", older)) == rights.SINCE_7_2
