"""Bytes that no client library would send. What may be taken two ways is refused, so that nothing is smuggled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import duration
from tests.hostile.answers import Answer, answers, check
from tests.hostile.raw import Raw
from tests.support.api import Api

PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HOST = b"Host: localhost\r\nX-Inboxd-User: eve\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    """What is not whole is soon given up."""
    return serve(workers=1, handshake_timeout=duration(0.3), keep_alive=duration(0.3))


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


async def asked(service: Service, data: bytes) -> list[Answer]:
    """All answers, until the service hangs up."""
    raw = await Raw.open(service.url)
    raw.write(data)
    came = await raw.end()
    await raw.abort()
    found = answers(came)
    for answer in found:
        check(answer, older=answer.media_type == "application/json")
    return found


def hidden(to: str) -> bytes:
    """A request that should not be one."""
    body = b'{"id":"smuggled","to":"%s","body":1}' % to.encode()
    return b"POST /v1/messages HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (HOST, len(body), body)


CHUNKS, NOTHING = b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"
SMUGGLING = {
    "both lengths": b"Content-Length: {all}\r\n" + CHUNKS,
    "both lengths, the other way round": CHUNKS + b"Content-Length: {all}\r\n",
    "both lengths, one of nothing": CHUNKS + b"Content-Length: 0\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: {all}\r\n",
    "two lengths in one": b"Content-Length: 5, {all}\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "a length below nothing": b"Content-Length: -1\r\n",
    "a length in hexadecimal": b"Content-Length: 0x5\r\n",
    "a length with an underscore": b"Content-Length: 0_5\r\n",
    "a length with letters behind": b"Content-Length: 5 5\r\n",
    "a length without end": b"Content-Length: 99999999999999999999999999\r\n",
    "a length that is empty": b"Content-Length:\r\n",
    "a blank before the colon of a length": b"Content-Length : 5\r\n",
    "a tab before the colon of a length": b"Content-Length\t: 5\r\n",
    "a blank before the colon of chunks": b"Transfer-Encoding : chunked\r\n",
    "a length on a folded line": b"X: y\r\n Content-Length: 5\r\n",
    "chunks on a folded line": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: {all}\r\n",
    "chunks in another space": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: {all}\r\n",
    "chunks and something else": b"Transfer-Encoding: chunked, identity\r\n",
    "chunks that are none": b"Transfer-Encoding: xchunked\r\n",
    "chunks of chunks": b"Transfer-Encoding: chunked, chunked\r\n",
    "no chunks and a length": b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
    "a length behind a bare carriage return": b"X: y\rContent-Length: {all}\r\n" + CHUNKS,
    "a length behind a null": b"X: y\x00Content-Length: {all}\r\n",
    "a null in a name": b"X\x00: y\r\nContent-Length: 5\r\n",
    "a line without a colon": b"Content-Length 5\r\n",
    "a line that begins with a colon": b": 5\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read(
    service: Service, api: Api, carol: str, name: str
) -> None:
    body = NOTHING + hidden(carol)
    fields = SMUGGLING[name].replace(b"{all}", b"%d" % len(body))
    (answer,) = await asked(service, b"POST /v1/messages HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body)
    assert answer.code == "malformed_request"
    assert (await api.http.get(f"/v1/ops/inboxes/{carol}")).status_code == 404


CHUNKED = b"POST /v1/messages HTTP/1.1\r\n" + HOST + CHUNKS + b"\r\n"
BAD_CHUNKS = {
    "a size that is none": b"x\r\n",
    "a size below nothing": b"-1\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a size without end": b"f" * 17 + b"\r\n",
    "a size with a blank before it": b" 0\r\n\r\n",
    "a chunk longer than its size": b"1\r\nhello\r\n",
    "a chunk without a line's end": b"5\r\nhello0\r\n\r\n",
    "a size whose line ends in a bare carriage return": b"5\rhello\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_chunks_that_are_none_are_refused(service: Service, api: Api, carol: str, name: str) -> None:
    (answer,) = await asked(service, CHUNKED + BAD_CHUNKS[name] + hidden(carol))
    assert answer.code == "malformed_request"
    assert (await api.http.get(f"/v1/ops/inboxes/{carol}")).status_code == 404


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
LINES = {
    "no version": (b"GET /healthz\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a version in small letters": (b"GET /healthz http/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a version that is none": (b"GET /healthz HTTP/7.3\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "an older version": (b"GET /healthz HTTP/0.9\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a newer version": (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed_request"),
    "a method that is none": (b"GIVE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a method in small letters": (b"get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a null before it": (b"\x00GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "tabs": (b"GET\t/healthz\tHTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a blank in the path": (b"GET /heal thz HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a path that is no path": (b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed_request"),
    "a path of plain UTF-8": ("GET /é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), "malformed_request"),
    "a tunnel": (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", "malformed_request"),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "not_found"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), "malformed_request"),
    "SSH": (b"SSH-2.0-OpenSSH_9.9\r\n", "malformed_request"),
    "a command of Redis": (b"*1\r\n$4\r\nPING\r\n", "malformed_request"),
    "a long path": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "head_too_large"),
    "a long query": (b"GET /healthz?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "head_too_large"),
    "a long field": (GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", "head_too_large"),
    "a long name": (GET + b"x" * 70_000 + b": y\r\n\r\n", "head_too_large"),
    "many fields": (GET + b"X: y\r\n" * 200 + b"\r\n", "head_too_large"),
    "many cookies": (GET + b"Cookie: a=b\r\n" * 5000 + b"\r\n", "head_too_large"),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", "forbidden"),
    "two hosts": (GET + b"Host: localhost\r\n\r\n", "forbidden"),
    "a host elsewhere, and a path with this one": (
        b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "forbidden",
    ),
    "trailers without end": (CHUNKED + b"0\r\n" + b"X: y\r\n" * 20_000, "head_too_large"),
    "a head that stops": (GET + b"X", "too_slow"),
    "a body that stops": (
        b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\n\r\n{",
        "too_slow",
    ),
}


@pytest.mark.parametrize("name", LINES)
async def test_a_head_that_is_none_is_refused(service: Service, api: Api, bob: str, name: str) -> None:
    data, code = LINES[name]
    found = await asked(service, data)
    if found or code != "head_too_large":  # that one may be lost: the service hangs up while we are still sending
        assert [answer.code for answer in found] == [code]
    await api.send(bob)


async def test_pipelined_requests_are_answered_in_order_up_to_the_one_at_fault(
    service: Service, api: Api, carol: str
) -> None:
    found = await asked(
        service, GET + b"\r\n" + GET.replace(b"/healthz", b"/x") + b"\r\n" + b"?\r\n\r\n" + hidden(carol)
    )
    assert [(answer.status, answer.code) for answer in found] == [
        (200, None),
        (404, "not_found"),
        (400, "malformed_request"),
    ]
    assert (await api.http.get(f"/v1/ops/inboxes/{carol}")).status_code == 404


async def test_what_comes_behind_the_last_request_is_not_looked_at(service: Service, api: Api, carol: str) -> None:
    (answer,) = await asked(service, GET + b"Connection: close\r\n\r\n" + b"?\r\n\r\n" + hidden(carol))
    assert answer.status == 200
    (answer,) = await asked(service, GET + b"Connection: close\r\n\r\n" + hidden(carol))
    assert answer.status == 200
    assert (await api.http.get(f"/v1/ops/inboxes/{carol}")).status_code == 404


@contextlib.contextmanager
def waiting(service: Service) -> Iterator[None]:
    """While it lasts, the store is silent: what is sent waits for its answer."""
    server = service.server_pid
    assert server is not None
    processes.pause(server)
    try:
        yield
    finally:
        processes.resume(server)


async def test_who_leaves_while_requests_of_a_pipeline_wait_is_no_fault_of_the_service(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    with waiting(service):
        raw = await Raw.open(service.url)
        raw.write(hidden(carol) + hidden(carol))
        await raw.writer.drain()
        assert (await api.http.get("/healthz")).status_code == 200, "it has come"
        await raw.abort()
        assert (await api.http.get("/healthz")).status_code == 200, "it is gone"
    await api.send(bob)
    assert "Traceback" not in service.stderr()


async def test_a_body_that_does_not_come_is_no_answer_to_the_request_before_it(service: Service, carol: str) -> None:
    with waiting(service):
        assert await asked(service, hidden(carol) + hidden(carol)[:-3]) == []


SOCKET = b"GET /v1/ws?user=eve HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
KEY, VERSION = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"
HANDSHAKES = {
    "no key": (SOCKET + VERSION, "malformed_request"),
    "a key that is none": (SOCKET + VERSION + b"Sec-WebSocket-Key: x\r\n", "malformed_request"),
    "two keys": (SOCKET + VERSION + KEY + KEY, "malformed_request"),
    "no version": (SOCKET + KEY, "malformed_request"),
    "another version": (SOCKET + KEY + b"Sec-WebSocket-Version: 12\r\n", "malformed_request"),
    "protocols that are none": (SOCKET + KEY + VERSION + b"Sec-WebSocket-Protocol: ,,\r\n", "malformed_request"),
    "a POST": (SOCKET.replace(b"GET", b"POST") + KEY + VERSION, "method_not_allowed"),
    "a body": (SOCKET + KEY + VERSION + b"Content-Length: 5\r\n", "malformed_request"),
    "a body of chunks": (SOCKET + KEY + VERSION + CHUNKS, "malformed_request"),
    "a long field": (SOCKET + KEY + VERSION + b"X: " + b"y" * 9000 + b"\r\n", "head_too_large"),
    "many fields": (SOCKET + KEY + VERSION + b"X: y\r\n" * 200, "head_too_large"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_that_is_none_is_a_problem(service: Service, api: Api, bob: str, name: str) -> None:
    data, code = HANDSHAKES[name]
    (answer,) = await asked(service, data + b"\r\n")
    assert answer.code == code
    await api.send(bob)


async def test_a_handshake_behind_a_request_that_waits_is_refused_and_the_request_has_its_answer(
    service: Service,
) -> None:
    poll = b"GET /v1/inbox?device=d&wait=1 HTTP/1.1\r\n" + HOST + b"\r\n"
    found = await asked(service, poll + SOCKET + KEY + VERSION + b"\r\n" + bytes(9000))
    assert [(answer.status, answer.code) for answer in found] == [(200, None), (400, "malformed_request")]


REFUSED = {
    "another path": SOCKET.replace(b"/v1/ws", b"/v1/nothing"),
    "a path that is HTTP's": SOCKET.replace(b"/v1/ws", b"/healthz"),
    "a path of strange bytes": SOCKET.replace(b"/v1/ws", b"/v1/ws%00%ff"),
    "an origin that is none": SOCKET + b"Origin: http://[\r\n",
    "no host": SOCKET.replace(b"Host: localhost\r\n", b""),
    "two hosts": SOCKET + b"Host: localhost\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_socket_that_is_not_for_them_is_a_bare_403(service: Service, name: str) -> None:
    raw = await Raw.open(service.url)
    raw.write(REFUSED[name] + KEY + VERSION + b"\r\n")
    (answer,) = answers(await raw.end())
    await raw.abort()
    assert (answer.status, answer.body) == (403, b"")
    assert answer.fields["x-content-type-options"] == "nosniff"


PIECES = (
    b"GET ", b"POST ", b"/", b"/healthz", b"/v1/messages", b"/v1/inbox?device=d", b" HTTP/1.1", b" HTTP/1.0", b"\r\n",
    b"\n", b"\r", b"Host: localhost\r\n", b"Host: evil.example\r\n", b"Content-Length: 5\r\n", b"{}", b'{"to":"bob"}',
    b"Content-Length: 0\r\n", CHUNKS, b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"X-Inboxd-User: eve\r\n", b"Content-Type: application/json\r\n", b"\r\n\r\n",
    b"5\r\nhello\r\n", NOTHING, b" ", b"\t", b"\x00", b"\xff", b":", b"%", GET, GET + b"\r\n",
)  # fmt: skip


@settings(PROFILE, max_examples=12)
@given(streams=st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join), min_size=30, max_size=30))
async def test_bytes_in_any_order_are_answered_with_what_is_documented(
    service: Service, api: Api, bob: str, streams: list[bytes]
) -> None:
    for data in streams:
        note(repr(data))
    await asyncio.gather(*(asked(service, data) for data in streams))
    await api.send(bob)
