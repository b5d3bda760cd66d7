from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.config import Settings
from service.core.errors import Unavailable
from service.ops import queries
from service.ops.queries import DeviceView, InboxView, OnlineView
from service.store.client import connect
from service.store.keys import Keys
from service.store.link import Link
from tests.ops import example

KEYS = Keys("chat:")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Link]:
    client = connect(Settings(redis_url=redis_url))
    yield client
    await client.aclose()


@pytest.fixture
async def filled(client: Link, redis_url: str) -> Link:
    await example.build(redis_url)
    return client


async def cursors(client: Link) -> list[str]:
    return [entry.cursor for entry in await queries.entries(client, KEYS, "bob", 10)]


async def test_workers_are_those_that_are_not_dead(filled: Link) -> None:
    (worker,) = await queries.workers(filled, KEYS)
    assert (worker.worker, worker.host, worker.pid, worker.version) == (
        example.ALIVE,
        "chat-1",
        4711,
        "0.1.0",
    )
    assert (worker.connections, worker.lag) == (1, 1)
    assert worker.heartbeat_age_ms is not None
    assert 0 <= worker.heartbeat_age_ms < 60_000
    assert await queries.retired(filled, KEYS) == [example.DEAD]


async def test_no_worker_is_an_empty_answer(client: Link) -> None:
    assert await queries.workers(client, KEYS) == []
    assert await queries.online(client, KEYS, [], 10) == []


async def test_a_worker_that_has_not_told_anything_yet_is_shown_all_the_same(client: Link) -> None:
    await client.run("HSET", KEYS.workers(), "w-1", 1)
    (worker,) = await queries.workers(client, KEYS)
    assert worker == queries.WorkerView("w-1", None, None, None, None, None, None)


@pytest.mark.parametrize("waiting", (0, 99, 100, 150))
async def test_lag_is_what_lies_beyond_the_position(client: Link, waiting: int) -> None:
    await client.run("HSET", KEYS.workers(), "w-1", 1)
    await client.run("XADD", KEYS.worker("w-1"), "1-1", "!canary", 1)
    await client.run("HSET", KEYS.about("w-1"), "position", "1-1")
    for number in range(waiting):
        await client.run("XADD", KEYS.worker("w-1"), f"2-{number + 1}", "bob/1-1/1-2", "")
    (worker,) = await queries.workers(client, KEYS)
    # From a page on the stream's length stands for it, with what is read and not yet trimmed.
    assert worker.lag == (waiting if waiting < queries.LAG_PAGE else waiting + 1)


@pytest.mark.parametrize(("canaries", "lag"), ((1, 0), (4, 3)))
async def test_one_canary_on_its_way_is_no_lag_but_several_are(client: Link, canaries: int, lag: int) -> None:
    await client.run("HSET", KEYS.workers(), "w-1", 1)
    await client.run("HSET", KEYS.about("w-1"), "position", "1-1")
    for number in range(canaries):
        await client.run("XADD", KEYS.worker("w-1"), f"2-{number + 1}", "!canary", number)
    (worker,) = await queries.workers(client, KEYS)
    assert worker.lag == lag


async def test_an_inbox_shows_its_state_and_its_devices(filled: Link) -> None:
    first, _, third, last = await cursors(filled)
    view = await queries.inbox(filled, KEYS, "bob")
    assert view is not None
    seen = [device.last_seen for device in view.devices]
    assert view == InboxView(
        "bob",
        last,
        first,
        4,
        1,
        [
            DeviceView("laptop", first, 3, seen[0], None),
            DeviceView("phone", third, 1, seen[1], example.ALIVE),
        ],
    )
    assert all(at is not None and at > 1_700_000_000_000 for at in seen)


async def test_an_inbox_that_no_device_has_seen_has_everything_pending(client: Link) -> None:
    await client.run("XADD", KEYS.inbox("carol"), "5-1", "kind", "message")
    await client.run("XADD", KEYS.inbox("carol"), "5-2", "kind", "message")
    await client.run("HSET", KEYS.state("carol"), "last", "5-2")
    assert await queries.inbox(client, KEYS, "carol") == InboxView("carol", "5-2", "0-0", 2, 2, [])


async def test_a_user_nobody_knows_has_no_inbox(filled: Link) -> None:
    assert await queries.inbox(filled, KEYS, "mallory") is None
    assert await queries.entries(filled, KEYS, "mallory", 10) == []


async def test_entries_are_the_newest_in_order_and_readable_whatever_they_hold(client: Link) -> None:
    for number in range(1, 6):
        await client.run("XADD", KEYS.inbox("bob"), f"5-{number}", "body", b"\xff%d" % number)
    entries = await queries.entries(client, KEYS, "bob", 2)
    assert [(entry.cursor, entry.fields) for entry in entries] == [
        ("5-4", {"body": "\\xff4"}),
        ("5-5", {"body": "\\xff5"}),
    ]


async def test_online_are_the_claims_that_presence_confirms(filled: Link) -> None:
    await filled.run("SADD", KEYS.claims(example.ALIVE), "bob/phone/s-older", "carol/web/s-9")
    assert await queries.online(filled, KEYS, [example.ALIVE, example.DEAD], 100) == [
        OnlineView("bob", "phone", example.ALIVE, "s-51", "7")
    ]


async def test_online_stops_at_its_limit(client: Link) -> None:
    for number in range(30):
        await client.run("SADD", KEYS.claims("w-1"), f"u{number}/web/s{number}")
        await client.run("HSET", KEYS.presence(f"u{number}"), "web", f"w-1/s{number}/0")
    assert len(await queries.online(client, KEYS, ["w-1"], 100)) == 30
    assert len(await queries.online(client, KEYS, ["w-1", "w-1"], 10)) == 10


async def test_questions_write_nothing(filled: Link, redis_url: str) -> None:
    async def written() -> Any:
        info = await filled.run("INFO", "persistence")
        return info["rdb_changes_since_last_save"]

    before = await written()
    names = [worker.worker for worker in await queries.workers(filled, KEYS)]
    await queries.online(filled, KEYS, names, 10)
    await queries.inbox(filled, KEYS, "bob")
    await queries.entries(filled, KEYS, "bob", 5)
    await queries.retired(filled, KEYS)
    assert await written() == before


async def test_a_key_of_another_type_is_an_answer_that_cannot_be_had(client: Link) -> None:
    await client.run("SET", KEYS.workers(), "not ours")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await queries.workers(client, KEYS)
