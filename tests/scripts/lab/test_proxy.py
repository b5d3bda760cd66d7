"""The proxy passes what it should and loses what it is told to lose."""

from collections.abc import Iterator

import pytest
import redis

from scripts.lab.proxy import LostControls, LostHints, RedisProxy, commands, prepare
from scripts.lab.redis_server import RedisServer
from service.store import scripts


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[RedisProxy]:
    proxy = RedisProxy(redis_server.port)
    proxy.start()
    yield proxy
    proxy.stop()


def announce(client: redis.Redis, field: str, value: str) -> object:
    """As the service does."""
    return client.eval(scripts.HINT.text, 1, "chat:worker:{w-1}", 5000, field, value)


def test_commands_are_taken_off_a_buffer_when_they_are_whole() -> None:
    buffer = bytearray(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r")
    assert commands(buffer) == [b"*1\r\n$4\r\nPING\r\n"]
    assert buffer == b"*2\r\n$3\r\nGET\r\n$1\r"


def test_hints_vanish_while_canaries_pass(proxy: RedisProxy) -> None:
    lost = proxy.filter = LostHints()
    with redis.Redis.from_url(proxy.url) as client:
        client.xadd("chat:worker:{w-1}", {"!canary": 1})
        prepare(client, ["w-1"])
        assert announce(client, "bob/0-0/1-1", "")
        assert client.xlen("chat:worker:{w-1}") == 1
        assert client.xlen("chat:nobody:{w-1}") == 2
    assert lost.count == 1


def test_controls_of_one_name_vanish_and_all_else_passes(proxy: RedisProxy) -> None:
    lost = proxy.filter = LostControls("!presence")
    with redis.Redis.from_url(proxy.url) as client:
        client.xadd("chat:worker:{w-1}", {"!canary": 1})
        prepare(client, ["w-1"])
        for field in ("bob/0-0/1-1", "!acked", "!presence"):
            announce(client, field, "bob/on")
        assert client.xlen("chat:worker:{w-1}") == 3
    assert lost.count == 1


def test_a_lost_answer_does_not_undo_the_command(proxy: RedisProxy) -> None:
    with redis.Redis.from_url(proxy.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        proxy.lose_answers = True
        with pytest.raises(redis.exceptions.RedisError):
            client.set("done", "yes")
        proxy.lose_answers = False
        assert proxy.lost_bytes
    with redis.Redis.from_url(proxy.url) as client:
        assert client.get("done") == b"yes"


def test_a_cut_drops_connections_and_refusing_keeps_them_out(proxy: RedisProxy) -> None:
    with redis.Redis.from_url(proxy.url, retry=None) as client:
        client.ping()
        proxy.refusing = True
        assert proxy.cut() >= 1
        with pytest.raises(redis.exceptions.ConnectionError):
            client.ping()
        proxy.refusing = False
        client.ping()
