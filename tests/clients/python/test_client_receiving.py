"""Messages as an application gets them, from a server that follows a script."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import (
    InboxClient,
    Message,
)

from tests.clients.python.helpers import acked, deliver, ids_of, witness
from tests.clients.scripted.server import ScriptedServer


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
        with pytest.raises(ValueError, match="not the entry in hand"):
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
        with pytest.raises(ValueError, match="not the entry in hand"):
            await bob.handled(message)
        await server.until(lambda: server.frames("<", "send"), "the answer")
    with sqlite3.connect(tmp_path / "bob.sqlite3") as db_file:
        assert db_file.execute("SELECT id FROM mine").fetchall() == [("m-1",)]
        stored = db_file.execute("SELECT value FROM inboxd_meta WHERE name = 'cursor'").fetchone()
        assert stored == (server.frames(">", "message")[0]["cursor"],)
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
