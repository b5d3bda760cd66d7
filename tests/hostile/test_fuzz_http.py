"""Requests of every shape to every endpoint: each is answered, and whatever goes wrong is a documented problem."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from service.edge import docs_page, health, http, legacy, ops
from service.edge.access import rules
from tests.edge.conftest import by_token
from tests.hostile import shapes
from tests.hostile.answers import Answer, answers, check
from tests.hostile.raw import Raw
from tests.support.api import Api
from tests.support.issuer import SECRET, Issuer

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a failure

PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def routes() -> list[tuple[str, str]]:
    """Method and path of every one, sockets too."""
    app = FastAPI(docs_url=None, redoc_url=None)
    for router in (http.router, ops.router, health.router, legacy.router, docs_page.router):
        app.include_router(router)
    found = [*rules(app), "GET /v1/ws", "GET /api/chat/connect_chat"]
    return [(method, path) for method, _, path in (name.partition(" ") for name in found)]


ROUTES = routes()
ROUTES += [route for route in ROUTES if route[0] == "POST"] * 3


# Requests


STRANGE = (
    b"", b"0", b"-1", b"nan", b"inf", b"1e400", b"0x1", b"9" * 400, b"%00", b"%ff", b"%zz", b"%", b"%2e%2e", b"..",
    b"%2F", b"a%0d%0aX:%20y", b"\xc3\xa9", b"\xff", b"*", b"'", b'"', b"<x>", b"${x}", b"{}", b"0-0", b"5-5", b"bob",
    b"9999999999999999-1", b"a" * 129, b"%u0041", b"+", b"@", b";", b"%20", b"[]", b"\\", b"true", b"null",
)  # fmt: skip
NAMES = (b"device", b"after", b"limit", b"wait", b"before", b"with", b"user", b"x", b"", b"device[]", b"%00")
FIELDS = (
    b"Idempotency-Key", b"Content-Type", b"Authorization", b"X-Inboxd-User", b"Content-Encoding", b"Accept", b"Origin",
    b"Sec-Fetch-Site", b"Expect", b"Range", b"If-None-Match", b"Cookie", b"X-Forwarded-For", b"Forwarded", b"Upgrade",
    b"X-HTTP-Method-Override", b"Accept-Encoding", b"TE", b"Connection", b"Last-Event-ID", b"Sec-WebSocket-Key",
)  # fmt: skip
VALUES = (
    *(value for value in STRANGE if b"%" not in value), b"application/json", b"application/json; charset=utf-16",
    b"application/x+json", b"text/json", b"gzip", b"Bearer", b"Bearer x", b"bearer a.b.c", b"Basic eDp4",
    b"Bearer " + b"x" * 9000,
    b"100-continue", b"bytes=0-", b"cross-site", b"http://evil.example", b"null", b"h2c", b"x" * 30_000, b'"m1"', b'"',
    b'"m 1"',
    b"http://[", b"http://localhost:99999", b"upgrade", b"chunked", b"trailers", b"*/*", b"websocket",
)  # fmt: skip
ENDS = (b"/", b"//", b"/..", b";x", b"%00", b"%2f", b"/%2e%2e/", b"#x", b"\xff", b"/x" * 20_000)
METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"HEAD", b"PROPFIND")

message = shapes.SEND.map(lambda found: {name: value for name, value in found.items() if name != "type"})
FITTING = {
    "/v1/messages": message,
    "/v1/messages/batch": st.lists(st.one_of(message, shapes.spoiled(message), shapes.strange), max_size=4).map(
        lambda found: {"messages": found}
    ),
    "/v1/inbox/ack": st.fixed_dictionaries({"device": shapes.name, "cursor": shapes.cursor}),
    "/v1/ops/broadcast": st.fixed_dictionaries({"body": shapes.body}),
    "/api/chat/create_chat": st.fixed_dictionaries(
        {"msg": shapes.ref, "sender": shapes.name, "recipient": shapes.name}
    ),
}
BODIES = {
    path: shapes.line_of(fitting, st.just(b""), shapes.text_of(fitting).map(gzip.compress))
    for path, fitting in FITTING.items()
}
strange = shapes.one_of(STRANGE)


@st.composite
def target(draw: st.DrawFn, path: str) -> bytes:
    """A path, mostly as it is; and a query."""
    made = path.encode().replace(b"{user}", draw(st.one_of(st.just(b"bob"), strange)))
    if draw(st.integers(0, 9)) == 5:
        made += draw(shapes.one_of(ENDS))
    pairs = draw(st.lists(st.tuples(shapes.one_of(NAMES), strange), max_size=4))
    return made + draw(st.sampled_from((b"?device=d&", b"?"))) + b"&".join(b"=".join(pair) for pair in pairs)


@st.composite
def request(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """Method, target and all of the request."""
    named, path = draw(st.sampled_from(ROUTES))
    method = draw(shapes.one_of(METHODS)) if draw(st.integers(0, 9)) == 5 else named.encode()
    at = draw(target(path))
    fields = draw(st.lists(st.tuples(shapes.one_of(FIELDS), shapes.one_of(VALUES)), max_size=2))
    if draw(st.integers(0, 9)) != 5:
        fields.append((b"Content-Type", b"application/json"))
    content = draw(BODIES[path] if path in BODIES and method == b"POST" else st.sampled_from((b"", b"{}")))
    if draw(st.booleans()):
        fields.append((b"Content-Length", b"%d" % len(content)))
    else:
        fields.append((b"Transfer-Encoding", b"chunked"))
        size = draw(st.integers(1, 5000))
        parts = [content[start : start + size] for start in range(0, len(content), size)][:200]
        content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\n" % (method, at)
    return method, at, head + b"".join(b"%s: %s\r\n" % field for field in fields) + b"%s\r\n" + content


async def asked(service: Service, data: bytes, *, headless: bool = False) -> Answer | None:
    """None: the service had answered and hung up while we were still sending, and the answer was lost on the way."""
    raw = await Raw.open(service.url)
    raw.write(data)
    came = bytearray()
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE):
            while part := await raw.reader.read(65536):
                came += part
    await raw.abort()
    if not came and len(data) > 30_000:
        return None
    (answer,) = answers(bytes(came), headless=headless)
    return answer


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, keep_alive="500ms")


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, operator=by_token, AUTH="jwt", JWT_SECRET=SECRET)


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


@settings(PROFILE, max_examples=300)
@given(asked_for=request())
async def test_whatever_is_asked_is_answered_once_and_as_documented(
    service: Service, api: Api, bob: str, asked_for: tuple[bytes, bytes, bytes]
) -> None:
    method, at, data = asked_for
    data = data.replace(b"%s\r\n", b"X-Inboxd-User: eve\r\nConnection: close\r\n\r\n", 1)
    note(repr(data[:2000]))
    answer = await asked(service, data, headless=method == b"HEAD")
    if answer is not None and method != b"HEAD":
        check(answer, older=at.startswith(b"/api/"))
    await api.send(bob)


@settings(PROFILE, max_examples=150)
@given(asked_for=request(), token=st.sampled_from(("", "x", "chat", "send:any", "ops")))
async def test_with_tokens_it_is_the_same(service: Service, guarded: Service, asked_for: Any, token: str) -> None:
    method, at, data = asked_for
    shown = Issuer().token("eve", token) if len(token) > 1 else token
    field = (
        f"Authorization: Bearer {shown}\r\nConnection: close\r\n\r\n".encode()
        if token
        else b"Connection: close\r\n\r\n"
    )
    data = data.replace(b"%s\r\n", field, 1)
    note(repr(data[:2000]))
    answer = await asked(guarded, data, headless=method == b"HEAD")
    if answer is None or method == b"HEAD":
        return
    check(answer, older=at.startswith(b"/api/"))
    if answer.status == 401:
        assert answer.fields["www-authenticate"].startswith("Bearer")
    assert SECRET not in str(answer)
    assert not shown or len(shown) < 30 or shown not in str(answer)
