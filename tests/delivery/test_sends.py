"""Sending over a connection: every send has one answer, order holds through refusals, and too many must wait."""

import asyncio
from typing import Any

from service.delivery import sends as module
from service.delivery.sends import Sends
from service.delivery.worker import Worker
from tests.delivery.conftest import Start
from tests.delivery.rig import Client, Frame, a_message, connect, ticks, troubled, until, within


def mine(id: str, body: Any = "hi", to: str = "bob") -> Any:
    return a_message(id, to, "alice", body)


async def entries(store: Any, user: str = "bob") -> list[str]:
    return [fields["id"] for _, fields in await store.xrange(f"chat:inbox:{{{user}}}")]


def answers(client: Client) -> list[Frame]:
    return client.of("accepted", "error")


def codes(client: Client) -> dict[str, str]:
    """What the last answer to each send said, by id."""
    return {frame["id"]: frame.get("code", "accepted") for frame in answers(client)}


async def answered(client: Client, count: int) -> dict[str, str]:
    await client.until(lambda: len(answers(client)) >= count, f"{count} answers")
    return codes(client)


async def test_accepted_names_the_cursor_and_a_repeat_gets_the_same(worker: Worker, store: Any) -> None:
    alice = await connect(worker, "alice")
    alice.say(mine("m1"))
    first = await alice.answer("m1")
    [(cursor, _)] = await store.xrange("chat:inbox:{bob}")
    assert first["recipients"] == [{"to": "bob", "cursor": cursor}]
    assert (first["type"], first["duplicate"], first["durability"]) == ("accepted", False, worker.durability)
    alice.say(mine("m1"))
    await answered(alice, 2)
    again = answers(alice)[1]
    assert (again["recipients"], again["duplicate"]) == (first["recipients"], True)
    alice.say(mine("m1", "another body"))
    await answered(alice, 3)
    assert answers(alice)[2]["code"] == "id_reused"
    assert await entries(store) == ["m1"]


async def test_sends_that_cannot_come_again_are_in_their_order_too(worker: Worker, store: Any) -> None:
    appending = troubled(worker.appends, "append")
    sends, ids = Sends(worker, lambda _: None), [f"m{n}" for n in range(200)]
    told: list[object] = []
    appending.gate.clear()
    for id in ids:
        sends.submit_unordered(mine(id), told.append)
        await asyncio.sleep(0)
    assert appending.calls == 1, "what is behind another could overtake it"
    appending.gate.set()
    await until(lambda: len(told) == 200, "every answer")
    assert await entries(store) == ids


async def test_sends_are_accepted_in_their_order_and_own_copies_come_back(worker: Worker, store: Any) -> None:
    alice = await connect(worker, "alice")
    ids = [f"m{n}" for n in range(300)]
    for id in ids:
        alice.say(mine(id))
    await answered(alice, 300)
    assert [frame["id"] for frame in answers(alice)] == ids == await entries(store)
    await alice.come(1)
    alice.ack()
    await alice.until(lambda: len(alice.ids) >= 256, "own copies")


async def test_after_a_failure_everything_else_is_out_of_order_until_the_failed_one_comes_again(
    worker: Worker, store: Any
) -> None:
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.gate.clear()
    alice.say(mine("m1"))
    await until(lambda: trouble.calls == 1, "the first call")
    for id in ("m2", "m3"):
        alice.say(mine(id))
    trouble.before = 1
    trouble.gate.set()
    assert await answered(alice, 3) == {"m1": "unavailable", "m2": "out_of_order", "m3": "out_of_order"}
    assert trouble.failed == 1
    await until(lambda: not worker.committer.down, "the server is found again")
    for id in ("m2", "m4"):
        alice.say(mine(id))
    assert await answered(alice, 5) == {
        "m1": "unavailable",
        "m2": "out_of_order",
        "m3": "out_of_order",
        "m4": "out_of_order",
    }
    assert all(frame["retryable"] for frame in answers(alice))
    for id in ("m1", "m2", "m3", "m4"):
        alice.say(mine(id))
    assert set((await answered(alice, 9)).values()) == {"accepted"}
    assert await entries(store) == ["m1", "m2", "m3", "m4"]


async def test_a_failed_send_that_did_arrive_is_a_duplicate_when_it_comes_again_and_order_holds(
    worker: Worker, store: Any
) -> None:
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.after = 1
    alice.say(mine("m1"))
    assert await answered(alice, 1) == {"m1": "unavailable"}
    assert await entries(store) == ["m1"], "the command did not run"
    alice.say(mine("m2"))
    assert (await answered(alice, 2))["m2"] == "out_of_order"
    await until(lambda: not worker.committer.down, "the server is found again")
    for id in ("m1", "m2"):
        alice.say(mine(id))
    await answered(alice, 4)
    again, second = answers(alice)[2:]
    assert (again["type"], again["duplicate"], second["duplicate"]) == ("accepted", True, False)
    assert await entries(store) == ["m1", "m2"]


async def test_a_failed_send_may_be_given_up(worker: Worker, store: Any) -> None:
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.before = 1
    alice.say(mine("m1"))
    assert await answered(alice, 1) == {"m1": "unavailable"}
    await until(lambda: not worker.committer.down, "the server is found again")
    alice.connection.sends.skip("m1")
    alice.say(mine("m2"))
    assert (await answered(alice, 2))["m2"] == "accepted"
    assert await entries(store) == ["m2"]


async def test_one_connections_failure_does_not_hold_up_another(worker: Worker, store: Any) -> None:
    alice, carol = await connect(worker, "alice"), await connect(worker, "carol")
    trouble = troubled(worker.appends, "append")
    trouble.before = 1
    alice.say(mine("m1"))
    assert await answered(alice, 1) == {"m1": "unavailable"}
    await until(lambda: not worker.committer.down, "the server is found again")
    carol.say(a_message("c1", "bob", "carol"))
    assert (await answered(carol, 1))["c1"] == "accepted"
    alice.say(mine("m2"))
    assert (await answered(alice, 2))["m2"] == "out_of_order"
    assert await entries(store) == ["c1"]


async def test_sends_beyond_1024_on_their_way_wait_until_some_have_their_answer(worker: Worker) -> None:
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.gate.clear()
    for n in range(module.MOST_SENDS - 1):
        alice.say(mine(f"m{n}"))
    await within(alice.connection.sends.ready(), "room for one more")
    alice.say(mine("last"))
    waiting = asyncio.ensure_future(alice.connection.sends.ready())
    await ticks()
    assert not waiting.done()
    trouble.gate.set()
    await within(waiting, "room")
    assert "accepted" in codes(alice).values()
    await answered(alice, module.MOST_SENDS)


async def test_whoever_waits_for_room_is_let_go_when_the_socket_is_lost(worker: Worker, store: Any) -> None:
    alice = await connect(worker, "alice")
    trouble = troubled(worker.appends, "append")
    trouble.gate.clear()
    for n in range(module.MOST_SENDS):
        alice.say(mine(f"m{n}"))
    waiting = asyncio.ensure_future(alice.connection.sends.ready())
    await ticks()
    assert not waiting.done()
    alice.hang_up()
    await within(waiting, "the end of waiting")
    alice.connection.sends.submit(mine("late"))
    trouble.gate.set()
    await within(worker.committer.drained(), "the committer")
    assert await entries(store) == [f"m{n}" for n in range(module.MOST_SENDS)], "taken, or taken too late"
    assert answers(alice) == []


async def test_a_crowded_committer_makes_connections_wait(start: Start, monkeypatch: Any) -> None:
    from service.delivery import committer  # noqa: PLC0415 - only its bound is wanted

    monkeypatch.setattr(committer, "MOST_QUEUED", 20)
    worker = await start()
    alice, carol = await connect(worker, "alice"), await connect(worker, "carol")
    trouble = troubled(worker.appends, "append")
    trouble.gate.clear()
    alice.say(mine("first"))
    await until(lambda: trouble.calls == 1, "the first call")
    for n in range(12):
        alice.say(mine(f"m{n}"))
    waiting = asyncio.ensure_future(carol.connection.sends.ready())
    await ticks()
    assert not waiting.done()
    trouble.gate.set()
    await within(waiting, "room")
    assert set((await answered(alice, 13)).values()) == {"accepted"}
