"""Changes, reads, signals and watches as an application makes them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from inboxd_client import InboxClient, Presence, RequestError, SendError, State

from scripts.lab.timing import PATIENCE
from tests.clients.python.helpers import witness
from tests.clients.scripted.script import Cut, Fault, Refuse, What, When
from tests.clients.scripted.server import ScriptedServer

MINE: dict[str, Any] = {"id": "s-1", "from": "bob", "to": "alice"}
THEIRS: dict[str, Any] = {"id": "m-1", "from": "alice", "to": "bob"}


async def test_changes_are_accepted_in_the_order_they_were_asked_for(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.play(Fault(When.AFTER, What.SEND, Cut(), 2))
    async with client() as bob:
        answers = await asyncio.gather(
            bob.send("alice", 1, id="s-1"),
            bob.edit(MINE, 2, id="e-1"),
            bob.react(MINE, {"emoji": "👍"}, id="r-1"),
            bob.delete(MINE, id="d-1"),
        )
    assert [answer.id for answer in answers] == ["s-1", "e-1", "r-1", "d-1"]
    assert [frame["type"] for frame in server.inboxes.of("alice").sent()] == ["message", "edit", "react", "delete"]


async def test_a_send_to_a_group_is_answered_with_its_number(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    server.gather("team", "alice", "bob")
    server.inboxes.refusing["alice"] = "inbox_full"
    server.installation("bob", "phone").handled = lambda: server.installation("bob", "phone").received
    async with client() as bob:
        answer = await bob.send_to_group("team", {"n": 1})
        with pytest.raises(SendError, match="no_such_group"):
            await bob.send_to_group("others", 1)
    assert (answer.group, answer.seq, answer.members, answer.refused) == ("team", 2, 2, 1)


async def test_what_is_read_is_on_disk_when_the_call_returns(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    server.deliver("bob", {"id": "m-1", "from": "alice", "body": 1})
    async with client() as bob:
        message = await anext(aiter(bob))
        await bob.handled(message)
        bob.set_online(False)
        await bob.read(message)
    assert server.frames("<", "read") == []
    async with client() as again:
        await server.until(lambda: server.frames("<", "read"), "said")
        with pytest.raises(ValueError, match="not a message"):
            await again.read({})


async def test_a_refusal_for_now_of_a_read_is_nothing_to_be_told_of(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    witness(server, "m-1")
    server.deliver("bob", {"id": "m-1", "from": "alice", "body": 1})
    errors, told = list[str](), asyncio.Event()
    server.play(Fault(When.BEFORE, What.READ, Refuse("unavailable")))
    bob = client()
    bob.on("error", lambda error: errors.append(error["code"]))
    bob.on("error", lambda _: told.set())
    async with bob:
        await bob.read(await anext(aiter(bob)))
        await server.until(lambda: len(server.frames("<", "read")) == 2, "said again")
        await bob.read({"group": "nowhere", "seq": 1})
        await server.until(lambda: len(server.frames(">", "error")) == 2, "refused")
        async with asyncio.timeout(PATIENCE):
            await told.wait()
    assert errors == ["no_such_group"]


async def test_signals_are_for_now_or_never(server: ScriptedServer, client: Callable[..., InboxClient]) -> None:
    bob = client()
    bob.on("state", lambda change: change.state is State.REPLAYING and bob.signal({"early": True}, to="alice"))
    assert not bob.signal({"typing": True}, to="alice")
    async with bob:
        assert not bob.signal({"typing": True}, to="alice")
        await bob.connect()
        assert bob.signal({"typing": True}, to="alice")
        await server.until(lambda: server.frames("<", "signal"), "it went out")
        for to, group, body in (("a", "b", 1), (None, None, 1), ("a b", None, 1), ("a", None, "x" * 1025)):
            with pytest.raises(RequestError):
                bob.signal(body, to=to, group=group)
    assert len(server.frames("<", "signal")) == 1


async def test_two_hundred_may_be_watched_and_no_more(
    server: ScriptedServer, client: Callable[..., InboxClient]
) -> None:
    told: list[Presence] = []
    async with client() as bob:
        bob.on("presence", told.append)
        bob.watch(f"u{n}" for n in range(199))  # before it is connected
        bob.watch(["u0", "u199"])
        bob.watch([])
        for wrong in (["u200"], ["a b"]):
            with pytest.raises(RequestError, match="invalid_field"):
                bob.watch(wrong)
        bob.unwatch(["nobody"])
        await server.until(lambda: len(server.frames(">", "presence")) >= 200, "told of each")
        bob.unwatch(["u0"])
        bob.watch(["u200"])
        await server.until(lambda: server.frames("<", "unwatch"), "said")
    assert server.frames("<", "unwatch") == [{"type": "unwatch", "users": ["u0"]}]
