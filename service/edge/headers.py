"""What every HTTP answer says beside its content: to browsers, how little they may do with it."""

from collections.abc import Iterable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = "content-security-policy"
_ANSWERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",  # answers are somebody's messages
    CSP: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""No HSTS: the service speaks no TLS. Whoever puts TLS in front of it knows whether all of the host has it."""

RAW = tuple((name.encode(), value.encode()) for name, value in _ANSWERS.items())
"""The same for answers that no application gives."""

_LINES = b"".join(b"%b: %b\r\n" % field for field in RAW)
_KEY = "inboxd.headers"


def add(scope: Scope, fields: Iterable[tuple[str, str]]) -> None:
    """Fields of the answer to this request, whatever it will be."""
    scope.setdefault("state", {}).setdefault(_KEY, {}).update(fields)


def lines(scope: Scope) -> bytes:
    """All of them, as they stand in the answer to this request, for who writes it without `guarded`."""
    added: dict[str, str] = scope.get("state", {}).get(_KEY, {})
    return "".join(f"{name}: {value}\r\n" for name, value in added.items()).encode("latin-1") + _LINES


def guarded(app: ASGIApp) -> ASGIApp:
    """`app` with these fields on every answer; those that it sets itself stay."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (state.get(_KEY, {}) | _ANSWERS).items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_guarded)

    return serve
