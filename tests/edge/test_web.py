"""The chat page's files: each whole, typed, guarded and named by its content; and nothing but them."""

import asyncio
from urllib.parse import urlsplit

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from service.config import VERSION
from service.edge.web import POLICY, assets
from tests.support.api import Api, problem

PATHS = sorted(assets())


@pytest.mark.parametrize("path", PATHS)
async def test_every_file_is_served_whole_with_its_type_and_the_policy(service: Service, path: str) -> None:
    async with Api(service.url) as nobody:
        answer = await nobody.http.get(path)
    assert answer.status_code == 200
    assert answer.content == assets()[path].content
    assert answer.headers["content-type"] == assets()[path].media_type
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["etag"] == assets()[path].etag


@pytest.mark.parametrize(
    ("path", "media_type"),
    (
        ("/", "text/html; charset=utf-8"),
        ("/sw.mjs", "text/javascript; charset=utf-8"),
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/web/app.mjs", "text/javascript; charset=utf-8"),
        ("/web/base.css", "text/css; charset=utf-8"),
        ("/web/icons/icon-192.png", "image/png"),
        ("/web/icons/icon.svg", "image/svg+xml"),
        ("/web/vendor/htm/LICENSE", "text/plain; charset=utf-8"),
        ("/web/config.json", "application/json"),
    ),
)
async def test_browsers_are_told_what_it_is(service: Service, path: str, media_type: str) -> None:
    async with Api(service.url) as nobody:
        assert (await nobody.http.get(path)).headers["content-type"] == media_type


@pytest.mark.parametrize("path", ("/", "/sw.mjs", "/web/app.mjs", "/web/config.json"))
async def test_who_has_it_is_not_sent_it_again(service: Service, path: str) -> None:
    async with Api(service.url) as nobody:
        etag = (await nobody.http.get(path)).headers["etag"]
        for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = await nobody.http.get(path, headers={"If-None-Match": sent})
            assert (answer.status_code, answer.content) == (304, b""), sent
            assert answer.headers["etag"] == etag
            assert answer.headers["cache-control"] == "no-cache"
        for sent in ('"other"', etag.strip('"'), ""):
            assert (await nobody.http.get(path, headers={"If-None-Match": sent})).status_code == 200, sent


@pytest.mark.parametrize("path", ("/", "/sw.mjs", "/manifest.webmanifest", "/web/app.mjs", "/web/config.json"))
async def test_head_tells_what_get_would(service: Service, path: str) -> None:
    async with Api(service.url) as nobody:
        head, get = await nobody.http.head(path), await nobody.http.get(path)
    assert head.status_code == 200
    assert head.content == b""
    wanted = ("etag", "content-type", "content-length", "content-security-policy")
    assert [head.headers[name] for name in wanted] == [get.headers[name] for name in wanted]


@pytest.mark.parametrize("path", ("/", "/web/app.mjs", "/sw.mjs"))
async def test_files_cannot_be_written(service: Service, path: str) -> None:
    async with Api(service.url) as nobody:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            problem(await nobody.http.request(method, path, content=b"{}"), 405, "method_not_allowed")


async def test_the_page_is_told_whether_a_token_is_needed(service: Service, guarded: Service) -> None:
    async with Api(service.url) as nobody:
        assert await nobody.get("/web/config.json") == {"auth": "off", "version": VERSION}
    async with Api(guarded.url) as nobody:
        assert await nobody.get("/web/config.json") == {"auth": "jwt", "version": VERSION}


@pytest.mark.parametrize("path", ("/", "/sw.mjs", "/manifest.webmanifest", "/web/app.mjs"))
async def test_with_tokens_the_page_asks_nobody_for_one(guarded: Service, path: str) -> None:
    async with Api(guarded.url) as nobody:
        assert (await nobody.http.get(path)).content == assets()[path].content


HOSTILE = (
    "/web",
    "/web/",
    "/web/vendor",
    "/web/vendor/",
    "/web//app.mjs",
    "//web/app.mjs",
    "/web/./app.mjs",
    "/web/vendor/../app.mjs",
    "/web/../edge/web.py",
    "/web/%2e%2e/edge/web.py",
    "/web/..%2fedge%2fweb.py",
    "/web/..%5cedge%5cweb.py",
    "/web/%252e%252e/edge/web.py",
    "/web//etc/passwd",
    "/web/%2fetc%2fpasswd",
    "/web/app.mjs%00",
    "/web/app.mjs%00.png",
    "/web/app.mjs/",
    "/web/APP.MJS",
    "/web/app.mjs;x",
    "/web/index.html",
    "/web/sw.mjs",
    "/web/%ff%fe",
    "/web/" + "a" * 5000,
    "/web/" + "../" * 500 + "etc/passwd",
    "/sdk",
    "/sdk/",
    "/sdk/../web/app.mjs",
    "/index.html",
    "/web/.git",
    "/web/__init__.py",
)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path[:40])
async def test_whatever_else_is_asked_for_is_not_there(service: Service, path: str) -> None:
    status, body = await asked(service, path)
    assert status == 404
    assert b'"code":"not_found"' in body
    assert b"import" not in body


async def test_a_query_changes_nothing(service: Service) -> None:
    status, body = await asked(service, "/?user=alice&device=web&path=/../../etc/passwd")
    assert status == 200
    assert body == assets()["/"].content


@pytest.mark.parametrize("site", ("cross-site", "same-site"))
async def test_a_link_of_another_site_cannot_say_who_one_is(service: Service, site: str) -> None:
    async with Api(service.url) as nobody:
        for path, status in (("/?user=alice&device=phone", 303), ("/", 200)):
            answer = await nobody.http.get(path, headers={"Sec-Fetch-Site": site, "If-None-Match": "x"})
            assert answer.status_code == status
            assert answer.headers.get("location") == ("/" if status == 303 else None)


@pytest.mark.parametrize("site", ("none", "same-origin"))
async def test_whoever_types_the_address_may_say_it(service: Service, site: str) -> None:
    async with Api(service.url) as nobody:
        answer = await nobody.http.get("/?user=alice&device=phone", headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 200


async def asked(service: Service, path: str) -> tuple[int, bytes]:
    """Status and content for a path that no client library has tidied up."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body
