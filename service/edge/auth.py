"""Who is asking. Authentication is off in this version: whoever reaches the loopback address names a user.

Bearer tokens have their place here: `identify` is the only way a request or socket gets a name.
"""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import is_loopback
from service.core.errors import ClientError, Fault
from service.edge.problems import problem_response

USER_HEADER = "x-inboxd-user"
_NAME = re.compile(r"[A-Za-z0-9._\-@:+]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user who asks. With authentication off it has every scope."""

    user: str


def identify(scope: Scope) -> Identity:
    """From the header `X-Inboxd-User`, or `?user=`. Raises ClientError `unauthenticated`, `invalid_field`."""
    user = Headers(scope=scope).get(USER_HEADER)
    if not user:
        named = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("user")
        user = named[0] if named else None
    if not user:
        raise ClientError("unauthenticated", "name a user: header X-Inboxd-User, or ?user=")
    return Identity(check_name(user, "user"))


def check_name(text: str, field: str) -> str:
    """`text` if it may name a user or device. Raises ClientError `invalid_field`."""
    if _NAME.fullmatch(text) is None:
        raise ClientError("invalid_field", f"{field}: 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +", field)
    return text


async def _asking(request: Request) -> Identity:  # async, or FastAPI would run it in a thread
    return identify(request.scope)


Asking = Annotated[Identity, Depends(_asking)]


def _host_of(value: str) -> str:
    return urlsplit(f"//{value}").hostname or ""


def origin_allowed(scope: Scope, origins: tuple[str, ...]) -> bool:
    """Whether a browser page of that origin may open a socket here; other clients send no Origin."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return True
    return urlsplit(origin).netloc == headers.get("host")


class LoopbackGuard:
    """While nobody authenticates, whoever this machine's browser runs is kept out: requests whose Host is not this
    machine (a page elsewhere whose name was pointed here), and calls of the API from another site's page.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app = app
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            fault = self._fault(scope)
            if fault is not None:
                if scope["type"] == "websocket":
                    await receive()
                    await send({"type": "websocket.close", "code": 1008})
                else:
                    await problem_response(fault)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _fault(self, scope: Scope) -> Fault | None:
        headers = Headers(scope=scope)
        try:
            host = _host_of(headers.get("host", ""))
        except ValueError:
            host = ""
        if not is_loopback(host):
            return Fault("forbidden", "the Host header does not name this machine")
        elsewhere = headers.get("sec-fetch-site") == "cross-site" and "origin" not in headers
        if scope["path"].startswith(("/v1/", "/api/")) and (elsewhere or not origin_allowed(scope, self.origins)):
            return Fault("forbidden", "this page's origin is not allowed here: INBOXD_ORIGINS")
        return None
