import json
from pathlib import Path

import pytest

from scripts.lab.ports import free_port
from scripts.lab.redis_server import RedisServer
from service.config import Settings
from service.core.errors import Unavailable
from service.data_dir import STAMP
from service.ops.reach import NothingRuns, http_url, reached, redis_cli, server_url, settings_of, socket_url


def stamped(folder: Path, port: int) -> Path:
    (folder / STAMP).write_text(json.dumps({"flavour": "valkey", "version": "9.1.2", "port": port}))
    return folder


def test_a_url_wins_over_the_data_directory(tmp_path: Path) -> None:
    stamped(tmp_path, 7001)
    assert server_url(Settings(redis_url="redis://h:1/0", data_dir=tmp_path)) == "redis://h:1/0"
    assert server_url(Settings(data_dir=tmp_path)) == "redis://127.0.0.1:7001/0"


def test_a_directory_in_which_nothing_was_started_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(NothingRuns, match=r"No server was ever started in .*inboxd serve"):
        server_url(Settings(data_dir=tmp_path))


def test_a_stamp_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / STAMP).write_text("{}")
    with pytest.raises(NothingRuns, match="cannot be read"):
        server_url(Settings(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("url", "line"),
    (
        ("redis://127.0.0.1:7001/0", "redis-cli -p 7001"),
        ("redis://", "redis-cli -p 6379"),
        ("redis://:secret@db:6380/2", "redis-cli -h db -p 6380 -n 2"),
        ("rediss://chat:secret@db/0", "redis-cli -h db -p 6379 --user chat --tls"),
        ("unix:///run/redis.sock", "redis-cli -s /run/redis.sock"),
    ),
)
def test_the_redis_cli_line_reaches_the_same_server_and_shows_no_password(url: str, line: str) -> None:
    assert redis_cli(url) == line


async def test_the_embedded_server_is_found_by_its_stamp(redis_server: RedisServer, redis_url: str) -> None:
    folder = stamped(redis_server.folder, redis_server.port)
    async with reached(Settings(data_dir=folder)) as (client, url):
        assert await client.run("PING")
    assert url == redis_url


async def test_another_server_on_the_port_is_not_taken_for_ours(redis_server: RedisServer, tmp_path: Path) -> None:
    stamped(tmp_path, redis_server.port)
    with pytest.raises(NothingRuns, match=r"another one answers.*inboxd serve"):
        async with reached(Settings(data_dir=tmp_path)):
            pass


async def test_a_server_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    port = free_port()
    stamped(tmp_path, port)
    with pytest.raises(NothingRuns, match=rf"does not answer.*redis-cli -p {port} PING"):
        async with reached(Settings(data_dir=tmp_path)):
            pass


async def test_a_failure_on_the_way_does_not_show_the_password() -> None:
    settings = Settings(redis_url=f"redis://:secret@127.0.0.1:{free_port()}/0")
    with pytest.raises(NothingRuns) as caught:
        async with reached(settings) as (client, _):
            await client.run("PING")
    assert isinstance(caught.value.__cause__, Unavailable)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "given", "base", "socket"),
    (
        ("127.0.0.1", None, "http://127.0.0.1:8000", "ws://127.0.0.1:8000/v1/ws"),
        ("::1", None, "http://[::1]:8000", "ws://[::1]:8000/v1/ws"),
        ("::1", "https://chat.example/", "https://chat.example", "wss://chat.example/v1/ws"),
    ),
)
def test_the_service_is_where_the_settings_or_the_option_say(
    host: str, given: str | None, base: str, socket: str
) -> None:
    assert http_url(Settings(host=host, port=8000), given) == base
    assert socket_url(base) == socket


def test_options_stand_in_for_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INBOXD_PREFIX", "env:")
    monkeypatch.setenv("INBOXD_DATA_DIR", "elsewhere")
    settings = settings_of(data_dir=tmp_path)
    assert (settings.prefix, settings.data_dir) == ("env:", tmp_path)
