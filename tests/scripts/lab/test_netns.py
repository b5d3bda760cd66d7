"""Packets really get lost between this machine and a server in a namespace, and nothing is left behind."""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from scripts.lab import netns
from scripts.lab.netns import Namespace
from scripts.lab.redis_server import RedisServer
from scripts.lab.timing import PATIENCE, eventually
from tests.support import network

obstacle = functools.cache(netns.obstacle)


@pytest.fixture(scope="module", autouse=True)
def changing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with network.held(tmp_path_factory, changing=True):
        yield


@pytest.fixture
def space() -> Iterator[Namespace]:
    if why := obstacle():
        pytest.skip(why)
    with Namespace() as space:
        yield space


@pytest.fixture
def server(space: Namespace, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, namespace=space)
    server.start()
    yield server
    server.stop()


def names() -> str:
    return subprocess.run(("ip", "netns", "list"), check=True, capture_output=True, text=True).stdout


def test_a_server_inside_is_reached_from_here(server: RedisServer) -> None:
    with redis.Redis.from_url(server.service_url, socket_timeout=PATIENCE) as client:
        assert client.set("there", "yes")
    assert server.do("GET", "there") == "yes"


def test_lost_packets_slow_it_down_and_lose_nothing(space: Namespace, server: RedisServer) -> None:
    space.lose(20)
    with redis.Redis.from_url(server.service_url, socket_timeout=PATIENCE) as client:
        n = 0
        while not space.lost or n < 10:
            n = int(client.incr("count"))
    assert server.do("GET", "count") == str(n)
    space.heal()
    assert space.lost == 0


def test_a_cut_cable_is_silence_and_the_way_behind_it_stays(space: Namespace, server: RedisServer) -> None:
    with redis.Redis.from_url(server.service_url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        space.lose(100)
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
    assert space.lost
    assert server.do("PING")
    space.heal()
    with redis.Redis.from_url(server.service_url, socket_timeout=PATIENCE) as client:
        assert client.ping()


def test_only_answers_may_be_lost(space: Namespace, server: RedisServer) -> None:
    with redis.Redis.from_url(server.service_url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        space.lose(100, to_it=False)
        with pytest.raises(redis.exceptions.TimeoutError):
            client.set("done", "yes")
    assert server.do("GET", "done") == "yes"


def test_closing_it_ends_what_runs_inside_and_leaves_nothing(space: Namespace) -> None:
    inside = subprocess.Popen(space.wrapped(["sleep", "1000"]))
    eventually(lambda: str(inside.pid) in netns._ip("netns", "pids", space.name), "it runs inside")
    space.close()
    assert inside.wait(PATIENCE) == -9
    assert space.name not in names()
    assert space._near not in netns._ip("link")


def test_what_a_crashed_run_has_left_is_swept_by_the_next(space: Namespace) -> None:
    made = "import os; from scripts.lab import netns; s = netns.Namespace(); s.open(); print(s.name, s._near); "
    crash = [sys.executable, "-uc", f"{made} os.kill(os.getpid(), 9)"]
    told = subprocess.run(crash, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    left, wire = told.stdout.split()
    assert left in names()
    netns.sweep()
    assert left not in names()
    assert space.name in names()
    eventually(lambda: wire not in netns._ip("link"), "the kernel has taken its wire away")
