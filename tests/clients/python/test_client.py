"""The client as an application uses it, against a server that follows a script."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import (
    ClientClosed,
    ClientFailed,
    InboxClient,
    Message,
    RequestError,
    SendError,
    State,
    StorageError,
    Timing,
)

from scripts.lab.timing import PATIENCE
from tests.clients.scripted.script import Close, Cut, Delay, Fault, Refuse, Status, What, When
from tests.clients.scripted.server import ScriptedServer

QUICK = Timing(ack_delay=0.002, backoff_first=0.01, backoff_most=0.02)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """At the end it must not have caught a client at fault."""
    async with ScriptedServer() as server:
        yield server
    assert server.breaches == []


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path) -> Callable[..., InboxClient]:
    """Makes clients of bob's phone, all on the same file."""

    def make(**more: Any) -> InboxClient:
        options = {"user": "bob", "device": "phone", "storage": tmp_path / "bob.sqlite3", "timing": QUICK, **more}
        return InboxClient(server.url, **options)

    return make


def deliver(server: ScriptedServer, *ids: str) -> None:
    server.deliver("bob", *({"id": id, "from": "alice", "body": {"n": id}} for id in ids))


def witness(server: ScriptedServer, *ids: str) -> None:
    """What the application will have handled, once it has been connected, for the server's judgement of acks."""

    def handled() -> set[tuple[str, str, str]]:
        began = any(session.rules.welcomed for session in server.sessions)
        return {("message", "alice", id) for id in ids} if began else set()

    server.installation("bob", "phone").handled = handled


async def acked(server: ScriptedServer, number: int) -> None:
    await server.until(lambda: server.inboxes.of("bob").stored("phone").seq >= number, f"ack of {number}")


async def ids_of(client: InboxClient, count: int) -> list[str]:
    """The next messages; the last one is left unhandled."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for message in client:
            found.append(message.id)
            if len(found) == count:
                break
    return found


# Receiving


async def test_a_message_is_handled_when_the_next_one_is_asked_for(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1", "m-2")
    deliver(server, "m-1", "m-2", "m-3")
    async with client() as first:
        assert await ids_of(first, 3) == ["m-1", "m-2", "m-3"]
        await acked(server, 2)
    async with client() as second:
        assert await ids_of(second, 1) == ["m-3"]


async def test_a_loop_that_is_left_begins_again_with_its_last_message_unless_that_was_said_to_be_handled(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1", "m-2")
    deliver(server, "m-1", "m-2")
    async with client() as bob:
        assert await ids_of(bob, 1) == ["m-1"]
        assert await ids_of(bob, 2) == ["m-1", "m-2"]
        async for message in bob:
            await bob.handled(message)
            break
        await acked(server, 2)
        with pytest.raises(ValueError, match="not the message in hand"):
            await bob.handled(message)


async def test_cancelling_whoever_waits_for_a_message_loses_none(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    deliver(server, "m-1")
    async with client() as bob:
        messages = aiter(bob)
        await anext(messages)
        waiting = asyncio.ensure_future(anext(messages))
        await acked(server, 1)  # asking for the next one was enough
        waiting.cancel()
        await asyncio.wait([waiting])
        deliver(server, "m-2")
        assert (await anext(messages)).id == "m-2"


async def test_messages_wait_until_somebody_wants_them(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    deliver(server, "m-1")
    seen: list[Message] = []
    async with client() as bob:
        await bob.connect()
        bob.drop()
        await bob.connect()
        assert server.frames("<", "ack") == []
        bob.on("message", seen.append)
        await acked(server, 1)
        assert bob.stats.repeats == 0
    assert [message.id for message in seen] == ["m-1"]


async def test_a_handler_that_raises_gets_the_message_again_before_any_other(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1", "m-2")
    seen: list[str] = []
    errors: list[dict[str, Any]] = []
    others: list[str] = []

    async def handler(message: Message) -> None:
        seen.append(message.id)
        if len(seen) < 3:
            raise RuntimeError(message.id)

    deliver(server, "m-1", "m-2")
    bob = client()
    bob.on("message", lambda message: others.append(message.id))
    bob.on("message", handler)
    bob.on("error", errors.append)
    async with bob:
        await acked(server, 2)
    assert seen == ["m-1", "m-1", "m-1", "m-2"]
    assert others == ["m-1", "m-2"]  # a handler that had it does not get it again
    assert [(error["code"], str(error["error"]), error["message"].id) for error in errors] == [
        ("handler_failed", "m-1", "m-1")
    ] * 2


async def test_a_full_disk_after_the_handler_does_not_run_it_again(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    seen: list[str] = []
    errors: list[str] = []
    twice = asyncio.Event()
    bob = client()

    def failed(error: dict[str, Any]) -> None:
        errors.append(error["code"])
        if len(errors) > 1:
            twice.set()

    bob.on("error", failed)
    async with bob:
        await bob.connect()
        database = bob._opened.storage._open_one
        database.execute("PRAGMA query_only = 1")
        bob.on("message", lambda message: seen.append(message.id))
        deliver(server, "m-1")
        await twice.wait()
        assert server.frames("<", "ack") == []
        database.execute("PRAGMA query_only = 0")
        await acked(server, 1)
    assert seen == ["m-1"]
    assert set(errors) == {"storage_failed"}


# The application's own transaction


async def test_the_applications_writes_the_cursor_and_an_answer_are_one(
    server: ScriptedServer, client: Callable[..., InboxClient], tmp_path: Path
) -> None:
    witness(server, "m-1")
    deliver(server, "m-1")
    async with client() as bob:
        async with bob.transaction() as db:
            await db.execute("CREATE TABLE mine (id TEXT)")
        message = await anext(aiter(bob))
        for attempt in range(2):
            try:
                async with bob.handling(message) as db:
                    await db.execute("INSERT INTO mine VALUES (?)", (message.id,))
                    await db.send("alice", "answer", id=f"answer-{attempt}")
                    if attempt == 0:
                        raise KeyError(message.id)
            except KeyError:
                assert (bob.cursor, bob.outbox()) == (None, [])
        await acked(server, 1)
        with pytest.raises(ValueError, match="not the message in hand"):
            await bob.handled(message)
        await server.until(lambda: server.frames("<", "send"), "the answer")
    with sqlite3.connect(tmp_path / "bob.sqlite3") as db_file:
        assert db_file.execute("SELECT id FROM mine").fetchall() == [("m-1",)]
    db_file.close()
    assert [frame["id"] for frame in server.frames("<", "send")] == ["answer-1"]


async def test_waiting_for_oneself_within_a_transaction_is_refused(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    async with client() as bob, bob.transaction():
        for wait in (bob.send("alice", 1), bob.retry("x"), bob.discard("x"), bob.close()):
            with pytest.raises(RuntimeError, match="within handling"):
                await wait
        assert bob.outbox() == []


# Sending


async def test_a_send_that_is_cancelled_goes_out_all_the_same(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    async with client() as bob:
        bob.set_online(False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bob.send("alice", "hi", id="s-1")
        bob.set_online(True)
        await server.until(lambda: server.frames(">", "accepted"), "accepted")


async def test_leaving_while_sends_wait_tells_them_and_keeps_them(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    async with client() as bob:
        bob.set_online(False)
        waiting = [asyncio.create_task(bob.send("alice", n, id=f"s-{n}")) for n in range(3)]
        await asyncio.sleep(0)
    for task in waiting:
        with pytest.raises(SendError) as caught:
            await task
        assert caught.value.code == "closed"
    told: list[str] = []
    again = client()
    again.on("accepted", lambda event: told.append(event["id"]))
    async with again:
        assert [item.id for item in again.outbox()] == ["s-0", "s-1", "s-2"]
        last = await again.send("alice", 2, id="s-2")
    assert not last.duplicate
    assert told == ["s-0", "s-1", "s-2"]


async def test_an_accepted_message_whose_answer_was_lost_is_accepted_once(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(When.AFTER, What.SEND, Cut()))
    async with client() as bob:
        assert (await bob.send("alice", "hi")).duplicate
        assert bob.outbox() == []
    assert len(server.inboxes.of("alice").messages()) == 1


async def test_an_answer_that_comes_late_is_an_answer(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(When.BEFORE, What.ACCEPTED, Delay(0.05)))
    async with client() as bob:
        one, same = await asyncio.gather(bob.send("alice", 1, id="s-1"), bob.send("alice", 1, id="s-1"))
        assert one == same
    assert len(server.frames("<", "send")) == 1


async def test_an_id_belongs_to_one_message(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    async with client(max_outbox=1) as bob:
        bob.set_online(False)
        waiting = asyncio.create_task(bob.send("alice", 1, id="s-1"))
        await asyncio.sleep(0)
        for body, id, code in ((2, "s-1", "id_reused"), (2, "s-2", "outbox_full")):
            with pytest.raises(SendError) as caught:
                await bob.send("alice", body, id=id)
            assert (caught.value.code, caught.value.id) == (code, id)
    await asyncio.wait([waiting])


@pytest.mark.parametrize("body", (float("nan"), {"\ud800": 1}, 2**64, object(), [[[[]]]] * 0 or {1, 2}))
async def test_a_body_that_is_no_json_is_refused_before_it_is_stored(
    body: Any, server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    async with client() as bob:
        with pytest.raises(SendError) as caught:
            await bob.send("alice", body)
        assert caught.value.code == "invalid_field"
        assert bob.outbox() == []


async def test_a_refusal_for_good_is_told_and_stays_until_it_is_retried(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(When.BEFORE, What.SEND, Refuse("inbox_full")))
    async with client() as bob:
        with pytest.raises(SendError) as caught:
            await bob.send("alice", 1, id="s-1")
        assert caught.value.code == "inbox_full"
        with pytest.raises(SendError):  # it has failed, and nobody asked for another try
            await bob.send("alice", 1, id="s-1")
        with pytest.raises(LookupError):
            await bob.retry("s-2")
        await bob.retry("s-1")
        await server.until(lambda: server.frames(">", "accepted"), "accepted")


async def test_discarding_tells_whoever_waits(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    async with client() as bob:
        bob.set_online(False)
        waiting = asyncio.create_task(bob.send("alice", 1, id="s-1"))
        await asyncio.sleep(0)
        await bob.discard("s-1")
        with pytest.raises(SendError) as caught:
            await waiting
        assert caught.value.code == "discarded"
        with pytest.raises(LookupError):
            await bob.discard("s-1")
    again = client()
    await again.open()
    assert again.outbox() == []
    await again.close()


# Connecting


@pytest.mark.parametrize("status", (403, 429, 503))
async def test_a_refused_handshake_is_told_and_tried_again(
    status: int, server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(When.BEFORE, What.CONNECT, Status(status)))
    bob = client()
    errors: list[dict[str, Any]] = []
    bob.on("error", errors.append)
    await bob.connect()
    assert [(error["code"], error["status"]) for error in errors] == [("connect_failed", status)]
    await bob.close()


@pytest.mark.parametrize("when", (When.BEFORE, When.AFTER))
async def test_a_final_close_code_ends_loops_and_is_told_to_whoever_connects(
    when: When, server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(when, What.WELCOME, Close(4503, "forbidden")))
    async with client() as bob:
        with pytest.raises(ClientFailed) as caught:
            await anext(aiter(bob))
        assert (caught.value.code, caught.value.reason) == (4503, "forbidden")
        assert bob.state is State.FAILED
        server.installation("bob", "phone").asked_to_connect()
        await bob.connect()
        assert bob.failure is None


async def test_closing_ends_loops_and_is_for_good(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    async with client() as bob:
        loop = asyncio.create_task(ids_of(bob, 1))
        await bob.connect()
        await bob.close()
        assert await loop == []
        with pytest.raises(ClientClosed):
            await bob.connect()
        with pytest.raises(SendError):
            await bob.send("alice", 1)


async def test_a_handler_may_close_the_client_and_its_message_comes_again(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    deliver(server, "m-1")
    closed = asyncio.Event()
    bob = client()

    async def handler(message: Message) -> None:
        await bob.close()
        closed.set()

    bob.on("message", handler)
    async with bob, asyncio.timeout(PATIENCE):
        await closed.wait()
    async with client() as again:
        assert await ids_of(again, 1) == ["m-1"]


async def test_closing_does_not_wait_for_a_handler_that_never_ends(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    deliver(server, "m-1")
    began = asyncio.Event()
    bob = client()

    async def handler(message: Message) -> None:
        async with bob.handling(message):
            began.set()
            await asyncio.Event().wait()

    bob.on("message", handler)
    async with asyncio.timeout(PATIENCE):
        async with bob:
            waiting = asyncio.create_task(bob.send("alice", 1))  # cannot be stored while the handler has its turn
            await began.wait()
        with pytest.raises(SendError):
            await waiting


async def test_each_try_has_a_higher_attempt_over_restarts_too(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    for _ in range(2):
        bob = client()
        await bob.connect()
        bob.drop()
        await bob.connect()
        await bob.close()
    assert [frame["attempt"] for frame in server.frames("<", "hello")] == [1, 2, 3, 4]


async def test_a_device_without_a_name_gets_one_for_good(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    names = []
    for _ in range(2):
        async with client(device=None) as bob:
            names.append(bob.device)
    assert names[0] == names[1] is not None


async def test_one_file_is_one_devices(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    async with client():
        with pytest.raises(StorageError) as caught:
            await client().open()
        assert caught.value.code == "locked"
    for other in ({"user": "carol"}, {"device": "tablet"}):
        with pytest.raises(StorageError) as caught:
            await client(**other).open()
        assert caught.value.code == "other_owner"


async def test_another_users_welcome_is_a_failure(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    server.welcome["user"] = "mallory"
    with pytest.raises(ClientFailed, match="other_owner"):
        await client().connect()
    bob = client(storage=None, device="tablet")
    with pytest.raises(ClientFailed):
        await bob.connect()
    await bob.close()


async def test_without_a_path_everything_works_and_says_that_nothing_lasts(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    told: list[dict[str, Any]] = []
    bob = client(storage=None)
    bob.on("storage", told.append)
    async with bob:
        await bob.send("alice", 1)
    assert [(one["kind"], one["durable"]) for one in told] == [("memory", False)]


async def test_a_listener_that_raises_changes_nothing_and_is_told(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    errors: list[str] = []
    bob = client()
    bob.on("state", lambda _: 1 / 0)
    bob.on("error", lambda error: errors.append(error["code"]))
    await bob.connect()
    await bob.close()
    assert set(errors) == {"listener_failed"}


async def test_history_is_a_question_that_a_lost_connection_answers(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    deliver(server, "m-1", "m-2")
    bob = client()
    with pytest.raises(RequestError, match="not_connected"):
        await bob.history()
    async with bob:
        await bob.connect()
        entries, more = await bob.history(limit=1)
        assert ([entry["id"] for entry in entries], more) == (["m-2"], True)
        asking = asyncio.create_task(bob.history())
        await asyncio.sleep(0)
        bob.drop()
        with pytest.raises(RequestError, match="not_connected"):
            await asking


async def test_a_service_that_sends_nonsense_is_left_and_tried_again(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    bob = client(timing=replace(QUICK, patience=0.05))
    errors: list[str] = []
    bob.on("error", lambda error: errors.append(error["code"]))
    await bob.connect()
    await server.open[-1].connection.send('{"type": "message", "cursor": "1-1"}')
    await server.until(lambda: server.handshakes == 2, "another try")
    assert errors == ["malformed_json"]
    await bob.close()
