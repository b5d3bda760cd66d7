"""Connections, closing, and whose file it is; with a server that follows a script."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
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
)

from scripts.lab.timing import PATIENCE
from tests.clients.python.helpers import QUICK, deliver, ids_of
from tests.clients.scripted.script import Close, Fault, Status, What, When
from tests.clients.scripted.server import ScriptedServer


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
