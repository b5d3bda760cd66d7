"""Socket.IO as the benchmark drives it: real servers of Node.js."""

import asyncio
import pickle
from collections.abc import Iterator

import pytest

from scripts.bench.peers.socketio import SocketIO
from tests.scripts.bench.seen import Seen, neighbour

TEXT = "x" * 200


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketIO]:
    peer = SocketIO()
    if why := peer.missing():
        pytest.skip(why)
    try:
        peer.start(tmp_path_factory.mktemp("socketio"))
        yield peer
    finally:
        peer.stop()


@pytest.mark.parametrize("same", (True, False))
async def test_a_message_is_accepted_and_arrives_also_from_the_other_process(peer: SocketIO, same: bool) -> None:
    sender = peer.client("sender")
    recipient = neighbour(peer.client, sender, same=same)
    sent, got = Seen(sender), Seen(recipient)
    await asyncio.gather(sender.connect(), recipient.connect())
    for number in range(3):
        sender.send(recipient._user, f"id-{number}", TEXT)
    await asyncio.gather(sent.wait_for(accepted=3), got.wait_for(messages=3))
    assert sent.accepted == ["id-0", "id-1", "id-2"]
    assert got.messages == [("id-0", TEXT), ("id-1", TEXT), ("id-2", TEXT)]
    await asyncio.gather(sender.close(), recipient.close())


async def test_who_comes_back_gets_what_was_sent_meanwhile_also_in_another_process_of_the_load(peer: SocketIO) -> None:
    sender, recipient = peer.client("sender"), peer.client("away")
    sent = Seen(sender)
    await asyncio.gather(sender.connect(), recipient.connect())
    await recipient.close()
    for number in range(50):
        sender.send("away", f"id-{number}", TEXT)
    await sent.wait_for(accepted=50)
    returned = pickle.loads(pickle.dumps(peer.client("away")))  # noqa: S301 - as a load process gets it
    got = Seen(returned)
    await returned.connect()
    await got.wait_for(messages=50)
    assert [id for id, _ in got.messages] == [f"id-{number}" for number in range(50)]
    await asyncio.gather(sender.close(), returned.close())


async def test_another_users_token_is_refused(peer: SocketIO) -> None:
    client = peer.client("somebody")
    client._user = "somebody-else"
    with pytest.raises(ConnectionError, match="not authorized"):
        await client.connect()
    await client.close()


async def test_who_was_on_a_killed_process_is_told_and_can_connect_again(peer: SocketIO) -> None:
    clients = [peer.client(f"user-{number}") for number in range(8)]
    seen = [Seen(client) for client in clients]
    await asyncio.gather(*(client.connect() for client in clients))
    before = peer.pids
    await asyncio.to_thread(peer.kill_one)
    on_it = [number for number, client in enumerate(clients) if client._port == peer._ports[0]]
    assert 0 < len(on_it) < len(clients)
    await asyncio.gather(*(seen[number].wait_for(lost=1) for number in on_it))
    assert sum(one.lost for one in seen) == len(on_it)
    assert len(set(peer.pids) & set(before)) == len(before) - 1
    first = clients[on_it[0]]
    await first.connect()
    first.send(first._user, "to-myself", TEXT)
    await seen[on_it[0]].wait_for(messages=1, accepted=1)
    await asyncio.gather(*(client.close() for client in clients))


def test_it_says_of_what_it_consists(peer: SocketIO) -> None:
    assert {"Socket.IO", "redis-streams-adapter", "Node.js"} <= set(peer.versions)
    assert all(version[0].isdigit() for version in peer.versions.values())
    assert len(peer.pids) == 3
