"""Changes on their way: their target is looked for once all before them is answered, on every kind of backend."""

import asyncio
from collections.abc import Sequence
from typing import Any

from service.core.entries import Kind
from service.core.errors import Fault
from service.core.lane import Lane
from service.core.sending import Appended, AppendStatus, Message, fingerprint
from service.delivery.worker import Worker
from tests.delivery.rig import Client, a_message, connect, send, troubled, until, until_stored, within

S = AppendStatus


def change(kind: Kind, id: str, target: str, *to: str, body: Any = 1, of: str = "alice") -> Message:
    raw = b"" if kind is Kind.DELETE else str(body).encode()
    users = to or ("bob",)
    return Message(
        id, "alice", users, raw, fingerprint([target, of, body]), listed=len(users) > 1, kind=kind, target=target,
        target_from=of,
    )  # fmt: skip


async def say(worker: Worker, message: Message, lane: Lane | None = None) -> list[AppendStatus] | str:
    """What its sender is told: a status for each recipient, or the code of what failed."""
    answer: asyncio.Future[Sequence[Appended] | Fault] = asyncio.get_running_loop().create_future()
    await worker.changes.submit(message, answer.set_result, lane)
    told = await within(answer, "an answer")
    return told.code if isinstance(told, Fault) else [result.status for result in told]


def over(client: Client, message: Message) -> asyncio.Task[None]:
    """A change over a connection, as the edge does it."""
    client.rules.sent({"type": message.kind, "id": message.id})
    return asyncio.create_task(client.connection.sends.change(message))


async def kinds(store: Any, user: str) -> list[str]:
    return [f"{f['kind']} {f['id']}" for _, f in await store.xrange(f"chat:inbox:{{{user}}}") if f["kind"] != "receipt"]


async def test_a_deletion_erases_in_every_inbox_and_in_the_senders_own(worker: Worker, store: Any) -> None:
    """In a Cluster each of them lies on a server of its own, and the own copy goes its own way."""
    await worker.presence.register("alice", "phone")
    [cursor] = await send(worker, a_message("m0", "bob"))
    await send(worker, a_message("m1", ("bob", "carol")))
    await until_stored(lambda: store.exists("chat:inbox:{alice}"), "the own copy")
    await worker.copier.drained()
    assert await say(worker, change(Kind.DELETE, "d1", "m1", "bob", "carol")) == [S.APPENDED, S.APPENDED]
    await worker.copier.drained()
    assert await kinds(store, "bob") == ["message m0", "delete d1"]
    assert await kinds(store, "carol") == ["delete d1"]
    assert await kinds(store, "alice") == ["message m0", "delete d1"]
    rows = {user: await store.zrange(f"chat:erased:{{{user}}}", 0, -1) for user in ("alice", "bob", "carol")}
    assert [rows[user][0].split(" ", 1)[1] for user in rows] == [
        "m1 alice to bob,carol",
        "m1 alice to bob",
        "m1 alice to carol",
    ]
    assert str(cursor) not in str(rows["bob"])


async def test_a_deletion_that_comes_again_makes_good_what_was_left_out(worker: Worker, store: Any) -> None:
    """The worker that took it died before the own copy: only the sender's repeat tells."""
    await worker.presence.register("alice", "phone")
    await send(worker, a_message("m1"))
    await worker.copier.drained()
    lost = troubled(worker.appends, "copy")
    lost.gate.clear()
    first = change(Kind.DELETE, "d1", "m1")
    assert await say(worker, first) == [S.APPENDED]
    if worker.appends.copies_apart:
        assert await kinds(store, "alice") == ["message m1"]
        worker.copier._waiting.clear()
    lost.gate.set()
    assert await say(worker, first) == [S.DUPLICATE]
    await until_stored(lambda: _is(store, "alice", ["delete d1"]), "erased")
    assert await kinds(store, "bob") == ["delete d1"]


async def _is(store: Any, user: str, wanted: list[str]) -> bool:
    return await kinds(store, user) == wanted


async def test_the_same_is_deleted_once_however_many_ask_at_once(worker: Worker, store: Any) -> None:
    await send(worker, a_message("m1"))
    asked = [say(worker, change(Kind.DELETE, f"d{n}", "m1")) for n in range(8)]
    answers = await asyncio.gather(*asked)
    assert sorted(answers) == [[S.APPENDED], *[[S.UNKNOWN]] * 7]
    assert [kind.split(" ")[0] for kind in await kinds(store, "bob")] == ["delete"]


async def test_a_blocked_sender_fills_no_inbox_with_deletions(worker: Worker, store: Any) -> None:
    """What lies there is taken back; what does not, only the own copy knows."""
    await worker.presence.register("alice", "phone")
    await send(worker, a_message("m1"))
    [trimmed] = await send(worker, a_message("m2"))
    await worker.copier.drained()
    await store.xdel("chat:inbox:{bob}", str(trimmed))
    await worker.blocks.block("bob", "alice")
    for target, first in (("m1", S.APPENDED), ("m2", S.REFUSED)):
        assert await say(worker, change(Kind.DELETE, f"{target}-d0", target)) == [first]
        await worker.copier.drained()
        again = [(await say(worker, change(Kind.DELETE, f"{target}-d{n}", target)))[0] for n in range(1, 4)]
        assert set(again) <= {S.UNKNOWN, S.REFUSED}
    assert await kinds(store, "bob") == ["delete m1-d0"]


async def test_those_who_do_not_know_the_target_hold_up_nobody(worker: Worker, store: Any) -> None:
    await send(worker, a_message("m1", ("bob", "carol")))
    edit = change(Kind.EDIT, "e1", "m1", "dave", "carol", "bob")
    assert await say(worker, edit) == [S.UNKNOWN, S.APPENDED, S.APPENDED]
    assert await say(worker, edit) == [S.UNKNOWN, S.DUPLICATE, S.DUPLICATE]
    assert not await store.exists("chat:inbox:{dave}")


async def test_what_was_sent_before_over_the_connection_is_answered_first(worker: Worker) -> None:
    alice, bob = await connect(worker, "alice"), await connect(worker, "bob")
    slow = troubled(worker.appends, "append")
    slow.gate.clear()
    alice.say(a_message("m1"))
    asked = over(alice, change(Kind.EDIT, "e1", "m1"))
    await until(lambda: slow.calls == 1, "the first call")
    assert not asked.done()
    slow.gate.set()
    await within(asked, "the edit is on its way")
    assert (await alice.answer("e1"))["type"] == "accepted"
    assert (await bob.next("edit"))["target"] == "m1"


async def test_a_change_whose_target_cannot_be_looked_for_fails_and_comes_again_in_its_place(worker: Worker) -> None:
    alice = await connect(worker, "alice")
    await send(worker, a_message("m1"))
    away = troubled(worker.changes._locator, "find")
    away.before = 1
    edit = change(Kind.EDIT, "e1", "m1")
    await within(over(alice, edit), "answered")
    first = await alice.answer("e1")
    assert (first["code"], first["retryable"]) == ("unavailable", True)
    alice.say(a_message("m2"))
    assert (await alice.answer("m2"))["code"] == "out_of_order"
    other = change(Kind.EDIT, "e2", "m1")
    await within(over(alice, other), "answered")
    assert (await alice.answer("e2"))["code"] == "out_of_order"
    alice.frames.clear()
    await within(over(alice, edit), "answered")
    assert (await alice.answer("e1"))["type"] == "accepted"
    alice.say(a_message("m2"))
    assert (await alice.answer("m2"))["type"] == "accepted"


async def test_a_change_that_is_refused_leaves_its_lane_open(worker: Worker) -> None:
    lane = Lane()
    assert lane.admits("e1")
    assert await say(worker, change(Kind.EDIT, "e1", "nothing"), lane) == [S.UNKNOWN]
    assert (lane.failed, lane.admits("m1")) == ([], True)


async def test_nothing_is_done_for_a_connection_that_has_closed(worker: Worker, store: Any) -> None:
    alice = await connect(worker, "alice")
    await send(worker, a_message("m1"))
    slow = troubled(worker.appends, "append")
    slow.gate.clear()
    alice.say(a_message("m2"))
    asked = over(alice, change(Kind.DELETE, "d1", "m1"))
    await until(lambda: slow.calls == 1, "the first call")
    alice.hang_up()
    await within(asked, "it gives up")
    slow.gate.set()
    await worker.committer.drained()
    assert await kinds(store, "bob") == ["message m1", "message m2"]
