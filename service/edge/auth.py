"""Who is asking, and what they may. The only way a request or socket gets a name.

With `INBOXD_AUTH=jwt` it is a token's user. While authentication is off it is whomever the request names, so the
service listens on loopback only, and `LoopbackGuard` keeps out what this machine's browsers are made to send.
"""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import Settings, is_loopback
from service.core.errors import ClientError, Fault
from service.core.identity import CHAT, NAME, OPS, SEND_ANY, Identity
from service.edge.configured_keys import keys_of
from service.edge.problems import Denied, problem_response
from service.edge.tokens import Tokens, forbidden, unauthenticated

USER_HEADER = b"x-inboxd-user"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Gate:
    """Names who asks, by the settings. One for each process. Raises Refused for keys that will not do."""

    def __init__(self, settings: Settings) -> None:
        self.tokens: Tokens | None = None
        if settings.auth == "jwt":
            self.tokens = Tokens(keys_of(settings), settings.jwt_audience, settings.jwt_issuer)

    async def identify(self, scope: Scope, token: str | None = None) -> Identity:
        """By `token`, else by what the request brings. Raises ClientError `unauthenticated`, `invalid_field`, and
        `unavailable` where the keys to check a token with cannot be had.
        """
        if self.tokens is None:
            return named(scope)
        return await self.tokens.identify(bearer(scope) if token is None else token)

    def problems(self) -> list[str]:
        """Why nobody can be let in; [] when they can."""
        found = self.tokens.keys.problem() if self.tokens is not None else None
        return [found] if found else []


def bearer(scope: Scope) -> str:
    """The token of the one `Authorization` header. Raises ClientError `unauthenticated`."""
    sent: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if not sent:
        raise Denied("unauthenticated", "a token is needed: Authorization: Bearer …", "Bearer")
    scheme, _, token = sent[0].decode("latin-1").partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise unauthenticated("send one header, Authorization: Bearer …")
    return token.strip()


def named(scope: Scope) -> Identity:
    """While authentication is off: by the header `X-Inboxd-User`, or `?user=`. It has every scope.

    Raises ClientError `unauthenticated`, `invalid_field`.
    """
    user = next((value.decode("latin-1") for name, value in scope["headers"] if name == USER_HEADER), None)
    if not user:
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("user")
        user = asked[0] if asked else None
    if not user:
        raise ClientError("unauthenticated", "name a user: header X-Inboxd-User, or ?user=")
    return Identity(check_name(user, "user"))


def check_name(text: str, field: str) -> str:
    """`text` if it may name a user or device. Raises ClientError `invalid_field`."""
    if NAME.fullmatch(text) is None:
        raise ClientError("invalid_field", f"{field}: 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +", field)
    return text


def sender_of(asking: Identity, named_sender: str | None) -> str:
    """Whose message it will be. Raises ClientError `forbidden` where another name is not theirs to give."""
    if named_sender is None:
        return asking.user
    if not asking.may(SEND_ANY):
        raise forbidden("from: needs the scope send:any", SEND_ANY)
    return named_sender


@dataclass(frozen=True)
class Rule:
    """Who may use a route. One of `scopes` is enough; none: everybody, without a name.

    `nameless`: while authentication is off nobody need be named. As a dependency of an HTTP route it is enforced,
    but for `itself`: there the endpoint does it, as its refusals have a shape of their own. So does that of a
    socket, which carries it as `rule`.
    """

    scopes: tuple[str, ...] = ()
    nameless: bool = False
    itself: bool = False

    async def __call__(self, request: Request) -> Identity | None:
        return None if self.itself else await self.admit(request)

    async def admit(self, request: Request) -> Identity | None:
        """Who asks; None where nobody need be named. Raises ClientError."""
        gate: Gate = request.app.state.gate
        if not self.scopes or (self.nameless and gate.tokens is None):
            return None
        identity = await gate.identify(request.scope)
        self.check(identity)
        return identity

    def check(self, identity: Identity) -> None:
        """Raises ClientError `forbidden`."""
        if self.scopes and not identity.may(*self.scopes):
            raise forbidden(f"the token needs the scope {' or '.join(self.scopes)}", *self.scopes)


EVERYBODY = Rule()
CHATTERS = Rule((CHAT,))
SENDERS = Rule((CHAT, SEND_ANY))
OPERATORS = Rule((OPS,))
ANYBODY = Rule((CHAT, SEND_ANY, OPS))

Asking = Annotated[Identity, Depends(CHATTERS)]
AskingToSend = Annotated[Identity, Depends(SENDERS)]
AskingToOperate = Annotated[Identity, Depends(OPERATORS)]


def _host_of(value: str) -> str:
    try:
        return urlsplit(f"//{value}").hostname or ""
    except ValueError:
        return ""


def origin_allowed(scope: Scope, origins: tuple[str, ...]) -> bool:
    """Whether a browser page of that origin may open a socket here; other clients send no Origin."""
    headers = Headers(scope=scope)
    sent = headers.getlist("origin")
    if not sent:
        return True
    if len(sent) > 1:
        return False
    if sent[0] in origins:
        return True
    try:
        parts = urlsplit(sent[0])
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme, "")
    own = headers.get("host", "")
    return bool(parts.netloc) and parts.netloc.removesuffix(port) == own.removesuffix(port)


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
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_loopback(_host_of(hosts[0])):
            return Fault("forbidden", "the Host header does not name this machine")
        elsewhere = headers.get("sec-fetch-site") == "cross-site" and "origin" not in headers
        if scope["path"].startswith(("/v1/", "/api/")) and (elsewhere or not origin_allowed(scope, self.origins)):
            return Fault("forbidden", "this page's origin is not allowed here: INBOXD_ORIGINS")
        return None
