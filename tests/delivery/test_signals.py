"""Signals: to whoever is online now, wherever; at most once, bounded, and counted where they are lost."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from service.core.errors import ClientError, Fault, Unavailable
from service.delivery import signals as module
from service.delivery.poll import LongPoll
from service.delivery.signals import Signal
from service.delivery.worker import Worker
from service.store.worker_stream import SIGNAL
from service.telemetry import SIGNALS_DROPPED
from tests.delivery.conftest import Start, calm
from tests.delivery.rig import Client, connect, total, troubled, until


def say(
    worker: Worker, to: str | Iterable[str], body: Any = 1, sender: str = "alice", group: str | None = None
) -> list[Fault]:
    """Sends a signal; what its sender will be told."""
    faults: list[Fault] = []
    users = (to,) if isinstance(to, str) else tuple(to)
    worker.signals.send(Signal(sender, users, group, str(body).encode(), 5, faults.append))
    return faults


@pytest.fixture
def start(start: Start) -> Start:
    return calm(start)


async def bodies(client: Client, count: int) -> list[Any]:
    await client.until(lambda: len(client.of("signal")) >= count, f"{count} signals")
    return [frame["body"] for frame in client.of("signal")]


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_it_reaches_every_connected_device_of_the_recipients_in_order(start: Start, elsewhere: bool) -> None:
    worker = await start()
    other = await start() if elsewhere else worker
    phone, laptop = await connect(worker, "bob", "phone"), await connect(other, "bob", "laptop")
    carol = await connect(other, "carol")
    for number in range(20):
        say(worker, ("bob", "carol"), number)
    for client in (phone, laptop, carol):
        assert await bodies(client, 20) == list(range(20))
    assert phone.of("signal")[0] == {"type": "signal", "from": "alice", "to": "bob", "body": 0, "ts": 5}
    assert carol.of("signal")[0]["to"] == "carol"


async def test_its_sender_gets_none_on_any_device(worker: Worker) -> None:
    own, bob = await connect(worker, "alice"), await connect(worker, "bob")
    say(worker, ("alice", "bob"))
    assert await bodies(bob, 1) == [1]
    assert own.of("signal") == []


async def test_who_has_blocked_the_sender_does_not_get_it(worker: Worker, other: Worker) -> None:
    bob, carol = await connect(other, "bob"), await connect(other, "carol")
    await worker.blocks.block("bob", "mallory")
    say(worker, ("bob", "carol"), 1, sender="mallory")
    say(worker, ("bob", "carol"), 2)
    assert await bodies(carol, 2) == [1, 2]
    assert await bodies(bob, 1) == [2]


async def test_it_is_stored_nowhere_and_whoever_comes_later_has_missed_it(worker: Worker, store: Any) -> None:
    carol = await connect(worker, "carol")
    say(worker, ("bob", "carol"))
    await bodies(carol, 1)
    assert await store.exists(worker.keys.inbox("bob")) == 0
    late = await connect(worker, "bob")
    assert late.of("signal") == []


async def test_a_long_poll_has_no_place_for_it(worker: Worker, other: Worker) -> None:
    poll = LongPoll(other, "bob", "poll")
    await poll.claimed()
    phone = await connect(other, "bob", "phone")
    say(worker, "bob")
    assert await bodies(phone, 1) == [1]
    poll.release()


async def test_to_a_group_it_goes_to_the_members_and_a_stranger_is_told_why(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await start()

    async def members(group: str, asking: str) -> Sequence[str]:
        if asking == "mallory":
            raise ClientError("no_such_group", "no")
        return ("alice", "bob")

    monkeypatch.setattr(worker.signals, "_members", members)
    bob, alice = await connect(worker, "bob"), await connect(worker, "alice")
    faults = say(worker, (), 1, sender="mallory", group="team")
    say(worker, (), 2, group="team")
    assert await bodies(bob, 1) == [2]
    assert bob.of("signal") == [{"type": "signal", "from": "alice", "group": "team", "body": 2, "ts": 5}]
    assert [fault.code for fault in faults] == ["no_such_group"]
    assert alice.of("signal") == []


async def test_a_flood_is_bounded_and_what_is_dropped_is_counted(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    bob, before = await connect(worker, "bob"), total(SIGNALS_DROPPED)
    for number in range(25):
        say(worker, "bob", number)
    assert total(SIGNALS_DROPPED) - before == 15
    assert await bodies(bob, 10) == list(range(10))
    say(worker, "bob", 99)
    assert (await bodies(bob, 11))[-1] == 99


async def test_what_gathers_while_one_flight_is_under_way_is_the_next_and_one_control(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, other = await start(), await start()
    bob = await connect(other, "bob")
    values: list[str] = []
    real = other.signals.on_control

    def heed(value: str) -> None:
        values.append(value)
        real(value)

    monkeypatch.setattr(other.signals, "on_control", heed)
    looks = troubled(worker.watchers, "holders")
    looks.gate.clear()
    say(worker, "bob", 0)
    await until(lambda: looks.calls == 1, "the first flight")
    for number in range(1, 6):
        say(worker, "bob", number)
    looks.gate.set()
    assert await bodies(bob, 6) == list(range(6))
    assert [len(value.split("\n")) for value in values] == [1, 5]


async def test_a_flight_of_more_than_one_entry_or_slice_loses_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("ENTRY_BYTES", 100), ("FLIGHT", 7), ("SLICE", 3)):
        monkeypatch.setattr(module, name, most)
    worker, other = await start(), await start()
    clients = [await connect(other, f"u{number}") for number in range(5)]
    for number in range(10):
        say(worker, [client.user for client in clients], number)
    for client in clients:
        assert await bodies(client, 10) == list(range(10))


async def test_what_cannot_be_looked_up_or_told_is_lost_and_counted(worker: Worker, other: Worker) -> None:
    bob, before = await connect(other, "bob"), total(SIGNALS_DROPPED)
    troubled(worker.watchers, "holders").before = 1
    say(worker, "bob", 1)
    await until(lambda: total(SIGNALS_DROPPED) - before == 1, "the loss")
    troubled(worker.streams, "announce").before = 1
    say(worker, "bob", 2)
    await until(lambda: total(SIGNALS_DROPPED) - before == 2, "the loss")
    say(worker, "bob", 3)
    assert await bodies(bob, 1) == [3]


@pytest.mark.parametrize("damaged", ("presence", "blocks"))
async def test_a_recipient_who_cannot_be_read_is_left_out_and_counted_and_nobody_else(
    worker: Worker, other: Worker, store: Any, damaged: str
) -> None:
    bob, carol, before = await connect(other, "bob"), await connect(worker, "carol"), total(SIGNALS_DROPPED)
    await store.hset(worker.keys.presence("ghost"), "phone", f"{worker.id}/s-1/0")
    await store.delete(getattr(worker.keys, damaged)("ghost"))
    await store.set(getattr(worker.keys, damaged)("ghost"), "x")
    say(worker, ("ghost", "bob"), 1)
    say(worker, "carol", 2)
    assert (await bodies(bob, 1), await bodies(carol, 1)) == ([1], [2])
    assert total(SIGNALS_DROPPED) - before == 1


async def test_a_group_that_cannot_be_read_is_counted_and_holds_nobody_up(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def members(group: str, asking: str) -> Sequence[str]:
        raise Unavailable(f"{asking} asks for {group}")

    monkeypatch.setattr(worker.signals, "_members", members)
    bob, before = await connect(worker, "bob"), total(SIGNALS_DROPPED)
    say(worker, (), 1, group="team")
    say(worker, "bob", 2)
    assert await bodies(bob, 1) == [2]
    assert total(SIGNALS_DROPPED) - before == 1


async def test_a_worker_that_is_gone_gets_none(worker: Worker, store: Any) -> None:
    await store.hset(worker.keys.presence("bob"), "phone", "w-gone/s-1/0")
    before = total(SIGNALS_DROPPED)
    say(worker, "bob")
    await until(lambda: total(SIGNALS_DROPPED) - before == 1, "the loss")
    assert await store.exists(worker.keys.worker("w-gone")) == 0


async def test_a_peer_that_does_not_read_gets_none_and_others_do(worker: Worker) -> None:
    phone, laptop = await connect(worker, "bob", "phone"), await connect(worker, "bob", "laptop")
    phone.flooded = True
    before = total(SIGNALS_DROPPED)
    say(worker, "bob", 1)
    assert await bodies(laptop, 1) == [1]
    assert (phone.of("signal"), total(SIGNALS_DROPPED) - before) == ([], 1)


async def test_a_control_that_is_not_understood_does_no_harm(worker: Worker, other: Worker) -> None:
    bob = await connect(other, "bob")
    for value in ("", "alice bob", "alice bob * soon 1"):
        with pytest.raises(ValueError, match=r".*"):
            worker.signals.on_control(value)
        await worker.streams.tell(other.id, SIGNAL, value)
    say(worker, "bob", 1)
    assert await bodies(bob, 1) == [1]
