"""The loads against the service itself, with tokens: small, and what they say they saw is there."""

from collections.abc import Iterator

import pytest
import redis

from scripts.bench.fill import Fill
from scripts.bench.group_load import GroupLoad
from scripts.bench.http_load import HttpSends
from scripts.bench.idle import WARM, IdleLoad
from scripts.bench.pairs import PairsLoad
from scripts.bench.plain import plain
from scripts.bench.replay import Reader, ReplayLoad
from scripts.bench.server import Service, started
from scripts.bench.setups import Setup
from scripts.bench.ws_client import Endpoint, Manners
from scripts.bench.ws_frames import TEXT
from scripts.bench.ws_load import WsSends
from tests.scripts.test_bench import OpenGate, server_frame

INBOX = "chat:inbox:{%s}"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started(Setup(workers=1, own_copy=False), None) as one:
        yield one


@pytest.fixture
def server(service: Service) -> Iterator["redis.Redis"]:
    client = redis.Redis.from_url(service.redis_urls[0], decode_responses=True)
    yield client
    client.close()


async def test_inboxes_are_filled_evenly_and_then_sent_to(service: Service, server: "redis.Redis") -> None:
    await Fill(service.endpoint, "full", inboxes=4, each=3).run(OpenGate())
    assert [server.xlen(INBOX % f"full-{n}") for n in range(4)] == [3, 3, 3, 3]
    seen = await WsSends(service.endpoint, "f", 0.1, 0.05, Manners(), 2, to="full", recipients=4).run(OpenGate())
    assert not seen.faults
    assert seen.total == seen.appends > 0  # no own copies
    assert sum(server.xlen(INBOX % f"full-{n}") for n in range(4)) > 12 + seen.total


async def test_inboxes_that_refuse_are_not_passed_over(service: Service) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        await Fill(service.endpoint, "no name", inboxes=1).run(OpenGate())


async def test_a_group_gets_everything_and_the_first_messages_are_timed(
    service: Service, server: "redis.Redis"
) -> None:
    seen = await GroupLoad(service.endpoint, "team", 0.1, 0.05, Manners(), members=6, timed=3).run(OpenGate())
    assert not seen.faults
    assert len(seen.samples) == 3 * 6
    assert seen.appends == 6 * seen.total > 0
    lengths = {server.xlen(INBOX % f"team-{n}") for n in range(6)}
    assert len(lengths) == 1


async def test_every_device_of_a_recipient_gets_every_message(service: Service) -> None:
    load = PairsLoad(service.endpoint, "dev", 0.1, 0.05, Manners(), pairs=2, in_flight=8, devices=3)
    seen = await load.run(OpenGate())
    assert not seen.faults
    assert seen.done <= seen.total
    assert seen.total > 0


async def test_a_backlog_is_replayed_to_its_last_entry(service: Service) -> None:
    seen = await ReplayLoad(service.endpoint, "late", replays=2, backlog=1500).run(OpenGate())
    assert not seen.faults
    assert len(seen.samples) == 2


async def test_connections_stand_idle_between_two_gates(service: Service) -> None:
    gate = OpenGate()
    seen = await IdleLoad(service.endpoint, "quiet", connections=WARM // 10).run(gate)
    assert gate.waited == 2
    assert not seen.faults


async def test_the_plain_route_appends_what_it_is_sent() -> None:
    with plain(None) as service, redis.Redis.from_url(service.redis_urls[0], decode_responses=True) as server:
        seen = await HttpSends(service.endpoint, "p", 0.1, 0.05, 2).run(OpenGate())
        assert not seen.faults
        assert sum(server.xlen(key) for key in server.scan_iter("inbox:*")) >= seen.total > 0


async def test_a_reader_judges_a_frame_by_its_first_and_last_entry() -> None:
    def frame(*numbers: int) -> bytes:
        lines = (b'{"type":"message","id":"u-%d","cursor":"1-%d","body":1}' % (n, n) for n in numbers)
        return server_frame(b"\n".join(lines), TEXT)

    reader = Reader(Endpoint("h", 1), "u", backlog=9)
    for numbers in ((1, 2, 3), (4,), (5, 6)):
        _, payload = reader._decoder.feed(frame(*numbers))[0]
        reader.text(payload)
    assert (reader.entries, reader.holes) == (6, 0)
    reader.text(reader._decoder.feed(frame(7, 9))[0].payload)
    assert reader.holes == 1
