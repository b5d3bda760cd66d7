"""Cancellations and goodbyes at bad moments: nothing dies silently, nothing is claimed that is not on disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import ClientClosed, InboxClient, Message, SendError, State
from inboxd_client.outbox import ItemState

from scripts.lab.timing import PATIENCE
from tests.clients.python.helpers import acked, deliver, witness
from tests.clients.scripted.server import ScriptedServer


async def test_a_handler_whose_awaited_thing_was_cancelled_gets_the_message_again(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1", "m-2")
    seen: list[str] = []
    errors: list[str] = []

    async def handler(message: Message) -> None:
        seen.append(message.id)
        if len(seen) == 1:
            other = asyncio.get_running_loop().create_future()
            other.cancel()
            await other

    deliver(server, "m-1", "m-2")
    bob = client()
    bob.on("message", handler)
    bob.on("error", lambda error: errors.append(error["code"]))
    async with bob:
        await acked(server, 2)
    assert seen == ["m-1", "m-1", "m-2"]
    assert errors == ["handler_failed"]


async def test_a_client_whose_delivery_was_cancelled_does_not_look_alive_and_can_be_connected_again(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    failed = asyncio.Event()

    async def cancelled(message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    bob = client()
    listening = bob.on("message", cancelled)
    bob.on("state", lambda change: failed.set() if change.state is State.FAILED else None)
    witness(server, "m-1")
    async with bob:
        deliver(server, "m-1")
        async with asyncio.timeout(PATIENCE):
            await failed.wait()
        assert bob.failure is not None
        assert bob.failure.reason == "internal"
        listening()
        bob.on("message", lambda _: None)
        await bob.connect()
        await acked(server, 1)


async def test_handled_during_the_goodbye_is_on_disk(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    deliver(server, "m-1")
    async with client() as bob:
        message = await anext(aiter(bob))
        bob._opened.delivery.end(ClientClosed("closing"))
        await bob.handled(message)
        assert bob.cursor == server.frames(">", "message")[0]["cursor"]


async def test_handled_during_the_goodbye_with_a_full_disk_says_that_it_is_not(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    deliver(server, "m-1")
    async with client() as bob:
        message = await anext(aiter(bob))
        bob._opened.storage._open_one.execute("PRAGMA query_only = 1")
        bob._opened.delivery.end(ClientClosed("closing"))
        with pytest.raises(ClientClosed):
            await bob.handled(message)
        assert bob.cursor is None


@pytest.mark.parametrize("change", ("discard", "retry"))
async def test_what_is_discarded_or_retried_as_it_fails_does_not_come_back_as_failed(
    change: str, server: ScriptedServer, client: Callable[..., InboxClient], tmp_path: Path
) -> None:
    stored = asyncio.Event()
    bob = client()
    bob.on("outbox", lambda _: stored.set())
    async with bob:
        bob.set_online(False)
        waiting = asyncio.create_task(bob.send("alice", 1, id="s-1"))
        async with asyncio.timeout(PATIENCE):
            await stored.wait()
        sending = bob._opened.sending
        sending.refused({"id": "s-1", "code": "refused", "retryable": False}, 0.0)
        await getattr(bob, change)("s-1")
    with pytest.raises(SendError):
        await waiting
    with sqlite3.connect(tmp_path / "bob.sqlite3") as file:
        rows = file.execute("SELECT id, state FROM inboxd_outbox").fetchall()
    file.close()
    assert rows == ([] if change == "discard" else [("s-1", ItemState.QUEUED)])


async def test_a_send_that_is_cancelled_leaves_no_waiter(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    async with client() as bob:
        bob.set_online(False)
        for _ in range(3):
            task = asyncio.create_task(bob.send("alice", 1, id="s-1"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        assert bob._opened.sending._waiters == {}


async def test_a_close_that_was_cancelled_is_completed_by_the_next(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    going, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn(_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            going.set()
            await may_end.wait()

    bob = client()
    bob.on("live", stubborn)
    await bob.connect()
    await asyncio.sleep(0)
    closing = asyncio.create_task(bob.close())
    async with asyncio.timeout(PATIENCE):
        await going.wait()
    closing.cancel()
    await asyncio.wait([closing])
    was_open = bob._opened.storage.is_open
    may_end.set()
    await bob.close()
    assert (was_open, bob._opened.storage.is_open) == (True, False)
    async with client() as again:
        assert again.outbox() == []
