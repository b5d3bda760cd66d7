"""The express: whatever is asked, it answers what the framework's own route does, byte for byte."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, cast

import pytest
import uvicorn
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from scripts.lab.timing import PATIENCE
from service.app import create_app
from service.delivery.worker import Worker
from service.edge import http
from service.edge.auth import Asking, AskingToSend, Rule
from service.edge.express import stops
from service.edge.headers import guarded
from service.edge.http_protocol import Bounds, HttpConnection, answer_whole
from tests.delivery.rig import NEVER, quick, running, until
from tests.hostile.raw import Raw
from tests.support.issuer import SECRET, Issuer

ONE, MANY = "/v1/messages", "/v1/messages/batch"
JSON = "Content-Type: application/json"
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DATE = re.compile(rb"date: [^\r]+")

Way = Callable[..., bytes]
"""Makes one request; users and tokens are those of one of the two services."""


@asynccontextmanager
async def served(worker: Worker) -> AsyncIterator[int]:
    """The worker's application on our engine; its port."""
    bounds = Bounds(connections=100, handshake=NEVER, keep_alive=NEVER, silence=NEVER)
    config = uvicorn.Config(
        guarded(create_app(worker)),
        http=cast("Any", partial(HttpConnection, bounds=bounds)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup(sockets=[listener])
        try:
            await server.on_tick(0)  # the date
            yield int(listener.getsockname()[1])
        finally:
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            server.force_exit = True
            await server.shutdown(sockets=[listener])


@pytest.fixture(params=("off", "jwt"))
async def two(
    redis_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, int, int, list[int]]]:
    """How who asks is named; a service with the express, and one without; the status of what the express answered."""
    answered: list[int] = []

    async def counted(response: Any, *rest: Any) -> None:
        answered.append(response.status_code)
        await answer_whole(response, *rest)

    monkeypatch.setattr("service.edge.express.answer_whole", counted)
    more = {"auth": "jwt", "jwt_secret": SECRET, "rate": 0.01, "burst": 100} if request.param == "jwt" else {}
    settings = quick(redis_url, max_body=1000, max_frame=2000, max_pending=3, **more)
    async with running(settings) as worker, served(worker) as with_it:
        await until(lambda: worker.durability == "fsynced", "its durability is known")
        monkeypatch.setattr(http, "CARRYING", ())
        async with served(worker) as without:
            yield request.param, with_it, without, answered


def asker(auth: str, number: int) -> Way:
    """Users are numbered, so that what was done elsewhere is not seen: their inboxes are small."""

    def make(
        path: str,
        body: Any,
        *fields: str,
        method: str = "POST",
        version: str = "1.1",
        media: str = JSON,
        user: str = "eve",
        scope: str = "chat",
        host: str = "127.0.0.1",
    ) -> bytes:
        text = body if isinstance(body, bytes) else json.dumps(body).replace("bob", f"bob{number}").encode()
        name = f"{user}{number}"
        token = Issuer().sign({"sub": name, "exp": 4102444800, "scope": scope})
        who = f"Authorization: Bearer {token}" if auth == "jwt" else f"X-Inboxd-User: {name}"
        size = f"Content-Length: {len(text)}"
        chunked = any(field.startswith("Transfer-Encoding") for field in fields)
        lines = [f"{method} {path} HTTP/{version}", f"Host: {host}", *([] if user == "" else [who])]
        lines += [*([media] if media else []), *fields, *([] if chunked else [size])]
        return "\r\n".join([*lines, "", ""]).encode() + text

    return make


def sent(**more: Any) -> dict[str, Any]:
    return {"to": "bob", "body": {"text": "hi"}, **more}


CASES: dict[str, Callable[[Way], list[bytes]]] = {
    "a message": lambda ask: [ask(ONE, sent(id="a"))],
    "a repeat": lambda ask: [ask(ONE, sent(id="b"))] * 2,
    "an id that was used": lambda ask: [ask(ONE, sent(id="c")), ask(ONE, sent(id="c", body=1))],
    "an id of the service's own": lambda ask: [ask(ONE, sent())],
    "several recipients": lambda ask: [ask(ONE, sent(id="d", to=["bob", "bob-b"]))],
    "an inbox that is full": lambda ask: [ask(ONE, sent(id=f"e{n}", to="bob-full")) for n in range(4)],
    "a list whose inboxes are full": lambda ask: [ask(ONE, sent(id=f"f{n}", to=["bob-f"])) for n in range(4)],
    "an edit of what is not known": lambda ask: [
        ask(ONE, {"type": "edit", "id": "g", "target": "x", "to": "bob", "body": 1})
    ],
    "a group that is not there": lambda ask: [ask(ONE, {"id": "h", "group": "bob-club", "body": 1})],
    "the id in a field": lambda ask: [ask(ONE, sent(), 'Idempotency-Key: "i"')],
    "two ids that differ": lambda ask: [ask(ONE, sent(id="j"), "Idempotency-Key: other")],
    "no field that is needed": lambda ask: [ask(ONE, {"id": "k", "body": 1})],
    "a field that is none": lambda ask: [ask(ONE, sent(id="l", colour="red"))],
    "a type that is none": lambda ask: [ask(ONE, sent(type="shout"))],
    "a body that is too large": lambda ask: [ask(ONE, sent(id="m", body="x" * 1001))],
    "a request that is too large": lambda ask: [ask(ONE, sent(id="m", body="x" * 2001))],
    "a list": lambda ask: [ask(ONE, [])],
    "no JSON": lambda ask: [ask(ONE, b"{")],
    "nothing": lambda ask: [ask(ONE, b"")],
    "a number that is none": lambda ask: [ask(ONE, b'{"to":"bob","body":NaN}')],
    "half a character": lambda ask: [ask(ONE, b'{"to":"bob","body":"\\ud800"}')],
    "a number that is too long": lambda ask: [ask(ONE, b'{"to":"bob","body":99999999999999999999}')],
    "bytes that are no text": lambda ask: [ask(ONE, b'{"to":"\xff"}')],
    "another media type": lambda ask: [ask(ONE, sent(id="n"), media="Content-Type: text/plain")],
    "no media type": lambda ask: [ask(ONE, sent(id="n"), media="")],
    "a media type with a parameter": lambda ask: [ask(ONE, sent(id="o"), media=f"{JSON} ; charset=utf-8")],
    "a media type of a family": lambda ask: [ask(ONE, sent(id="p"), media="content-type: application/X+JSON")],
    "a media type, twice": lambda ask: [ask(ONE, sent(id="p2"), "Content-Type: text/plain")],
    "a compressed body": lambda ask: [ask(ONE, sent(id="q"), "Content-Encoding: gzip")],
    "chunks": lambda ask: [ask(ONE, b'11\r\n{"id":"r","body":1\r\n5\r\n,"to"\r\n9\r\n:"bob-c"}\r\n0\r\n\r\n',
                               "Transfer-Encoding: chunked")],
    "too many chunks": lambda ask: [ask(ONE, b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n",
                                        "Transfer-Encoding: chunked")],
    "to be told to go on": lambda ask: [ask(ONE, sent(id="s"), "Expect: 100-continue")],
    "the last request": lambda ask: [ask(ONE, sent(id="t"), "Connection: close")],
    "an older version": lambda ask: [ask(ONE, sent(id="u"), version="1.0")],
    "an older version that goes on": lambda ask: [ask(ONE, sent(id="v"), "Connection: keep-alive", version="1.0")],
    "nobody": lambda ask: [ask(ONE, sent(id="w"), user="")],
    "a name that is none": lambda ask: [ask(ONE, sent(id="w"), user="e v e")],
    "a name in the query": lambda ask: [ask(f"{ONE}?user=eve", sent(id="x", to="bob-q"), user="")],
    "a token that is none": lambda ask: [ask(ONE, sent(id="y"), "Authorization: Bearer x", user="")],
    "two tokens": lambda ask: [ask(ONE, sent(id="y"), "Authorization: Bearer x")],
    "the wrong scope": lambda ask: [ask(ONE, sent(id="z"), scope="ops")],
    "for another": lambda ask: [ask(ONE, sent(id="z", **{"from": "bob-else"}))],
    "for another, as one may": lambda ask: [ask(ONE, sent(id="z", **{"from": "bob-else"}), scope="send:any")],
    "another host": lambda ask: [ask(ONE, sent(id="A"), host="elsewhere.example")],
    "a page elsewhere": lambda ask: [ask(ONE, sent(id="B"), "Origin: https://elsewhere.example")],
    "a page elsewhere, without an origin": lambda ask: [ask(ONE, sent(id="C"), "Sec-Fetch-Site: cross-site")],
    "another method": lambda ask: [ask(ONE, b"", method=method) for method in ("GET", "PUT", "OPTIONS")],
    "another path": lambda ask: [ask(path, sent(id="D")) for path in (f"{ONE}/", "/v1/Messages", "/v1//messages")],
    "a path in another spelling": lambda ask: [ask("/v1/m%65ssages", sent(id="E"))],
    "a batch": lambda ask: [ask(MANY, {"messages": [sent(id="F"), {"id": "G"}, sent(id="F"), sent(id="F", body=1)]})],
    "a batch of nothing": lambda ask: [ask(MANY, {"messages": []})],
    "a batch that is none": lambda ask: [ask(MANY, {"messages": 1}), ask(MANY, {}), ask(MANY, [])],
    "a batch of what is none": lambda ask: [ask(MANY, {"messages": [1, "x", None, {"type": 1}]})],
    "a batch that is too long": lambda ask: [ask(MANY, {"messages": [1] * 1001})],
    "more than the rate": lambda ask: [
        ask(MANY, {"messages": [0] * 300}, user="hasty"),
        ask(ONE, sent(id="H", to="bob-h"), user="hasty"),
    ],
}  # fmt: skip


async def exchange(port: int, requests: list[bytes]) -> list[bytes]:
    """Each on a connection of its own: all that is answered, to the end where the service hangs up."""
    came = []
    for request in requests:
        raw = await Raw.open(f"http://127.0.0.1:{port}")
        raw.write(request)
        async with asyncio.timeout(PATIENCE):
            answer = await one_answer(raw)
            if b"connection: close" in answer:
                answer += await raw.reader.read() + b"the end"
        came.append(answer)
        await raw.abort()
    return came


async def one_answer(raw: Raw) -> bytes:
    head = await raw.reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return head + await one_answer(raw)
    found = re.search(rb"content-length: (\d+)", head)
    assert found, head
    return head + await raw.reader.readexactly(int(found[1]))


def alike(answer: bytes) -> tuple[bytes, bytes]:
    """What has to be the same: the status, and the whole answer but for the date and the digits of its numbers."""
    return answer.split(b" ", 2)[1], re.sub(rb"\d+", b"N", UUID.sub(b"U", DATE.sub(b"date", answer)))


async def test_the_express_answers_as_the_route_does(two: tuple[str, int, int, list[int]]) -> None:
    auth, with_it, without, answered = two
    seen: set[bytes] = set()
    for number, (name, case) in enumerate(CASES.items(), 100):
        quick_ones = await exchange(with_it, case(asker(auth, number)))
        so_far = len(answered)
        others = await exchange(without, case(asker(auth, number + 100)))
        assert [alike(answer) for answer in quick_ones] == [alike(answer) for answer in others], name
        assert len(answered) == so_far, "the second service has none"
        seen |= {alike(answer)[0] for answer in quick_ones}
    assert seen >= {b"200", b"202", b"400", b"401", b"403", b"404", b"405", b"413", b"415", b"422", b"507"} - (
        set() if auth == "jwt" else {b"401"}
    )
    assert len(answered) > len(CASES) * 3 / 4, "nearly all of them went by the express"


async def test_what_waits_in_a_pipeline_is_answered_in_order(two: tuple[str, int, int, list[int]]) -> None:
    auth, with_it, _, _ = two
    ask = asker(auth, 1)
    raw = await Raw.open(f"http://127.0.0.1:{with_it}")
    health = ask("/healthz", b"", method="GET")
    raw.write(ask(ONE, sent(id="p1", to="bob-p")) + health + ask(ONE, sent(id="p2", to="bob-p")) + ask(ONE, b"{"))
    async with asyncio.timeout(PATIENCE):
        answers = [await one_answer(raw) for _ in range(4)]
    assert [alike(answer)[0] for answer in answers] == [b"202", b"200", b"202", b"400"]
    assert b'"id":"p1"' in answers[0]
    assert b'"id":"p2"' in answers[2]
    await raw.abort()


async def test_what_fails_is_a_problem_and_logged(
    two: tuple[str, int, int, list[int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError("as the test wants it")

    monkeypatch.setattr(http, "_message", failing)
    auth, with_it, without, _ = two
    (told,), (other,) = [await exchange(port, [asker(auth, 1)(ONE, sent())]) for port in (with_it, without)]
    assert alike(told) == alike(other)
    assert b"urn:inboxd:internal" in told
    assert b"ZeroDivision" not in told
    assert [record.getMessage() for record in caplog.records if record.name == "inboxd.http"] == [
        f"POST '{ONE}' failed"
    ] * 2


async def test_who_has_left_is_no_fault_of_the_service(
    two: tuple[str, int, int, list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    auth, with_it, _, answered = two
    before = len(answered)
    whole = asker(auth, 1)(ONE, sent(id="left"))
    for request in (whole, whole[:-3]):
        raw = await Raw.open(f"http://127.0.0.1:{with_it}")
        raw.write(request)
        await raw.writer.drain()
        await raw.abort()
    await until(lambda: len(answered) > before, "it was dealt with")
    await exchange(with_it, [asker(auth, 1)(ONE, sent(id="next", to="bob-next"))])
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_route_that_wants_anything_but_its_request_and_who_asks_is_none_of_its_stops() -> None:
    router = APIRouter()

    @router.post("/plain")
    async def plain(request: Request, asking: AskingToSend) -> None: ...

    @router.post("/more")
    async def more(request: Request, asking: Asking, limit: int = 1) -> None: ...

    @router.post("/its-answer")
    async def its_answer(request: Request, asking: Asking, response: Response) -> None: ...

    @router.post("/turned")
    async def turned(asking: Asking, request: Request) -> None: ...

    @router.post("/in-a-thread")
    def in_a_thread(request: Request, asking: Asking) -> None: ...

    @router.post("/by-itself")
    async def by_itself(request: Request, asking: Annotated[None, Depends(Rule(("chat",), itself=True))]) -> None: ...

    @router.post("/beside", dependencies=[Depends(lambda: None)])
    async def beside(request: Request, asking: Asking) -> None: ...

    @router.post("/unruled")
    async def unruled(request: Request) -> None: ...

    assert list(stops(router.routes, ["/plain"])) == ["/plain"]
    others = [route.path for route in router.routes if isinstance(route, APIRoute) and route.path != "/plain"]
    for path in (*others, "/nowhere"):
        with pytest.raises(LookupError):
            stops(router.routes, [path])
