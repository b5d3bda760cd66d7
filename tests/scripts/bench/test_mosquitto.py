"""mosquitto as the benchmark drives it: the packets, and the program where it is installed."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.peers.mosquitto import Mosquitto, packet, packets
from scripts.bench.peers.traffic import TEXT
from scripts.lab.timing import PATIENCE


@given(st.lists(st.sampled_from((0, 1, 127, 128, 300)), max_size=4), st.integers(1, 400))
def test_packets_come_out_whole_however_the_bytes_were_cut(sizes: list[int], cut: int) -> None:
    bodies = [bytes((number,)) * size for number, size in enumerate(sizes)]
    stream = b"".join(packet(3, 2, body) for body in bodies)
    found, rest = [], b""
    for at in range(0, len(stream), cut):
        whole, rest = packets(rest + stream[at : at + cut])
        found += whole
    assert rest == b""
    assert found == [(0x32, body) for body in bodies]


def test_a_length_takes_as_many_bytes_as_it_needs() -> None:
    assert [len(packet(3, 0, bytes(size))) - size for size in (0, 127, 128, 16383, 16384)] == [2, 2, 3, 3, 4]
    assert packets(packet(3, 0, bytes(16384))) == ([(0x30, bytes(16384))], b"")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    peer = Mosquitto()
    if why := peer.missing():
        pytest.skip(why)
    try:
        peer.start(tmp_path_factory.mktemp("mosquitto"))
        yield peer
    finally:
        peer.stop()


async def test_what_is_sent_to_who_is_away_is_confirmed_and_waits(peer: Mosquitto) -> None:
    bob, alice = peer.client("bob"), peer.client("alice")
    accepted: asyncio.Queue[str] = asyncio.Queue()
    arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    alice.on_accepted = accepted.put_nowait
    bob.on_message = lambda *message: arrived.put_nowait(message)
    await bob.connect()
    await bob.close()
    await alice.connect()
    async with asyncio.timeout(PATIENCE):
        for number in range(3):
            alice.send("bob", f"m-{number}", TEXT)
            assert await accepted.get() == f"m-{number}"
        assert arrived.empty()
        await bob.connect()
        assert [await arrived.get() for _ in range(3)] == [(f"m-{number}", TEXT) for number in range(3)]
    await alice.close()
    await bob.close()


async def test_who_is_cut_off_is_told_and_may_connect_again(peer: Mosquitto) -> None:
    carol = peer.client("carol")
    lost = asyncio.Event()
    carol.on_lost = lost.set
    await carol.connect()
    await asyncio.to_thread(peer.kill_one)
    async with asyncio.timeout(PATIENCE):
        await lost.wait()
        await carol.connect()
    assert len(peer.pids) == 1
    await carol.close()


def test_its_version_is_known(peer: Mosquitto) -> None:
    assert peer.versions["mosquitto"].startswith("2.")
