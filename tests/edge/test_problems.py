"""Every HTTP error is a problem of RFC 9457, the framework's own too, and shows nothing of the inside."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.support.api import LEAKS, Api, problem


@pytest.mark.parametrize("path", ("/v1/nothing", "/v1/messages/", "/v2/messages", "/v1/inbox/nothing", "/%00"))
async def test_an_unknown_path_is_a_problem(api: Api, path: str) -> None:
    problem(await api.http.post(path, json={}), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    (
        ("GET", "/v1/messages"),
        ("PUT", "/v1/messages"),
        ("DELETE", "/v1/messages/batch"),
        ("POST", "/v1/inbox"),
        ("GET", "/v1/inbox/ack"),
        ("POST", "/healthz"),
        ("POST", "/v1/ops/workers"),
        ("GET", "/v1/ops/broadcast"),
        ("PATCH", "/api/chat/create_chat"),
    ),
)
async def test_a_method_that_does_not_fit_is_a_problem_and_names_those_that_do(
    api: Api, method: str, path: str
) -> None:
    response = await api.http.request(method, path)
    if path.startswith("/api/"):
        assert response.status_code == 405
        return
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"]


@pytest.mark.parametrize("path", ("/v1/messages", "/v1/messages/batch", "/v1/inbox/ack", "/v1/ops/broadcast"))
@pytest.mark.parametrize(
    "media_type",
    ("text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data"),
)
async def test_another_media_type_is_a_problem(api: Api, path: str, media_type: str) -> None:
    response = await api.http.post(path, content=b"{}", headers={"Content-Type": media_type})
    problem(response, 415, "unsupported_media_type")


async def test_no_media_type_is_a_problem(api: Api, bob: str) -> None:
    request = api.http.build_request("POST", "/v1/messages", content=f'{{"to":"{bob}","body":1}}'.encode())
    request.headers.pop("content-type", None)
    problem(await api.http.send(request), 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ("application/json; charset=utf-8", "Application/JSON", "application/json;"))
async def test_json_under_its_other_spellings_is_taken(api: Api, bob: str, media_type: str) -> None:
    response = await api.post_raw(f'{{"to":"{bob}","body":1}}', media_type)
    assert response.status_code == 202


@pytest.mark.parametrize("path", ("/v1/messages/batch", "/v1/inbox/ack", "/v1/ops/broadcast"))
async def test_malformed_json_is_a_problem_everywhere(api: Api, path: str) -> None:
    response = await api.http.post(path, content=b"{", headers={"Content-Type": "application/json"})
    problem(response, 400, "malformed_json")


async def test_a_request_far_too_large_is_refused(api: Api) -> None:
    problem(await api.post_raw(b'{"body": "' + b"x" * 2_000_000 + b'"}'), 413, "too_large")


async def test_a_batch_far_too_large_is_refused(api: Api) -> None:
    content = b'{"messages": ["' + b"x" * 17_000_000 + b'"]}'
    response = await api.http.post("/v1/messages/batch", content=content, headers={"Content-Type": "application/json"})
    problem(response, 413, "too_large")


async def test_a_request_that_does_not_tell_its_length_is_held_to_the_limit_too(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 50_000

    response = await api.http.post("/v1/messages", content=chunks(), headers={"Content-Type": "application/json"})
    problem(response, 413, "too_large")


@pytest.mark.parametrize(
    ("path", "query", "field"),
    (
        ("/v1/inbox", {}, "device"),
        ("/v1/inbox", {"device": "d", "limit": "x"}, "limit"),
        ("/v1/inbox", {"device": "d", "limit": "0"}, "limit"),
        ("/v1/inbox", {"device": "d", "limit": "1001"}, "limit"),
        ("/v1/inbox", {"device": "d", "limit": "1.5"}, "limit"),
        ("/v1/inbox", {"device": "d", "wait": "-1"}, "wait"),
        ("/v1/inbox", {"device": "d", "wait": "61"}, "wait"),
        ("/v1/inbox", {"device": "d", "wait": "nan"}, "wait"),
        ("/v1/inbox", {"device": "d", "after": "x"}, "after"),
        ("/v1/inbox", {"device": "d", "after": "1"}, "after"),
        ("/v1/inbox", {"device": "d", "after": "-1--1"}, "after"),
        ("/v1/inbox", {"device": "d", "after": "1-1-1"}, "after"),
        ("/v1/inbox", {"device": "d", "after": "99999999999999999999-1"}, "after"),
        ("/v1/inbox/history", {"limit": "0"}, "limit"),
        ("/v1/inbox/history", {"limit": "201"}, "limit"),
        ("/v1/inbox/history", {"before": "$"}, "before"),
        ("/v1/inbox/history", {"with": "bob}"}, "with"),
    ),
)
async def test_a_query_at_fault_is_a_problem_that_names_the_field(
    api: Api, path: str, query: dict[str, str], field: str
) -> None:
    problem(await api.http.get(path, params=query), 422, "invalid_field", field)


@pytest.mark.parametrize(
    ("method", "path"),
    (
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/batch"),
        ("GET", "/v1/inbox?device=d"),
        ("POST", "/v1/inbox/ack"),
        ("GET", "/v1/inbox/history"),
        ("GET", "/v1/ops/workers"),
        ("GET", "/v1/ops/inboxes/bob"),
        ("POST", "/v1/ops/broadcast"),
        ("DELETE", "/v1/ops/connections/bob"),
    ),
)
async def test_who_names_nobody_is_unauthenticated(service: Service, method: str, path: str) -> None:
    async with Api(service.url) as nobody:
        content: Any = {} if method == "POST" else None
        problem(await nobody.http.request(method, path, json=content), 401, "unauthenticated")


@pytest.mark.parametrize("host", ("evil.example", "evil.example:8000", "10.0.0.1", "localhost.evil.example", ""))
@pytest.mark.parametrize("path", ("/v1/messages", "/api/chat/create_chat"))
async def test_a_host_that_is_not_this_machine_is_forbidden(api: Api, bob: str, host: str, path: str) -> None:
    response = await api.http.post(path, json={"to": bob, "body": 1}, headers={"Host": host})
    assert response.status_code in ({403} if host else {400, 403})
    if host and path.startswith("/v1"):
        problem(response, 403, "forbidden")


@pytest.mark.parametrize("host", ("localhost", "127.0.0.1:1", "[::1]:8000", "LOCALHOST:8000"))
async def test_the_names_of_this_machine_are_fine(api: Api, bob: str, host: str) -> None:
    response = await api.http.post("/v1/messages", json={"to": bob, "body": 1}, headers={"Host": host})
    assert response.status_code == 202


@pytest.mark.parametrize(
    "request_text",
    (
        b"nonsense\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 200,
    ),
)
async def test_what_is_no_http_ends_the_connection_and_nothing_else(
    service: Service, api: Api, bob: str, request_text: bytes
) -> None:
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request_text)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    assert not LEAKS.search(answer.decode(errors="replace"))
    await api.send(bob)


async def test_a_client_that_goes_away_mid_request_disturbs_nobody(service: Service, api: Api, bob: str) -> None:
    address = urlsplit(service.url)
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nX-Inboxd-User: eve\r\n"
    for cut in (head, head + b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(cut)
        await writer.drain()
        writer.transport.abort()
    await api.send(bob)


async def test_no_problem_repeats_what_a_caller_sent_as_a_secret(service: Service, bob: str) -> None:
    secret = secrets.token_hex(16)
    async with Api(service.url, "eve") as api:
        response = await api.http.post("/v1/nothing", json={"to": bob}, headers={"Authorization": f"Bearer {secret}"})
    assert secret not in response.text
    assert secret not in service.stderr() + service.stdout()
