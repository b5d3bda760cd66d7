"""Centrifugo as the benchmark drives it: our end of its API; the library it is made of, where a server is built."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from scripts.bench.http_client import split_answer
from scripts.bench.peers import centrifugo
from scripts.bench.peers.centrifugo import Centrifuge, Centrifugo
from scripts.bench.peers.centrifugo_client import BATCH, Publisher
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.seen import Seen, neighbour

TEXT = "x" * 200


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centrifuge]:
    if not centrifugo._built().exists():
        pytest.skip("the server on the Centrifuge library is not built: `python -m scripts.bench.peers` builds it")
    peer = Centrifuge()
    try:
        peer.start(tmp_path_factory.mktemp("centrifuge"))
        yield peer
    finally:
        peer.stop()


@pytest.mark.parametrize("same", (True, False))
async def test_a_message_is_accepted_and_arrives_also_from_the_other_node(peer: Centrifuge, same: bool) -> None:
    sender = peer.client("sender")
    recipient = neighbour(peer.client, sender, same=same)
    sent, got = Seen(sender), Seen(recipient)
    await asyncio.gather(sender.connect(), recipient.connect())
    ids = [f"id-{number}" for number in range(BATCH + 8)]
    for id in ids:
        sender.send(recipient._user, id, TEXT)
    await asyncio.gather(sent.wait_for(accepted=len(ids)), got.wait_for(messages=len(ids)))
    assert sent.accepted == ids
    assert got.messages == [(id, TEXT) for id in ids]
    await asyncio.gather(sender.close(), recipient.close())


async def test_who_comes_back_gets_what_was_sent_meanwhile_also_in_another_process_of_the_load(
    peer: Centrifuge,
) -> None:
    sender, recipient = peer.client("sender"), peer.client("away")
    sent, got = Seen(sender), Seen(recipient)
    await asyncio.gather(sender.connect(), recipient.connect())
    sender.send("away", "at-once", TEXT)
    await got.wait_for(messages=1)
    await recipient.close()
    ids = [f"id-{number}" for number in range(50)]
    for id in ids:
        sender.send("away", id, TEXT)
    await sent.wait_for(accepted=1 + len(ids))
    returned = pickle.loads(pickle.dumps(peer.client("away")))  # noqa: S301 - as a load process gets it
    again = Seen(returned)
    await returned.connect()
    await again.wait_for(messages=len(ids))
    assert [id for id, _ in again.messages] == ids
    await asyncio.gather(sender.close(), returned.close())


async def test_another_users_channel_and_another_secret_are_refused(peer: Centrifuge) -> None:
    client = peer.client("somebody")
    client._user = "somebody-else"
    with pytest.raises(ConnectionError, match="permission denied"):
        await client.connect()
    forged = Centrifuge()
    forged._ports, forged._memory = peer._ports, peer._memory
    with pytest.raises(ConnectionError):
        await forged.client("somebody").connect()


async def test_who_was_on_a_killed_node_is_told_and_can_connect_again(peer: Centrifuge) -> None:
    clients = [peer.client(f"user-{number}") for number in range(8)]
    seen = [Seen(client) for client in clients]
    await asyncio.gather(*(client.connect() for client in clients))
    on_it = [number for number, client in enumerate(clients) if client._port == peer._ports[0]]
    assert 0 < len(on_it) < len(clients)
    first = clients[on_it[0]]
    first.send(first._user, "before", TEXT)
    await seen[on_it[0]].wait_for(messages=1, accepted=1)
    await asyncio.to_thread(peer.kill_one)
    await asyncio.gather(*(seen[number].wait_for(lost=1) for number in on_it))
    assert sum(one.lost for one in seen) == len(on_it)
    await first.connect()
    first.send(first._user, "after", TEXT)
    await seen[on_it[0]].wait_for(messages=2, accepted=2)
    assert [id for id, _ in seen[on_it[0]].messages] == ["before", "after"]
    await asyncio.gather(*(client.close() for client in clients))


def test_it_says_of_what_it_consists(peer: Centrifuge) -> None:
    assert {"Centrifuge", "Go"} <= set(peer.versions)
    assert all(version[0].isdigit() for version in peer.versions.values())
    assert len(peer.pids) == 3


@asynccontextmanager
async def api(refused: str, began: asyncio.Event, go_on: asyncio.Event) -> AsyncIterator[tuple[int, list[list[str]]]]:
    """An API that notes the ids of each batch, answers them once `go_on` is set, and has an error for one id."""
    batches: list[list[str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while chunk := await reader.read(65536):
            split = split_answer(b"HTTP/1.1 200 OK\r\n" + (data + chunk).partition(b"\r\n")[2])
            if split is None:
                data += chunk
                continue
            data = b""
            commands = orjson.loads(split[0].body)["commands"]
            ids = [command["publish"]["data"]["id"] for command in commands]
            batches.append(ids)
            began.set()
            await go_on.wait()
            body = orjson.dumps({"replies": [{"error": {"code": 100}} if id == refused else {} for id in ids]})
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            await writer.drain()
            writer.write(body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], batches


async def test_what_is_sent_while_a_batch_is_under_way_goes_with_the_next_and_an_error_is_no_acceptance() -> None:
    began, go_on, done, accepted = asyncio.Event(), asyncio.Event(), asyncio.Event(), list[str]()

    def note(id: str) -> None:
        accepted.append(id)
        if id == "last":
            done.set()

    async with api("b", began, go_on) as (port, batches), asyncio.timeout(PATIENCE):
        lost = asyncio.Event()
        publisher = Publisher(port, "key", note, lost.set)
        publisher.publish("you", "a", TEXT)
        publisher.publish("you", "b", TEXT)
        await began.wait()
        publisher.publish("you", "c", TEXT)
        publisher.publish("you", "last", TEXT)
        go_on.set()
        await done.wait()
        publisher.close()
        await lost.wait()
    assert batches == [["a", "b"], ["c", "last"]]
    assert accepted == ["a", "c", "last"]


def test_where_neither_it_nor_go_is_on_the_path_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(centrifugo, "CACHE", tmp_path)
    monkeypatch.setattr(centrifugo, "_has_go", centrifugo._has_go.__wrapped__)
    monkeypatch.setattr(centrifugo, "_is_to_be_had", centrifugo._is_to_be_had.__wrapped__)
    assert "put it on the PATH" in Centrifugo().missing()
    assert "no Go 1.26 or newer" in Centrifuge().missing()


def test_a_server_on_the_path_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "centrifugo"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    peer = Centrifugo()
    assert peer.missing() == ""
    child = peer._node(tmp_path / "node", 1234, "127.0.0.1:6379")
    assert child.command[0] == str(program)
    settings = orjson.loads(Path(child.command[-1]).read_bytes())
    assert settings["http_server"]["port"] == 1234
    assert settings["channel"]["namespaces"][0]["history_size"] == peer.keeps
