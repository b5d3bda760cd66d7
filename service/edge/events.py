"""`GET /v1/events`: receiving as server-sent events. The session behind it is that of a WebSocket; acks come by POST.

What a browser's `EventSource` does by itself decides how a stream ends: it comes back after the end of a stream, and
stays away after any status but 200. So what may be better in a moment is told within a stream (as closes below 4500 are
on a WebSocket), what will not be is a status.
"""

import asyncio
import logging
import random
import secrets
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core import sse
from service.core.errors import ClientError, Fault, Unavailable
from service.core.frames import MAX_WINDOW, Hello, closing_frame, error_frame
from service.core.identity import Identity
from service.delivery.connection import Connection
from service.delivery.worker import Worker
from service.edge.auth import Asking
from service.edge.bodies import cursor_of, worker_of
from service.edge.expiry import Expiry
from service.edge.http_protocol import connection_of
from service.edge.openapi import ASKING, CURSOR, TEXT, Responses, problems
from service.edge.ws import TOKEN_EXPIRED
from service.edge.ws_protocol import GOODBYE
from service.store.presence import ENDED_LIFE, Claim

log = logging.getLogger("inboxd.events")

router = APIRouter(tags=["receiving"])

MEDIA_TYPE = "text/event-stream"
RETRY_MS = (1000, 3000)
"""A browser waits so long before it connects again, each another time: a dead worker's come back one by one."""
REPLACED, REMOVED = 4509, 4510
FAULTS = {
    1011: Fault("internal", "the service failed; it has been logged"),
    1013: Fault("unavailable", "the store cannot be reached"),
    TOKEN_EXPIRED: Fault("unauthenticated", "the token has expired"),
    REPLACED: Fault("replaced", "this device connected elsewhere"),
    REMOVED: Fault("removed", "an operator ended this connection"),
}
"""What the last event says, by the code with which a WebSocket would be closed."""
STATUSES = ("too_many_connections", "too_many_devices")
"""Refusals that waiting a moment does not mend."""
FIELDS = {
    "content-type": MEDIA_TYPE,
    "cache-control": "no-store, no-transform",  # who compresses gathers first
    "x-accel-buffering": "no",
    "connection": "close",  # the next request must not come to a worker that drains
}


class EventsPeer:
    """Where the session's frames go. Before the answer has begun they wait."""

    def __init__(self, scope: Scope, ping_interval: float) -> None:
        self._http = http = connection_of(scope)
        self._interval = ping_interval
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] | None = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self.closed: tuple[int, str] | None = None
        self.over = asyncio.Event()
        http.without_end(scope, self.over.set)

    def send(self, lines: list[bytes]) -> None:
        if self._waiting is None:
            self._http.push(b"".join(map(sse.event, lines)))
        else:
            self._waiting += lines

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.over.set()

    @property
    def gone(self) -> bool:
        return self._http.gone

    @property
    def flooded(self) -> bool:
        return self._http.flooded

    def refusal(self) -> Fault | None:
        """Why there is to be no stream at all, once the connection is closed."""
        for line in self._waiting or ():
            content = orjson.loads(line)
            if content["type"] == "error" and content["code"] in STATUSES:
                return Fault(content["code"], content["message"])
        return None

    def begin(self) -> None:
        """The head of the answer is out."""
        waiting, self._waiting = self._waiting or [], None
        self._http.push(sse.retry(random.randint(*RETRY_MS)) + b"".join(map(sse.event, waiting)))
        self._timer = self._loop.call_later(self._interval, self._keep_alive)

    def finish(self, comes_back: bool) -> None:
        """The last event. `comes_back`: where it is over for good, a browser would be told so when it returns."""
        if self._timer is not None:
            self._timer.cancel()
        code = self.closed[0] if self.closed is not None else 0
        if code in (REPLACED, REMOVED) and not comes_back:
            self._http.push(sse.retry(ENDED_LIFE * 1000))  # or the two would throw each other out for ever
        if code in FAULTS:
            self._http.push(sse.event(error_frame(FAULTS[code])))

    def abort(self) -> None:
        self._http.abort()

    def _keep_alive(self) -> None:
        """Shows proxies, and us, that somebody is there: a peer that has not taken in what was there an interval ago
        reads no more.
        """
        _, left = self._http.progress
        if left < self._due:
            self._http.abort()
        if self._http.gone:
            return
        self._http.push(sse.KEEP_ALIVE)
        self._due, _ = self._http.progress
        self._timer = self._loop.call_later(self._interval, self._keep_alive)


class EventStream(Response):
    """One stream, from the claim of its device to its end. `name`: what the client calls it, or ""."""

    def __init__(self, worker: Worker, identity: Identity, hello: Hello, name: str) -> None:
        super().__init__()
        self._worker = worker
        self._identity = identity
        self._hello = hello
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ClientError where the answer is to be a problem."""
        session = f"e-{secrets.token_hex(6)}" + (f":{self._name}" if self._name else "")
        claim = Claim(self._identity.user, self._hello.device, self._worker.id, session)
        peer = EventsPeer(scope, self._worker.settings.ping_interval)
        try:
            if await self._worker.presence.stream_ended(claim):
                await Response(status_code=204)(scope, receive, send)
                return
        except Unavailable:
            peer.close(1013, "unavailable")
        if self._worker.draining:  # looked at last: whoever connects from here on is known to the drain
            peer.send([closing_frame("the worker is restarting", random.randint(*RETRY_MS))])
            peer.close(1012, "the worker is restarting")
        if peer.closed is None:
            await self._follow(peer, claim, send)
        else:
            await self._begin(peer, send)
        await self._end(peer, claim, send)

    async def _follow(self, peer: EventsPeer, claim: Claim, send: Send) -> None:
        """Until the stream is over, one way or another."""
        connection = Connection(self._worker, peer, claim.user, claim.device, 0, claim.session)
        expiry = Expiry(lambda: connection.end(TOKEN_EXPIRED, "the token has expired"))
        expiry.at(self._identity.expires)
        try:
            await connection.open(self._hello, confirm=False)
            await self._begin(peer, send)
            await peer.over.wait()
        finally:
            expiry.cancel()
            connection.lost()

    async def _begin(self, peer: EventsPeer, send: Send) -> None:
        if (fault := peer.refusal()) is not None:
            raise ClientError(fault.code, fault.detail)
        if peer.gone:
            return
        fields = [(name.encode(), text.encode()) for name, text in FIELDS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        peer.begin()

    async def _end(self, peer: EventsPeer, claim: Claim, send: Send) -> None:
        if peer.closed is not None and peer.closed[0] == REMOVED and claim.stream:
            try:
                await self._worker.presence.end_stream(claim, "removed")
            except Unavailable:
                log.warning("a stream of %s may come back, though an operator removed it", claim.user)
        peer.finish(comes_back=bool(claim.stream))
        if peer.gone:  # uvicorn would hear of that only later
            return
        try:
            async with asyncio.timeout(GOODBYE):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            peer.abort()  # it does not read


ANSWERS: Responses = {
    200: {"description": "frames in order, without end", "content": {MEDIA_TYPE: {"schema": TEXT}}},
    204: {"description": "this `stream` was replaced or removed less than 60 s ago: stay away"},
}


@router.get(
    "/v1/events",
    responses=ANSWERS | problems(*ASKING, "invalid_field", "too_many_devices", "too_many_connections"),
    response_class=Response,
)
async def events(
    request: Request,
    asking: Asking,
    device: Annotated[str, Query(pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")],
    window: Annotated[int, Query(ge=1, le=MAX_WINDOW)] = 256,
    stream: Annotated[str, Query(pattern=r"^[A-Za-z0-9._\-@:+]{0,64}$")] = "",
    last_event_id: Annotated[str | None, Header(json_schema_extra={"pattern": CURSOR["pattern"]})] = None,
) -> Response:
    """Server-sent events: `welcome`, what waits, `live`, then entries as they come. Ack with `POST /v1/inbox/ack`."""
    start = cursor_of(last_event_id or None, "Last-Event-ID")
    hello = Hello(type="hello", device=device, window=window, cursor=str(start) if start is not None else None)
    return EventStream(worker_of(request), asking, hello, stream)
