"""Bodies made to cost much: bombs, nests, repetition. Each is refused in few words, and the worker stays small."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab.service import Service
from tests.hostile.answers import Answer, check
from tests.hostile.conftest import Figure
from tests.hostile.raw import MIB, watched
from tests.support.api import Api

MOST_GROWTH = {"/v1/messages": 80.0, "/v1/messages/batch": 640.0}
"""MiB. While a body is taken apart, which is done one at a time, it weighs at worst some forty times as much."""


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=1)


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def post(api: Api, path: str, content: bytes, **fields: str) -> Answer:
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in fields.items()}
    response = await api.http.post(path, content=content, headers=headers)
    answer = Answer(response.status_code, dict(response.headers), response.content)
    check(answer, older=path.startswith("/api/"))
    return answer


PATHS = ("/v1/messages", "/v1/messages/batch", "/v1/inbox/ack", "/v1/ops/broadcast", "/api/chat/create_chat")
BOMB = gzip.compress(b'{"to":"bob","body":"' + b"x" * (64 * MIB) + b'"}')


@pytest.mark.parametrize("coding", ("gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "x"))
@pytest.mark.parametrize("path", PATHS)
async def test_what_is_compressed_is_not_taken(api: Api, path: str, coding: str) -> None:
    for content in (b'{"to":"bob","body":1}', gzip.compress(b"{}"), zlib.compress(b"{}")):
        answer = await post(api, path, content, content_encoding=coding)
        assert answer.status == 415
        assert answer.fields["accept-encoding"] == "identity"


async def test_what_says_that_it_is_plain_is_taken(api: Api, bob: str) -> None:
    answer = await post(api, "/v1/messages", json.dumps({"to": bob, "body": 1}).encode(), content_encoding="Identity")
    assert answer.status == 202


async def test_a_bomb_does_not_go_off(service: Service, api: Api, carol: str, figure: Figure) -> None:
    (worker,) = service.workers()
    async with watched(worker.pid, api, carol) as watch:
        for _ in range(5):
            assert (await post(api, "/v1/messages", BOMB, content_encoding="gzip")).status == 415
            assert (await post(api, "/v1/messages", BOMB)).status == 400, "told or not"
    figure(f"10 bombs of {len(BOMB) // 1024} KiB that hold 64 MiB", str(watch))
    assert watch.growth < 10


def message(body: bytes) -> bytes:
    return b'{"to":"sink","body":%s}' % body


def batch(items: bytes, count: int) -> bytes:
    return b'{"messages":[' + b",".join([items] * count) + b"]}"


def nest(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


LAUGHS = b'{"lol":' + b'["lol","lol"]'.replace(b'"lol"', b'["lol","lol","lol","lol","lol","lol","lol","lol"]') + b"}"

BIG = {
    "1 MiB of nested arrays": ("/v1/messages", message(nest(500_000)), 422, ""),
    "a body of 300 levels": ("/v1/messages", message(nest(300)), 422, ""),
    "1 MiB of flat arrays": ("/v1/messages", message(b"[" + b"[]," * 340_000 + b"[]]"), 413, ""),
    "1 MiB of small objects": ("/v1/messages", message(b"[" + b'{"":0},' * 140_000 + b"0]"), 413, ""),
    "1 MiB of fields": (
        "/v1/messages",
        b"{" + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}",
        422,
        "",
    ),
    "1 MiB of digits": ("/v1/messages", message(b"9" * 1_000_000), 422, ""),
    "1 MiB of a recipient": ("/v1/messages", b'{"to":"' + b"x" * 1_000_000 + b'","body":1}', 422, ""),
    "1 MiB of a field's name": ("/v1/messages", b'{"' + b"x" * 1_000_000 + b'":1}', 422, ""),
    "16 MiB of nested arrays": ("/v1/messages/batch", b'{"messages":' + nest(8_000_000) + b"}", 422, ""),
    "16 MiB of empty items": ("/v1/messages/batch", batch(b"{}", 5_000_000), 422, ""),
    "16 MiB of numbers": ("/v1/messages/batch", batch(b"1", 8_000_000), 422, ""),
    "1,000 items of 300 levels": ("/v1/messages/batch", batch(message(nest(300)), 1000), 200, "invalid_field"),
    "1,000 items of 1,100 levels": ("/v1/messages/batch", batch(message(nest(1100)), 1000), 422, ""),
    "1,000 items of 900 levels": ("/v1/messages/batch", batch(message(nest(900)), 1000), 200, "invalid_field"),
    "1,000 items without a recipient": ("/v1/messages/batch", batch(b'{"body":1}', 1000), 200, "invalid_field"),
    "1,000 items of many fields": (
        "/v1/messages/batch",
        batch(b"{" + b",".join(b'"%d":0' % n for n in range(1500)) + b"}", 1000),
        200,
        "invalid_field",
    ),
    "200 items too large": ("/v1/messages/batch", batch(message(b'"%s"' % (b"x" * 70_000)), 200), 200, "too_large"),
    "1,000 laughs": ("/v1/messages/batch", batch(message(b"[" + b",".join([LAUGHS] * 100) + b"]"), 1000), 200, ""),
    "16 MiB to a broadcast": ("/v1/ops/broadcast", b'{"body":"' + b"x" * 16_000_000 + b'"}', 413, ""),
    "a broadcast of 300 levels": ("/v1/ops/broadcast", b'{"body":' + nest(300) + b"}", 422, ""),
    "an ack of 300 levels": ("/v1/inbox/ack", b'{"device":' + nest(300) + b"}", 422, ""),
    "1 MiB to the older protocol": (
        "/api/chat/create_chat",
        b'{"msg":"%s","sender":"eve","recipient":"sink"}' % (b"x" * 1_000_000),
        413,
        "",
    ),
}


@pytest.mark.parametrize("name", BIG)
async def test_a_request_made_to_cost_much_is_refused_in_few_words(
    service: Service, api: Api, carol: str, figure: Figure, name: str
) -> None:
    path, content, status, code = BIG[name]
    (worker,) = service.workers()
    async with watched(worker.pid, api, carol) as watch:
        answer = await post(api, path, content)
    figure(f"{name}: {len(content) / MIB:.1f} MiB", str(watch))
    assert answer.status == status, answer
    if code:
        assert {result["code"] for result in answer.content["results"]} == {code}
    assert watch.growth < MOST_GROWTH.get(path, 40.0)


async def test_what_was_refused_is_not_kept(service: Service, api: Api, carol: str, figure: Figure) -> None:
    (worker,) = service.workers()
    nested = (message(nest(500_000)), message(nest(1000) + b" " * 1_000_000), message(nest(100) + b" " * 1_000_000))
    for content in nested:
        await post(api, "/v1/messages", content)
    async with watched(worker.pid, api, carol) as watch:
        for _ in range(20):
            for content in nested:
                assert (await post(api, "/v1/messages", content)).status == 422
    figure("60 times 1 MiB that is nested too deep", str(watch))
    assert watch.growth < 20


async def test_what_is_multiplied_by_its_recipients_is_held_once(
    service: Service, api: Api, carol: str, figure: Figure
) -> None:
    """3 messages of 60 kB to 100 users each are 18 MB for the store, not for the worker."""
    (worker,) = service.workers()
    to = [f"crowd{n}" for n in range(100)]
    content = json.dumps({"messages": [{"to": to, "body": "x" * 60_000}] * 3}).encode()
    async with watched(worker.pid, api, carol) as watch:
        answer = await post(api, "/v1/messages/batch", content)
    figure("0.2 MiB of messages to 100 users each", str(watch))
    assert [result["status"] for result in answer.content["results"]] == [202] * 3
    assert watch.growth < 80
