"""Sends as an application makes them, to a server that follows a script."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from inboxd_client import (
    InboxClient,
    SendError,
)

from tests.clients.scripted.script import Cut, Delay, Fault, Refuse, What, When
from tests.clients.scripted.server import ScriptedServer


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
    with pytest.raises(SendError, match="closed"):  # fetched, or the collector tells of it in another test
        await waiting


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
