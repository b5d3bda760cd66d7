"""The embedded server, for real: its settings, its data across deaths, and how it fails."""

import asyncio
import signal
import socket
from pathlib import Path

import psutil
import pytest
import redis.asyncio

from scripts.lab.processes import is_alive
from scripts.lab.timing import PATIENCE
from service import embedded
from service.core.errors import Refused
from service.data_dir import MANIFEST, DataDir
from service.embedded import EmbeddedServer, ask_info, embedded_server
from service.server_binary import ServerBinary, find_binary


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def client(server: EmbeddedServer) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url, decode_responses=True)


def pid(server: EmbeddedServer) -> int:
    assert server.process is not None
    return server.process.pid


async def heard(said: asyncio.Queue[str], words: str) -> str:
    """The next line with these words; lines before it are passed over."""
    async with asyncio.timeout(PATIENCE):
        while words not in (line := await said.get()):
            pass
    return line


def ignore(line: str) -> None:
    """Hears what is said."""


async def test_its_settings_keep_the_promise(data: Path) -> None:
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        settings = await redis_client.config_get()
        for name, value in embedded.SETTINGS.items():
            if name != "daemonize":
                assert settings[name] == value
        assert settings["port"] == str(server.port)


async def test_it_is_started_without_the_services_secrets_and_with_room_for_small_strings(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INBOXD_JWT_SECRET", "nobody's business")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    async with embedded_server(data, ignore) as server:
        environment = psutil.Process(pid(server)).environ()
    assert environment["GLIBC_TUNABLES"] == embedded.MALLOC
    assert not [name for name in environment if name.startswith("INBOXD_")]


async def test_it_listens_on_the_loopback_alone(data: Path) -> None:
    async with embedded_server(data, ignore) as server:
        connections = psutil.Process(pid(server)).net_connections()
        assert {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


async def test_it_has_ended_when_the_context_has(data: Path) -> None:
    async with embedded_server(data, ignore) as server:
        assert is_alive(pid(server))
    assert not is_alive(pid(server))
    assert await server.wait() == 0, "it ended by itself, on SIGTERM"


async def test_what_was_answered_survives_its_kill_again_and_again(data: Path) -> None:
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        port = server.port
        for n in range(5):
            assert await redis_client.rpush("kept", n) == n + 1
            server.kill()
            assert await server.wait() == -signal.SIGKILL
            await server.start()
            await redis_client.connection_pool.disconnect()
        assert await redis_client.lrange("kept", 0, -1) == ["0", "1", "2", "3", "4"]
        assert server.port == port


async def test_its_keeper_starts_it_again_and_stops_it_in_the_end(data: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with embedded_server(data, said.put_nowait) as server:
        first = pid(server)
        keeper = asyncio.create_task(server.keep())
        server.kill()
        await heard(said, "SIGKILL")
        await heard(said, "the embedded server is back")
        assert pid(server) != first
        keeper.cancel()
        await asyncio.wait((keeper,))
        assert keeper.cancelled()
        assert not is_alive(pid(server))


async def test_its_keeper_tries_on_when_a_start_fails(data: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with embedded_server(data, said.put_nowait) as server:
        keeper = asyncio.create_task(server.keep())
        server.kill()
        await server.wait()
        with socket.create_server(("127.0.0.1", server.port)):
            line = await heard(said, "did not start")
        assert "Address already in use" in line, "the log's last lines are shown"
        await heard(said, "the embedded server is back")
        keeper.cancel()
        await asyncio.wait((keeper,))


async def test_an_aof_that_is_damaged_in_its_middle_shows_the_end_of_the_log(data: Path) -> None:
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        for n in range(100):
            await redis_client.rpush("kept", n)
    increment = next((data / MANIFEST).parent.glob("*.incr.aof"))
    content = bytearray(increment.read_bytes())
    content[200:300] = b"?" * 100
    increment.write_bytes(content)
    with pytest.raises(Refused) as caught:
        async with embedded_server(data, ignore):
            pass
    assert "did not start" in str(caught.value)
    assert "Bad file format" in str(caught.value)
    assert str(data / "server.log") in str(caught.value)


async def test_an_aof_that_was_cut_off_at_its_end_is_read_up_to_there(data: Path) -> None:
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        await redis_client.rpush("kept", "whole")
        await redis_client.rpush("kept", "half")
    increment = next((data / MANIFEST).parent.glob("*.incr.aof"))
    increment.write_bytes(increment.read_bytes()[:-3])
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        assert await redis_client.lrange("kept", 0, -1) == ["whole"]


async def test_it_tells_how_far_it_has_loaded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with embedded_server(data, ignore) as server, client(server) as redis_client:
        pipeline = redis_client.pipeline(transaction=False)
        for n in range(4096):
            _ = pipeline.rpush("kept", n)
        await pipeline.execute()
    monkeypatch.setitem(embedded.SETTINGS, "key-load-delay", "100")  # microseconds a command
    said: list[str] = []
    async with embedded_server(data, said.append) as server, client(server) as redis_client:
        assert await redis_client.llen("kept") == 4096
    assert any("loads its data: " in line and line.endswith("%") for line in said)


async def test_somebody_else_on_its_port_is_not_taken_for_it(data: Path, tmp_path: Path) -> None:
    binary = find_binary()
    async with embedded_server(tmp_path / "other", ignore) as other:
        with await DataDir.open(data, binary, ignore) as held:
            held.stamp = other.data.stamp
            with pytest.raises(Refused, match=r"did not start|Something else answers"):
                await EmbeddedServer(held, binary, ignore).start()
        assert is_alive(pid(other))


async def test_a_program_that_is_no_server_is_told_apart(data: Path) -> None:
    binary = ServerBinary(Path("/bin/false"), "valkey", "9.0.0")
    with await DataDir.open(data, binary, ignore) as held:
        with pytest.raises(Refused, match="exit code 1"):
            await EmbeddedServer(held, binary, ignore).start()
        assert not held.stamp.started


async def test_a_start_that_is_cancelled_leaves_no_process(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(port: int) -> dict[str, str]:
        polled.set()
        return {}

    polled = asyncio.Event()
    monkeypatch.setattr(embedded, "ask_info", never)
    binary = find_binary()
    with await DataDir.open(data, binary, ignore) as held:
        server = EmbeddedServer(held, binary, ignore)
        start = asyncio.create_task(server.start())
        await polled.wait()
        start.cancel()
        await asyncio.wait((start,))
        assert start.cancelled()
        assert not is_alive(pid(server))


async def test_nobody_on_a_port_has_no_info(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert await ask_info(bound.getsockname()[1]) == {}
