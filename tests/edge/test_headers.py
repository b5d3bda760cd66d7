"""Every answer, whoever gives it, tells browsers how little they may do with it."""

import asyncio
from urllib.parse import urlsplit

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from service.edge.headers import RAW
from tests.support.api import Api

FIELDS = {name.decode(): value.decode() for name, value in RAW}

HANDSHAKE = (
    b"GET /v1/ws?user=eve HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


@pytest.mark.parametrize(
    ("method", "path"),
    (
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/inbox?device=d"),
        ("POST", "/v1/messages"),
        ("DELETE", "/v1/messages"),
        ("GET", "/nothing"),
        ("GET", "/v1/ops/workers"),
        ("POST", "/api/chat/create_chat"),
    ),
)
async def test_every_answer_carries_them(api: Api, method: str, path: str) -> None:
    response = await api.http.request(method, path)
    assert {name: response.headers.get(name) for name in FIELDS} == FIELDS, response.status_code


async def test_a_refused_host_too(service: Service, alice: str) -> None:
    async with Api(service.url, alice) as api:
        response = await api.http.get("/healthz", headers={"Host": "elsewhere.example"})
    assert response.status_code == 403
    assert response.headers["x-content-type-options"] == "nosniff"


async def answer(service: Service, request: bytes) -> tuple[int, dict[str, str]]:
    """Status and header fields of what these bytes are answered with."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    writer.close()
    await writer.wait_closed()
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value for name, value in fields.items()}


@pytest.mark.parametrize(
    ("request_", "status"),
    (
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.example\r\n\r\n", 403),
        (HANDSHAKE + b"Sec-WebSocket-Key: too short\r\n\r\n", 400),
        (HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    ),
)
async def test_what_never_reaches_the_application_too(service: Service, request_: bytes, status: int) -> None:
    told, fields = await answer(service, request_)
    assert told == status
    assert {name: fields.get(name) for name in FIELDS} == FIELDS
    assert fields["connection"] == "close"


async def test_a_handshake_that_is_taken_is_a_handshake(service: Service) -> None:
    told, _ = await answer(service, HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert told == 101
