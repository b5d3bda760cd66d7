"""`/`: the chat page, of the files in `service/web/`. Nothing from elsewhere, nothing inline, no build.

They are read once and kept: only what was there can be asked for, and a file is named by its content. So every worker
on every host gives it the same ETag, and the page's service worker knows when a new version is complete.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from service.config import VERSION
from service.edge.auth import EVERYBODY, Gate
from service.edge.headers import CSP

FOLDER = Path(__file__).parents[1] / "web"
TYPES = {
    "": "text/plain; charset=utf-8",  # licences, sums
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; manifest-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types inboxd"
)
AT_THE_TOP = {"index.html": "/", "sw.mjs": "/sw.mjs", "manifest.webmanifest": "/manifest.webmanifest"}
"""A service worker's place decides what it serves. All other files lie below `/web/`, the client below `/sdk/`."""

SHELL = (".html", ".css", ".mjs", ".webmanifest", ".svg", ".png")
"""What the page needs without a network: all but licences and notes."""

FOREIGN = {"cross-site", "same-site"}
"""Where a link to the page may not say who one is: its device would take the place of the real one, and ack for it."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(EVERYBODY)])


@dataclass(frozen=True)
class Asset:
    """One file as it is served. `etag` is of its content."""

    content: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        """The file, or 304 to whoever has it."""
        headers = {"etag": self.etag, "cache-control": "no-cache", CSP: POLICY}
        if _has(request.headers.get("if-none-match", ""), self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


@cache
def assets() -> Mapping[str, Asset]:
    """Every file of the page by its path in the URL."""
    found = {
        _place(name := path.relative_to(FOLDER).as_posix()): Asset(path.read_bytes(), TYPES[Path(name).suffix])
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file() and path.suffix in TYPES  # what an editor leaves is no page
    }
    worker = found["/sw.mjs"]
    files = {path: asset.etag for path, asset in found.items() if path != "/sw.mjs" and _in_shell(path)}
    # A browser takes a new service worker when a byte of it changed: so it names every file by its content.
    shell = {"version": hashlib.sha256(orjson.dumps(files)).hexdigest()[:16], "files": files}
    return found | {"/sw.mjs": Asset(b"const SHELL = " + orjson.dumps(shell) + b";\n" + worker.content, TYPES[".mjs"])}


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/sw.mjs", methods=["GET", "HEAD"])
@router.api_route("/manifest.webmanifest", methods=["GET", "HEAD"])
@router.api_route("/sdk/inboxd.mjs", methods=["GET", "HEAD"])
@router.api_route("/sdk/inboxd-http.mjs", methods=["GET", "HEAD"])
@router.api_route("/web/{path:path}", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    path = request.scope["path"]
    if path == "/web/config.json":
        return _config(request).answer(request)
    if path == "/" and request.url.query and request.headers.get("sec-fetch-site") in FOREIGN:
        return RedirectResponse("/", 303)
    asset = assets().get(path)
    if asset is None:
        raise HTTPException(404)
    return asset.answer(request)


def _config(request: Request) -> Asset:
    """What the page must know before it can ask who is there."""
    gate: Gate = request.app.state.gate
    return Asset(
        orjson.dumps({"auth": "off" if gate.tokens is None else "jwt", "version": VERSION}), "application/json"
    )


def _place(name: str) -> str:
    if name.startswith("sdk/"):
        return f"/{name}"
    return AT_THE_TOP.get(name, f"/web/{name}")


def _in_shell(path: str) -> bool:
    return path == "/" or path.endswith(SHELL)


def _has(sent: str, etag: str) -> bool:
    """Whether `If-None-Match` names this; compared weakly, as RFC 9110 wants it."""
    tags = [tag.strip().removeprefix("W/") for tag in sent.split(",")]
    return etag in tags or tags == ["*"]
