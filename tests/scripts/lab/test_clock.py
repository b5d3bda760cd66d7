"""A server's wall clock can be moved while it runs, and nothing else of it moves."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lab import clock
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE, eventually

HOUR = 3_600_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if why := clock.obstacle():
        pytest.skip(why)
    server = RedisServer(tmp_path, clocked=True)
    server.start()
    yield server
    server.stop()


def offset(server: RedisServer) -> float:
    """Ms by which the server's clock is ahead of this machine's, to about a second."""
    seconds, micros = server.do("TIME")
    return float(seconds + micros / 1e6 - time.time()) * 1000


@pytest.mark.parametrize("wanted", (0, HOUR, -HOUR, -1500))
def test_the_clock_is_where_it_was_put(server: RedisServer, wanted: int) -> None:
    server.set_clock(wanted)
    assert abs(offset(server) - wanted) < PATIENCE * 50
    id = server.do("XADD", "stream", "*", "a", "b")
    assert abs(int(id.partition("-")[0]) - time.time() * 1000 - wanted) < PATIENCE * 50
    script = server.do("EVAL", "return redis.call('TIME')[1]", 0)
    assert abs(int(script) - time.time() - wanted / 1000) < PATIENCE / 10


def test_it_serves_on_expires_keys_and_outlives_steps_and_a_kill(server: RedisServer) -> None:
    server.do("SET", "soon", "gone", "PX", 60_000)
    for step in (-HOUR, HOUR, 0, HOUR):
        server.set_clock(step)
        assert server.do("PING")
    eventually(lambda: not server.do("EXISTS", "soon"), "a minute has passed for it")
    server.kill()
    server.start()
    assert offset(server) > HOUR / 2
