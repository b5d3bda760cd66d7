"""Entries that are no messages, as an application gets them from a server that follows a script."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import InboxClient, Message

from scripts.lab.timing import PATIENCE
from tests.clients.python.helpers import acked
from tests.clients.scripted.server import ScriptedServer

RECEIPT: dict[str, Any] = {"type": "receipt", "target": "m", "kind": "delivered", "by": "alice"}


def whatever_was_sent_counts_as_handled(server: ScriptedServer) -> None:
    phone = server.installation("bob", "phone")
    phone.handled = lambda: phone.received


def arrive(server: ScriptedServer) -> None:
    server.deliver(
        "bob",
        {**RECEIPT, "id": "r-1"},
        {"id": "m-1", "from": "alice", "body": 1},
        {**RECEIPT, "id": "r-2"},
        {"type": "novel", "id": "n-1"},
        {"id": "m-2", "from": "alice", "body": 2},
    )


def id_of(entry: Any) -> str:
    return entry.id if isinstance(entry, Message) else entry["id"]


async def first(count: int, entries: Any) -> list[str]:
    found = []
    async with asyncio.timeout(PATIENCE):
        async for entry in entries:
            found.append(id_of(entry))
            if len(found) == count:
                break
    return found


async def test_a_loop_over_entries_gets_everything_in_its_order(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    whatever_was_sent_counts_as_handled(server)
    arrive(server)
    async with client() as bob:
        assert await first(2, bob.entries()) == ["r-1", "m-1"]
        assert await first(4, bob.entries()) == ["m-1", "r-2", "n-1", "m-2"]  # it begins with the last one
        await acked(server, 4)


async def test_entries_wait_for_the_loop_between_its_turns(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    whatever_was_sent_counts_as_handled(server)
    arrive(server)
    async with client() as bob:
        entries = bob.entries()
        for wanted in ("r-1", "m-1", "r-2"):
            assert id_of(await anext(entries)) == wanted
            await bob.connect()  # many turns of the event loop
        assert server.inboxes.of("bob").stored("phone").seq <= 2


async def test_a_loop_over_messages_passes_others_after_their_handlers(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    whatever_was_sent_counts_as_handled(server)
    seen: list[str] = []
    bob = client()

    async def slowly(frame: dict[str, Any]) -> None:
        await asyncio.sleep(0.01)
        seen.append(frame["id"])

    bob.on("receipt", slowly)
    bob.on("entry", slowly)
    arrive(server)
    async with bob:
        messages = aiter(bob)
        assert (await anext(messages)).id == "m-1"
        assert seen == ["r-1"]
        assert (await anext(messages)).id == "m-2"
        assert seen == ["r-1", "r-2", "n-1"]


async def test_a_loop_over_messages_after_one_over_entries_goes_on_without_the_others(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    whatever_was_sent_counts_as_handled(server)
    arrive(server)
    async with client() as bob:
        assert await first(1, bob.entries()) == ["r-1"]
        assert await first(2, bob.messages()) == ["m-1", "m-2"]


async def test_a_receipt_and_the_applications_writes_are_one(
    server: ScriptedServer, client: Callable[..., InboxClient], tmp_path: Path
) -> None:
    whatever_was_sent_counts_as_handled(server)
    server.deliver("bob", {**RECEIPT, "id": "r-1"}, {"id": "m-1", "from": "alice", "body": 1})
    async with client() as bob:
        async with bob.transaction() as db:
            await db.execute("CREATE TABLE ticks (id TEXT)")
        entries = bob.entries()
        receipt = await anext(entries)
        async with bob.handling(receipt) as db:
            await db.execute("INSERT INTO ticks VALUES (?)", (id_of(receipt),))
        with pytest.raises(ValueError, match="not the entry in hand"):
            await bob.handled(receipt)
        message = await anext(entries)
        assert isinstance(message, Message)
        async with bob.handling(message) as db:
            await db.read(message)
            await db.react(message, {"emoji": "👍"}, id="reaction")
        await server.until(lambda: server.frames("<", "read") and server.frames("<", "react"), "both are said")
    with sqlite3.connect(tmp_path / "bob.sqlite3") as file:
        assert file.execute("SELECT id FROM ticks").fetchall() == [("r-1",)]
    file.close()
