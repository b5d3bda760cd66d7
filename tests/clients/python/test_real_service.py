"""The client, its examples and the real service: processes die on both sides."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import (
    Acceptance,
    InboxClient,
    InboxSender,
    Message,
    Outgoing,
    RequestError,
    SendError,
    State,
    StateChange,
    Timing,
)

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, POLL, UNIT, eventually_async
from tests.support.issuer import SECRET, Issuer

EXAMPLES = Path(__file__).parents[3] / "clients/python/examples"
QUICK = Timing(backoff_first=0.05, backoff_most=0.2)


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


async def example(name: str, *words: str) -> Process:
    environ = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    return await asyncio.create_subprocess_exec(sys.executable, str(EXAMPLES / name), *words, stdout=PIPE, env=environ)


@pytest.fixture
async def bot(service: Service, tmp_path: Path, named: Callable[[str], str]) -> AsyncIterator[Callable[[], object]]:
    """Starts the bot, always on the same file."""
    started: list[Process] = []
    user, path = named("echo"), str(tmp_path / "bot.sqlite3")

    async def start() -> tuple[str, Process]:
        started.append(await example("bot.py", service.url, user, path))
        return user, started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_bot_answers_each_message_once_however_often_it_and_workers_are_killed(
    service: Service, bot: Callable[..., object], alice: str, tmp_path: Path
) -> None:
    count, answers = 60, list[Message]()
    async with InboxClient(service.url, user=alice, storage=tmp_path / "alice.sqlite3", timing=QUICK) as client:
        user, process = await bot()  # type: ignore[misc]
        sends = [asyncio.create_task(client.send(user, {"n": n})) for n in range(count)]

        async def killing() -> None:
            nonlocal process
            for turn in range(4):
                await asyncio.sleep(random.uniform(0.05, 0.3))  # anywhere in the bot's work
                process.kill()
                await process.communicate()
                if turn == 1:
                    os.kill(random.choice(await asyncio.to_thread(service.worker_pids)), signal.SIGKILL)
                _, process = await bot()  # type: ignore[misc]

        killer = asyncio.create_task(killing())
        async with asyncio.timeout(2 * PATIENCE):
            async for message in client:
                if message.sender == user:
                    answers.append(message)
                    if len(answers) == count:
                        await client.handled(message)
                        break
            await killer
            ids = [(await send).id for send in sends]
    assert [message.body["to"] for message in answers] == ids
    assert [int(message.body["text"].split()[1]) for message in answers] == list(range(1, count + 1))
    with closing(sqlite3.connect(tmp_path / "bot.sqlite3")) as db:
        assert db.execute("SELECT who, messages FROM counts").fetchall() == [(alice, count)]


async def test_the_backends_second_run_sends_nothing_twice(
    service: Service, alice: str, named: Callable[[str], str]
) -> None:
    shop = named("shop")
    said = []
    for _ in range(2):
        process = await example("backend.py", service.url, shop, alice)
        out, _ = await process.communicate()
        said.append(out.decode().splitlines())
        assert process.returncode == 0
    assert said[0] == ["order-17-sent is fsynced", "parcel-0: in", "parcel-1: in", "parcel-2: in"]
    assert said[1] == ["order-17-sent is fsynced already", *said[0][1:]]
    async with InboxClient(service.url, user=alice) as client:
        messages = aiter(client)
        async with asyncio.timeout(PATIENCE):
            assert [(await anext(messages)).id for _ in range(4)] == [
                "order-17-sent",
                "parcel-0",
                "parcel-1",
                "parcel-2",
            ]


async def test_sends_without_a_network_arrive_in_order_when_it_is_back(service: Service, alice: str, bob: str) -> None:
    async with InboxClient(service.url, user=alice) as client, InboxClient(service.url, user=bob) as other:
        client.set_online(False)
        sends = [asyncio.create_task(client.send(bob, n, expires_in=600)) for n in range(200)]
        await asyncio.sleep(0)
        assert client.state is State.OFFLINE
        client.set_online(True)
        async with asyncio.timeout(PATIENCE):
            assert all([not (await send).duplicate for send in sends])
            messages = aiter(other)
            assert [(await anext(messages)).body for _ in sends] == list(range(200))


async def test_the_same_device_elsewhere_ends_this_one_for_good(service: Service, alice: str) -> None:
    async with InboxClient(service.url, user=alice, device="phone") as first:
        await first.connect()
        second = InboxClient(service.url, user=alice, device="phone")
        await second.connect()
        with pytest.raises(Exception, match="4509"):
            await anext(aiter(first))
        assert first.state is State.FAILED
        await second.close()


async def test_a_token_is_renewed_on_the_open_connection(serve: Callable[..., Service], alice: str, bob: str) -> None:
    service = serve(auth="jwt", jwt_secret=SECRET, operator=operator)
    issuer, renewed, lasts = Issuer(), asyncio.Event(), 4 * UNIT
    asked: list[bool] = []

    async def get_token(refresh: bool) -> str:
        asked.append(refresh)
        if refresh:
            renewed.set()
        return issuer.token(alice, lasts=3600 if refresh else lasts)

    changes: list[StateChange] = []
    client = InboxClient(service.url, get_token=get_token)
    client.on("state", changes.append)
    async with client:
        await client.connect()
        assert client.user == alice
        async with asyncio.timeout(PATIENCE):
            await renewed.wait()
            await asyncio.sleep(lasts / 4)  # past the end of the first
            assert isinstance(await client.send(bob, "hi"), Acceptance)
    assert asked == [False, True]
    assert [change.state for change in changes] == ["connecting", "replaying", "live", "closed"]

    def send() -> None:
        with InboxSender(service.url, token=issuer.token("shop", scope="send:any"), sender=bob) as sender:
            assert sender.send(alice, 1).recipients[0]["to"] == alice
            (refused,) = sender.send_batch([Outgoing(alice, "x" * 70_000)])
            assert isinstance(refused, SendError)
            assert refused.code == "too_large"

    await asyncio.to_thread(send)


def operator() -> dict[str, str]:
    return {"Authorization": f"Bearer {Issuer().token('operator', scope='ops')}"}


# Around a message


async def told(events: list[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first event of these that is wanted."""

    async def here() -> dict[str, Any] | None:
        return next(filter(wanted, events), None)

    found = await eventually_async(here, "told of it")
    assert found is not None
    return found


class Person:
    """A client whose entries and events are kept."""

    def __init__(self, service: Service, user: str, **options: Any) -> None:
        self.user, self.events = user, list[dict[str, Any]]()
        self.client = InboxClient(service.url, user=user, timing=QUICK, **options)
        self.client.on("message", lambda message: self.events.append(message.frame))
        for kind in ("receipt", "read", "edit", "delete", "react", "group", "deleted", "signal", "presence"):
            self.client.on(kind, self.events.append)

    async def told(self, type: str, **fields: Any) -> dict[str, Any]:
        """The first event that has these fields."""
        return await told(self.events, lambda event: {"type": type, **fields}.items() <= event.items())


@pytest.fixture
async def people(service: Service, named: Callable[[str], str]) -> AsyncIterator[list[Person]]:
    """Three, live."""
    found = [Person(service, named(name)) for name in ("ann", "ben", "cleo")]
    async with AsyncExitStack() as stack:
        for person in found:
            await stack.enter_async_context(person.client)
            await person.client.connect()
        yield found


async def test_ticks_and_changes_of_a_message_between_two(people: list[Person]) -> None:
    ann, ben, _ = people
    sent = await ann.client.send(ben.user, {"text": "helo"})
    message = await ben.told("message", id=sent.id)
    await ann.told("receipt", kind="delivered", target=sent.id, by=ben.user)
    await ben.client.read(message)
    assert (await ann.told("receipt", kind="read", target=sent.id, by=ben.user))["id"] == f"read:{sent.id}"
    await ben.told("read", **{"from": ann.user}, upto=sent.id)
    async with asyncio.timeout(PATIENCE):
        while ben.client._opened.reading._reads.to_say():  # noqa: ASYNC110 - stored a moment after it was told
            await asyncio.sleep(POLL)
    mine = await ann.told("message", id=sent.id)
    await ann.client.edit(mine, {"text": "hello"})
    assert (await ben.told("edit", target=sent.id))["body"] == {"text": "hello"}
    await ben.client.react(message, {"emoji": "👍"})
    assert (await ann.told("react", target=sent.id, **{"from": ben.user}))["target_from"] == ann.user
    await ann.client.delete(mine)
    await ben.told("delete", target=sent.id)
    entries, more = await ben.client.history(with_user=ann.user)
    assert [entry["type"] for entry in entries][-1] == "deleted"
    assert not more
    fate = await ann.client.fate(sent.id, to=ben.user)
    assert fate["recipients"][0]["state"] in {"read", "trimmed"}


async def test_a_group_from_its_making_to_its_end(people: list[Person]) -> None:
    ann, ben, cleo = people
    team = f"team-{ann.user}"
    await ann.client.put_group(team, [ben.user], "The team")
    await ben.told("group", group=team, event="created")
    await ann.client.add_member(team, cleo.user)
    await cleo.told("group", group=team, event="joined", user=cleo.user)
    sent = await ben.client.send_to_group(team, {"n": 1})
    assert (sent.group, sent.members) == (team, 3)
    for person in people:
        message = await person.told("message", id=sent.id)
        assert (message["group"], message["seq"]) == (team, sent.seq)
    await cleo.client.read(await cleo.told("message", id=sent.id))
    await cleo.told("read", group=team, upto=sent.seq)
    marks = {mark["user"]: mark for mark in await ann.client.marks(team)}
    reached = marks[cleo.user]["read"]
    assert reached is not None
    assert reached["seq"] == sent.seq
    await ann.client.react(await ann.told("message", id=sent.id), {"emoji": "🎉"})
    await ben.told("react", target=sent.id, group=team)
    assert set((await ben.client.group(team))["members"]) == {person.user for person in people}
    assert team in [group["group"] for group in await ben.client.groups()]
    assert team in [talk.get("group") for talk in await cleo.client.conversations()]
    await cleo.client.remove_member(team, cleo.user)
    with pytest.raises(SendError, match="no_such_group"):
        await cleo.client.send_to_group(team, 1)
    await ann.client.delete_group(team)
    await ben.told("group", group=team, event="deleted")
    with pytest.raises(RequestError, match="no_such_group"):
        await ben.client.group(team)


async def test_signals_presence_and_blocks(people: list[Person]) -> None:
    ann, ben, cleo = people
    ann.client.watch([ben.user, "nobody-at-all"])
    await ann.told("presence", user=ben.user, status="online")
    await ann.told("presence", user="nobody-at-all", status="offline")
    assert ben.client.signal({"typing": True}, to=ann.user)
    assert (await ann.told("signal", **{"from": ben.user}))["body"] == {"typing": True}
    [seen] = await cleo.client.presence([ben.user])
    assert seen["status"] == "online"
    await ben.client.close()
    assert (await ann.told("presence", user=ben.user, status="offline"))["last_seen"]
    await ann.client.block(cleo.user)
    assert await ann.client.blocks() == [cleo.user]
    with pytest.raises(SendError, match="refused"):
        await cleo.client.send(ann.user, 1)
    await ann.client.unblock(cleo.user)
    await cleo.client.send(ann.user, 2)
    assert await ann.client.blocks() == []


async def test_a_backend_makes_groups_sends_changes_and_asks(service: Service, people: list[Person]) -> None:
    ann, ben, _ = people
    shop = f"shop-{ann.user}"

    def work() -> None:
        with InboxSender(service.url, user=shop) as sender:
            sender.put_group(shop, [ann.user, ben.user], "Parcel 17")
            sent = sender.send_to_group(shop, {"text": "on its way"}, "way")
            assert sent.members == 3
            sender.edit("way", {"text": "is there"}, group=shop, id="there")
            sender.send(ann.user, "mistaken", "oops")
            sender.delete("oops", to=ann.user, id="gone")
            assert sender.fate("oops", to=ann.user)["recipients"][0]["to"] == ann.user
            assert set(sender.group(shop)["members"]) == {shop, ann.user, ben.user}

    await asyncio.to_thread(work)
    assert (await ben.told("edit", target="way"))["body"] == {"text": "is there"}
    await ann.told("delete", target="oops")
