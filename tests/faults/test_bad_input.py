"""Bad input of sections 2 and 5, much of it and at once: clear errors, nothing lost, the others served."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.support.api import Api
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Reader, Sender, running
from tests.support.wire import Wire

ROUNDS = 100

HELLO = '{"type":"hello","device":"phone"}'
VALUES: tuple[str, ...] = (
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e400",
    "NaN",
    "18446744073709551616",
    '""',
    r'"\ud800"',
    '"b}:x"',
    '"*"',
    '"0-0"',
    '"9999999999999-99"',
    "[]",
    "{}",
    "[[1]]",
    "[" * 70 + "]" * 70,
    "[" * 2000 + "]" * 2000,
    '"' + "x" * 70_000 + '"',
)
TYPES = ("hello", "send", "ack", "skip", "history", "ping", "surprise", "message", "welcome", "")
FIELDS = (
    "type",
    "device",
    "cursor",
    "window",
    "attempt",
    "id",
    "to",
    "body",
    "ref",
    "limit",
    "before",
    "with",
    "from",
    "\\u0000",
)


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


def some_object() -> str:
    """An object that resembles a frame, with values that seldom fit."""
    fields = {field: random.choice(VALUES) for field in random.sample(FIELDS, random.randint(0, 5))}
    if random.random() < 0.8:
        fields["type"] = json.dumps(random.choice(TYPES))
    return "{" + ",".join(f'"{field}":{value}' for field, value in fields.items()) + "}"


def some_text() -> bytes:
    """What a client may come to send by mistake or by malice."""
    choice = random.random()
    if choice < 0.6:
        return some_object().encode()
    if choice < 0.75:
        text = some_object().encode()
        return text[: random.randint(0, len(text))]
    if choice < 0.85:
        return "\n".join(some_object() for _ in range(random.randint(0, 4))).encode()
    return random.randbytes(random.randint(0, 200))


async def bad_socket(service: Service, user: str, codes: Counter[str]) -> None:
    """One connection that says hello and then whatever comes, until it is thrown out or has enough."""
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/v1/ws?user={user}")
    if random.random() < 0.8:
        await wire.send_text(HELLO)
    for _ in range(random.randint(1, 6)):
        if not wire.is_open:
            break
        if random.random() < 0.1:
            await wire.send_binary(random.randbytes(20))
        else:
            await wire.send_text(some_text())
    if random.random() < 0.2:
        await wire.abort()
    else:
        await wire.send({"type": "ping", "ref": "end"})
        await wire.until(lambda: wire.claim("pong", ref="end") or not wire.is_open, "an answer or the end")
        await wire.close()
    codes.update(str(frame["code"]) for frame in wire.of("error"))
    codes[f"closed {wire.close_code}"] += 1
    assert wire.close_code != 1011, "the service failed instead of refusing"


async def bad_request(api: Api, codes: Counter[str]) -> None:
    """One request whose body is anything."""
    path = random.choice(("/v1/messages", "/v1/messages/batch", "/v1/inbox/ack", "/v1/ops/broadcast"))
    content = some_text()
    if path.endswith("batch") and random.random() < 0.7:
        content = b'{"messages":[' + content + b"]}"
    response = await api.http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code < 500, f"{content[:300]!r}: {response.text}"
    codes[f"http {response.status_code}"] += 1


async def bad_bytes(service: Service, codes: Counter[str]) -> None:
    """A handshake, and then bytes that are no WebSocket frames."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"GET /v1/ws?user=eve HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    # An unmasked frame, a reserved opcode, a length beyond everything, a fragment that never ends.
    frames = (b"\x81\x02hi", b"\x83\x80\x00\x00\x00\x00", b"\x81\xff" + b"\xff" * 12, b"\x01\x80")
    with contextlib.suppress(OSError):  # the service may hang up at any of these points
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(random.choice(frames) + random.randbytes(100))
            await writer.drain()
            if random.random() < 0.5:
                writer.write_eof()
                await reader.read()
    writer.transport.abort()
    codes["raw bytes"] += 1


async def test_much_bad_input_at_once_loses_nothing_and_the_others_are_served(
    service: Service, history: History, bob: str, alice: str, named: Callable[[str], str]
) -> None:
    seed = random.randrange(2**32)
    random.seed(seed)
    codes: Counter[str] = Counter()
    pids = {worker.pid for worker in service.workers()}
    sender, reader = Sender(alice, history), Reader(Device(service.url, bob, "phone", history))
    stop = asyncio.Event()
    mallory = named("mallory")
    async with (
        Api(service.url, mallory) as api,
        running(reader.run()) as reading,
        running(sender.over_socket(Device(service.url, alice), [bob], stop)) as sending,
    ):
        for _ in range(ROUNDS):
            bad: list[Any] = [bad_socket(service, mallory, codes) for _ in range(3)]
            bad += [bad_request(api, codes) for _ in range(4)]
            bad.append(bad_bytes(service, codes))
            await asyncio.gather(*bad)
            reading.check()
            sending.check()
        stop.set()
        await sending.done()
        await reader.device.wire.until(lambda: history.missing((bob, "phone")) == 0, "every message")
        assert reader.device.connections == 1, f"seed {seed}"
    assert history.violations((bob, "phone")) == [], f"seed {seed}"
    assert sender.seen["accepted"] > ROUNDS
    assert {worker.pid for worker in service.workers()} == pids, "no worker fell over it"
    for wanted in ("invalid_field", "malformed_json", "hello_expected", "unknown_type", "http 400", "http 422"):
        assert codes[wanted], f"{wanted} never came: {codes}"


async def test_a_flood_of_large_frames_is_taken_or_refused_and_nothing_else(
    service: Service, bob: str, alice: str
) -> None:
    async with Device(service.url, alice) as phone, Device(service.url, bob) as other:
        other.acking = True
        sends = [{"type": "send", "id": f"m-{n}", "to": bob, "body": "x" * 60_000} for n in range(64)]
        for start in range(0, 64, 16):
            await phone.say(*sends[start : start + 16])
        for send in sends:
            assert (await phone.answer(str(send["id"])))["type"] == "accepted"
        received = 0
        while received < 64:
            received = len(await other.receive(received + 1))
            await other.ack()
        assert [entry["id"] for entry in other.entries] == [send["id"] for send in sends]


async def test_the_largest_batches_do_not_stop_a_workers_heart(
    service: Service, alice: str, bob: str, carol: str
) -> None:
    before = {worker.name for worker in service.workers()}
    async with Device(service.url, bob) as phone, Api(service.url, alice) as api:
        messages = [{"id": f"m-{n}", "to": carol, "body": "[" * 15_000} for n in range(1000)]
        for _ in range(2):  # the second is all repeats
            response = await api.http.post("/v1/messages/batch", json={"messages": messages})
            assert {result["status"] for result in response.json()["results"]} <= {200, 202}
        await phone.ping()
        assert phone.connections == 1
    assert {worker.name for worker in service.workers()} == before, "nobody was called dead meanwhile"
