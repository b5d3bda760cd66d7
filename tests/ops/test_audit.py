"""The audit on a real server: clean after real traffic, and each planted violation found and named."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.cluster_group import ClusterGroup
from scripts.lab.redis_server import RedisServer
from scripts.lab.rights import Rights
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from service.config import Settings
from service.ops import audit as module
from service.ops.audit import Report, audit, shapes
from service.ops.audit_laws import Asked, Finding
from service.store.client import connect
from service.store.keys import CATALOGUE, Keys
from service.store.link import Link
from tests.ops import example
from tests.support.api import Api
from tests.support.device import Device

KEYS = Keys("chat:")
ASKED = Asked(KEYS, max_pending=10_000, retention=3600, device_expiry=3600, dead_after=3600)
BOB = "{bob}"
ALIVE, DEAD = example.ALIVE, example.DEAD


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", (0.0,))


@pytest.fixture
async def filled(redis_url: str, no_pause: None) -> AsyncIterator[Link]:
    """A link to a server that holds the example of the operators' page."""
    await example.build(redis_url)
    link = connect(Settings(redis_url=redis_url))
    yield link
    await link.aclose()


async def cursors(link: Link) -> list[str]:
    return [id.decode() for id, _ in await link.run("XRANGE", KEYS.inbox("bob"), "-", "+")]


def off(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.level == "off"]


# Clean.


@pytest.mark.parametrize("entries", (False, True))
async def test_the_example_is_clean_and_its_entries_add_up(filled: Link, entries: bool) -> None:
    report = await audit(filled, ASKED, entries=entries)
    assert report.findings == []
    totals = report.totals
    assert (totals.users, totals.connected, totals.workers) == (1, 1, 1)
    assert (totals.given, totals.present, totals.trimmed, totals.deleted, totals.dropped) == (4, 4, 0, 0, 0)
    assert totals.expired == (0 if entries else None)


async def test_an_empty_server_is_clean(redis_url: str) -> None:
    async with aclosing(connect(Settings(redis_url=redis_url))) as link:
        assert (await audit(link, ASKED)).findings == []


async def test_what_real_traffic_leaves_is_clean(
    serve: Callable[..., Service], named: Callable[[str], str], alice: str, bob: str
) -> None:
    service = serve(history=20)
    async with (
        aclosing(connect(Settings(redis_url=service.redis_url))) as link,
        Device(service.url, bob) as phone,
        Device(service.url, bob, "laptop") as laptop,
    ):
        async with Api(service.url, alice) as api:
            await api.fill(bob, 300)
            await api.send([bob, alice], "both", "twice")
            await api.send([bob, alice], "both", "twice")
            await api.send(bob, "gone soon", "brief", expires_in=1)
            await of_a_group(api, named("team"), bob)
        await phone.receive(256)
        await phone.ack()
        await phone.receive(304)
        await phone.ack()
        await laptop.receive(100)
        await laptop.ack()
        report = await audit(link, ASKED, entries=True)
        assert report.findings == []
        assert report.totals.connected == 2

        async def expired() -> bool:
            return (await audit(link, ASKED, entries=True)).totals.expired == 1

        await eventually_async(expired, "the brief one has expired")
        await laptop.receive(256)
        await laptop.ack()
        await laptop.receive(304)
        await laptop.ack()

        async def trimmed() -> bool:
            return (await audit(link, ASKED)).totals.trimmed > 0

        await eventually_async(trimmed, "what both have acked is trimmed")
        report = await audit(link, ASKED, entries=True)
        assert report.findings == []
        totals = report.totals
        assert totals.given == totals.dropped + totals.trimmed + totals.deleted + totals.present


async def of_a_group(api: Api, group: str, *members: str) -> None:
    """Two messages of three stay: one is deleted; and somebody comes and goes."""
    path = f"/v1/groups/{group}"
    assert (await api.http.put(path, json={"members": members})).status_code == 201
    for number in range(3):
        assert (await api.post({"id": f"g-{number}", "group": group, "body": number})).status_code == 202
    gone = await api.post({"type": "delete", "id": "d-1", "target": "g-0", "group": group})
    assert gone.status_code == 202
    for act in (api.http.put, api.http.delete):
        assert (await act(f"{path}/members/{group}.guest")).status_code == 204


# Planted violations.

PLANTED: dict[str, tuple[list[tuple[Any, ...]], str, str]] = {
    "a cursor beyond the newest entry": (
        [("HSET", KEYS.cursors("bob"), "phone", "9795406225505-9")],
        "beyond last",
        KEYS.cursors("bob"),
    ),
    "best beyond the newest entry": (
        [("HSET", KEYS.state("bob"), "best", "9795406225505-9")],
        "beyond last",
        KEYS.state("bob"),
    ),
    "a cursor that is none": ([("HSET", KEYS.cursors("bob"), "phone", "soon")], "cursor", KEYS.cursors("bob")),
    "a floor above a device": (
        [("HSET", KEYS.state("bob"), "floor", "{3}")],
        "floor",
        KEYS.state("bob"),
    ),
    "best below a device": ([("HSET", KEYS.state("bob"), "best", "{1}")], "best", KEYS.state("bob")),
    "floor above best": (
        [("HSET", KEYS.state("bob"), "best", "{1}", "floor", "{2}"), ("DEL", KEYS.devices("bob"))],
        "floor",
        KEYS.state("bob"),
    ),
    "last that is not the newest": ([("HSET", KEYS.state("bob"), "last", "{3}")], "last", KEYS.state("bob")),
    "an entry from elsewhere": ([("XADD", KEYS.inbox("bob"), "*", "a", "b")], "last", KEYS.state("bob")),
    "a skipped number": (
        [
            ("XADD", KEYS.inbox("bob"), "9795406225505-6", "a", "b"),
            ("HSET", KEYS.state("bob"), "last", "9795406225505-6"),
        ],
        "conservation",
        KEYS.inbox("bob"),
    ),
    "a number twice": (
        [
            ("XADD", KEYS.inbox("bob"), "9795406225505-4", "a", "b"),
            ("HSET", KEYS.state("bob"), "last", "9795406225505-4"),
        ],
        "order",
        KEYS.inbox("bob"),
    ),
    "entries trimmed that nobody acked": (
        [("XTRIM", KEYS.inbox("bob"), "MAXLEN", 1)],
        "conservation",
        KEYS.inbox("bob"),
    ),
    "the newest trimmed": ([("XTRIM", KEYS.inbox("bob"), "MAXLEN", 0)], "newest", KEYS.inbox("bob")),
    "an inbox dropped before its time": ([("DEL", KEYS.inbox("bob"))], "conservation", KEYS.inbox("bob")),
    "an entry that is none": (
        [
            ("XADD", KEYS.inbox("bob"), "9795406225505-5", "a", "b"),
            ("HSET", KEYS.state("bob"), "last", "9795406225505-5"),
        ],
        "entry",
        KEYS.inbox("bob"),
    ),
    "an inbox for ever": ([("PERSIST", KEYS.inbox("bob"))], "life", KEYS.inbox("bob")),
    "a dedupe hash for ever": ([("PERSIST", KEYS.seen("bob", "b"))], "life", KEYS.seen("bob", "b")),
    "an id known at an entry that is not": (
        [("HSET", KEYS.seen("bob", "b"), "m/alice/m-9", "9795406225505-9 0123")],
        "seen",
        KEYS.seen("bob", "b"),
    ),
    "a count of devices that is none": ([("HSET", KEYS.state("bob"), "devices", "many")], "devices", KEYS.state("bob")),
    "a connected device that does not count": (
        [("HSET", KEYS.state("bob"), "devices", 0)],
        "devices",
        KEYS.state("bob"),
    ),
    "online with nobody there": (
        [("HDEL", KEYS.presence("bob"), "phone"), ("SREM", KEYS.claims(ALIVE), "bob/phone/s-51")],
        "online",
        KEYS.state("bob"),
    ),
    "offline with somebody there": ([("HSET", KEYS.state("bob"), "online", 0)], "online", KEYS.state("bob")),
    "a claim of a dead worker": (
        [("HSET", KEYS.presence("bob"), "laptop", f"{DEAD}/s-9/1")],
        "claim",
        KEYS.presence("bob"),
    ),
    "a claim of a worker nobody knows": (
        [("HSET", KEYS.presence("bob"), "laptop", "w-nobody/s-9/1")],
        "claim",
        KEYS.presence("bob"),
    ),
    "a claim that is none": ([("HSET", KEYS.presence("bob"), "laptop", "here")], "claim", KEYS.presence("bob")),
    "a claim that no reaper would find": (
        [("SREM", KEYS.claims(ALIVE), "bob/phone/s-51")],
        "claim",
        KEYS.presence("bob"),
    ),
    "a noted claim that is none": ([("SADD", KEYS.claims(ALIVE), "bob/laptop/s-7")], "claim", KEYS.claims(ALIVE)),
    "a note that is no claim": ([("SADD", KEYS.claims(ALIVE), "bob")], "claim", KEYS.claims(ALIVE)),
    "a stream without a worker": ([("XADD", KEYS.worker("w-x"), "*", "a", "b")], "no worker", KEYS.worker("w-x")),
    "claims without a worker": ([("SADD", KEYS.claims("w-x"), "a/b/c")], "no worker", KEYS.claims("w-x")),
    "a self-portrait without a worker": ([("HSET", KEYS.about("w-x"), "pid", 1)], "no worker", KEYS.about("w-x")),
    "a worker without a stream": ([("DEL", KEYS.worker(ALIVE))], "deaf", KEYS.worker(ALIVE)),
    "a worker that never spoke": ([("HSET", KEYS.workers(), "w-x", 1)], "silent", KEYS.about("w-x")),
    "a worker that has gone silent": ([("HSET", KEYS.about(ALIVE), "beat_at", 1)], "silent", KEYS.about(ALIVE)),
    "an inbox without a state": (
        [("SET", "x", 1), ("COPY", KEYS.inbox("bob"), KEYS.inbox("eve"))],
        "no state",
        KEYS.inbox("eve"),
    ),
    "a key of another type": (
        [("DEL", KEYS.cursors("bob")), ("SET", KEYS.cursors("bob"), 1)],
        "type",
        KEYS.cursors("bob"),
    ),
    "the log of no group": (
        [("XADD", "chat:group:{team}:log", "1-0", "kind", "group")],
        "no state",
        "chat:group:{team}:log",
    ),
    "a key nobody knows": ([("SET", "chat:unheard-of", 1)], "unknown key", "chat:unheard-of"),
    "a key nobody knows of a user": ([("SET", "chat:inboxes:{bob}", 1)], "unknown key", "chat:inboxes:{bob}"),
}


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_violation_is_found_and_named(filled: Link, planted: str) -> None:
    commands, law, key = PLANTED[planted]
    at = await cursors(filled)
    for command in commands:
        places = {f"{{{number}}}": cursor for number, cursor in enumerate(at, 1)}
        await filled.run(*(places.get(word, word) if isinstance(word, str) else word for word in command))
    found = off(await audit(filled, ASKED, entries=True))
    assert (law, key) in {(one.law, one.key) for one in found}, found


async def test_what_was_deleted_by_hand_is_told_but_not_off(filled: Link) -> None:
    second = (await cursors(filled))[1]
    await filled.run("XDEL", KEYS.inbox("bob"), second)
    report = await audit(filled, ASKED)
    assert off(report) == []
    (note,) = report.findings
    assert (note.law, note.key, note.found) == ("deleted", KEYS.inbox("bob"), "entry 2 is gone, deleted by hand")
    assert (report.totals.deleted, report.totals.present) == (1, 3)


async def test_what_was_trimmed_by_hand_up_to_the_floor_is_not_off(filled: Link) -> None:
    await filled.run("XTRIM", KEYS.inbox("bob"), "MINID", (await cursors(filled))[1])
    report = await audit(filled, ASKED)
    assert report.findings == []
    assert report.totals.trimmed == 1


async def test_an_inbox_dropped_after_its_time_is_not_off(filled: Link) -> None:
    await filled.run("DEL", KEYS.inbox("bob"))
    await asyncio.sleep(0.01)
    report = await audit(filled, replace(ASKED, retention=0.001))
    assert report.findings == []
    assert (report.totals.given, report.totals.dropped) == (4, 4)


async def test_leftovers_of_a_dead_worker_are_a_note(filled: Link) -> None:
    await filled.run("SADD", KEYS.claims(DEAD), "bob/laptop/s-1")
    (note,) = (await audit(filled, ASKED)).findings
    assert (note.law, note.level, note.key) == ("dead worker", "note", KEYS.claims(DEAD))


async def test_what_was_on_its_way_is_not_told(filled: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled.run("SREM", KEYS.claims(ALIVE), "bob/phone/s-51")
    await filled.run("SADD", KEYS.claims("w-new"), "a/b/c")
    looked: list[float] = []

    async def settle(seconds: float) -> None:
        looked.append(seconds)
        await filled.run("SADD", KEYS.claims(ALIVE), "bob/phone/s-51")
        await filled.run("DEL", KEYS.claims("w-new"))

    monkeypatch.setattr("asyncio.sleep", settle)
    assert (await audit(filled, ASKED)).findings == []
    assert looked


async def test_a_prefix_of_ones_own_is_kept_apart(filled: Link) -> None:
    await filled.run("SET", "other:thing", 1)
    assert (await audit(filled, ASKED)).findings == []
    report = await audit(filled, replace(ASKED, keys=Keys("other:")))
    assert [(one.law, one.key) for one in report.findings] == [("unknown key", "other:thing")]


async def test_many_users_are_walked_page_by_page(filled: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(130):
        await filled.run("HSET", KEYS.state(f"u{number}"), "last", "0-0")
    for number in range(700):
        await filled.run("HSET", KEYS.seen("bob", "b"), f"m/alice/x{number}", "1-1 0123")
    await filled.run("HSET", KEYS.seen("bob", "b"), "m/alice/y", "9795406225505-9 0123")
    told: list[int] = []
    report = await audit(filled, ASKED, progress=told.append)
    assert report.totals.users == 131
    assert [one.law for one in report.findings] == ["seen"]
    assert told[-1] == report.totals.keys == 140


async def test_in_a_cluster_the_walk_goes_over_every_primary(tmp_path: Path, no_pause: None) -> None:
    group = ClusterGroup(tmp_path, primaries=3, replicas=0)
    group.start()
    try:
        await example.build(group.url)
        async with aclosing(connect(Settings(redis_url=group.url))) as link:
            report = await audit(link, ASKED, entries=True)
            assert report.findings == []
            assert (report.totals.keys, report.totals.present) == (10, 4)
            planted = {f"chat:unheard-of:{{{user}}}" for user in ("bob", "carol", "heidi", "erin", "mallory")}
            assert len({group.node_of(key) for key in planted}) == 3
            for key in planted:
                await link.run("SET", key, 1)
            assert {one.key for one in (await audit(link, ASKED)).findings} == planted
    finally:
        group.stop()


async def test_the_least_rights_of_the_operators_page_are_enough(tmp_path: Path, no_pause: None) -> None:
    server = RedisServer(tmp_path, rights=Rights())
    server.start()
    try:
        await example.build(server.url)
        async with aclosing(connect(Settings(redis_url=server.service_url))) as link:
            assert (await audit(link, ASKED, entries=True)).findings == []
        assert server.refusals() == []
    finally:
        server.stop()


async def test_the_walk_ends_when_too_much_is_off(filled: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FINDINGS", 3)
    for number in range(5):
        await filled.run("SET", f"chat:unheard-of:{number}", 1)
    report = await audit(filled, ASKED)
    assert not report.complete
    assert report.off >= 3


def test_every_row_of_the_catalogue_has_a_shape_of_its_own() -> None:
    found = shapes(Keys("p:"))
    for doc in CATALOGUE:
        key = doc.pattern.replace("chat:", "p:")
        (match,) = (type for _, type, shape in found if shape.fullmatch(key))
        assert match == doc.type
