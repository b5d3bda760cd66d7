"""The runs: each does the same every time, step by step, so that nothing depends on who was faster."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from scripts.bench.content import BODY, batch, message
from scripts.bench.http_client import Answer, HttpConnection, connect
from scripts.bench.ws_client import Endpoint
from scripts.lab.redis_server import RedisServer
from tests.support.issuer import Issuer
from tests.work.device import Device
from tests.work.record import Work
from tests.work.stage import Stage, staged

SINGLE, ROUNDS, TOGETHER, BATCH, BACKLOG, MEMBERS = 50, 10, 64, 100, 1000, 100
OK = 200


@asynccontextmanager
async def pair(stage: Stage, apart: bool = True) -> AsyncIterator[tuple[Device, Device]]:
    """Who sends, and who gets; on two workers, or on one."""
    alice, bob = await stage.device(0, "alice"), await stage.device(1 if apart else 0, "bob")
    try:
        yield alice, bob
    finally:
        alice.leave()
        bob.leave()


def send(number: int) -> bytes:
    return b'{"type":"send","id":"m-%d","to":"bob","body":%b}' % (number, BODY)


async def rounds(stage: Stage, alice: Device, bob: Device, count: int, each: int) -> None:
    """So many times: some messages in one frame; all accepted, delivered, acked, and that stored, before the next."""
    begun = bob.came["message"]
    for number in range(begun, begun + count * each, each):
        alice.say(*(send(n) for n in range(number, number + each)))
        done = number + each
        await alice.until(lambda done=done: alice.came["accepted"] >= done, "accepted")  # type: ignore[misc]
        await bob.until(lambda done=done: bob.came["message"] >= done, "delivered")  # type: ignore[misc]
        await stage.stored(bob)


async def lone(stage: Stage) -> Work:
    async with pair(stage) as (alice, bob):
        await rounds(stage, alice, bob, 2, 1)  # what is done once only, is done
        return await stage.count(SINGLE, lambda: rounds(stage, alice, bob, SINGLE, 1))


async def together(stage: Stage) -> Work:
    async with pair(stage) as (alice, bob):
        await rounds(stage, alice, bob, 1, TOGETHER)
        return await stage.count(ROUNDS * TOGETHER, lambda: rounds(stage, alice, bob, ROUNDS, TOGETHER))


async def short_cut(stage: Stage) -> Work:
    async with pair(stage, apart=False) as (alice, bob):
        await rounds(stage, alice, bob, 1, TOGETHER)
        return await stage.count(ROUNDS * TOGETHER, lambda: rounds(stage, alice, bob, ROUNDS, TOGETHER))


async def whole(stage: Stage) -> Work:
    """The sender has its copies, and the receipt for them all, before it goes on."""

    async def run(count: int) -> None:
        for _ in range(count):
            had = alice.came["receipt"]
            await rounds(stage, alice, bob, 1, TOGETHER)
            await alice.until(lambda had=had: alice.came["receipt"] > had, "receipt")  # type: ignore[misc]
            await stage.stored(alice)

    async with pair(stage) as (alice, bob):
        await run(1)
        return await stage.count(ROUNDS * TOGETHER, lambda: run(ROUNDS))


async def replayed(stage: Stage) -> Work:
    """For each entry of a backlog."""
    async with pair(stage) as (alice, bob):
        bob.acks = False
        bob.leave()
        for at in range(0, BACKLOG, TOGETHER):
            alice.say(*(send(n) for n in range(at, min(BACKLOG, at + TOGETHER))))
        await alice.until(lambda: alice.came["accepted"] >= BACKLOG, "accepted")
        again = Device(stage.ports[1], "bob")

        async def run() -> None:
            await again.connect()
            await again.until(lambda: again.came["message"] >= BACKLOG, "delivered")

        try:
            return await stage.count(BACKLOG, run)
        finally:
            again.leave()


def request(method: str, path: str, body: bytes) -> bytes:
    token = Issuer().token("alice", "chat", exp=1 << 40)
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def ask(connection: HttpConnection, method: str, path: str, body: bytes) -> Answer:
    answer = await connection.request(request(method, path, body))
    assert answer.status // 100 == OK // 100, answer
    return answer


async def posted(stage: Stage) -> Work:
    connection = await connect(Endpoint("127.0.0.1", stage.ports[0]))

    async def run(name: str, count: int) -> None:
        for number in range(count):
            await ask(connection, "POST", "/v1/messages", message(f"{name}-{number}", "bob"))

    await run("warm", 2)
    work = await stage.count(SINGLE, lambda: run("h", SINGLE))
    connection.close()
    return work


async def batched(stage: Stage) -> Work:
    connection = await connect(Endpoint("127.0.0.1", stage.ports[0]))

    async def run(name: str, count: int) -> None:
        for number in range(count):
            messages = [message(f"{name}-{number}-{n}", f"bob-{n}") for n in range(BATCH)]
            await ask(connection, "POST", "/v1/messages/batch", batch(messages))

    await run("warm", 1)
    work = await stage.count(ROUNDS * BATCH, lambda: run("b", ROUNDS))
    connection.close()
    return work


async def to_group(stage: Stage) -> Work:
    """For each member's entry."""
    connection = await connect(Endpoint("127.0.0.1", stage.ports[0]))
    names = b",".join(b'"m-%d"' % n for n in range(MEMBERS - 1))
    await ask(connection, "PUT", "/v1/groups/team", b'{"members":[%b],"name":"team"}' % names)

    async def run(name: str, count: int) -> None:
        for number in range(count):
            body = b'{"id":"%b-%d","group":"team","body":%b}' % (name.encode(), number, BODY)
            await ask(connection, "POST", "/v1/messages", body)

    await run("warm", 1)
    work = await stage.count(ROUNDS * MEMBERS, lambda: run("g", ROUNDS))
    connection.close()
    return work


Run = Callable[[Stage], Awaitable[Work]]
BARE: dict[str, Run] = {
    "WebSocket, one at a time, to another worker": lone,
    "WebSocket, 64 at a time, to another worker": together,
    "WebSocket, 64 at a time, on one worker": short_cut,
    "replay of 1000, for each entry": replayed,
    "POST of one message": posted,
    "POST of 100 messages": batched,
    "POST to a group of 100, for each member": to_group,
}
WHOLE: dict[str, Run] = {"WebSocket, 64 at a time, copy and receipt": whole}
RUNS = (*BARE, *WHOLE)


async def counted(server: RedisServer, name: str) -> tuple[Work, list[tuple[str, float]]]:
    """One run, on workers of its own; and which functions and commands were called most for each message."""
    run = BARE.get(name) or WHOLE[name]
    async with staged(server, own_copy=name in WHOLE, receipts=name in WHOLE) as stage:
        return await run(stage), stage.most
