"""The client, its examples and the real service: processes die on both sides."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from inboxd_client import Acceptance, InboxClient, InboxSender, Message, Outgoing, SendError, State, StateChange, Timing

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, UNIT
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
