"""What requests may hold of a worker's memory together: their bodies, from when they come until the answer is out."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import ClientError
from service.telemetry import BODIES_REFUSED

MOST_HELD = 128 << 20
"""Bytes. Eight of the largest batches, or two thousand of the largest messages."""


class Intake:
    """ASGI middleware. A body that would go beyond is refused (`overloaded`) while it comes, whatever it announced:
    who only announces, or sends slowly, takes nothing from the others.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_HELD) -> None:
        self.app = app
        self.most = most
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        mine = 0

        async def counted() -> Message:
            nonlocal mine
            message = await receive()
            size = len(message.get("body", b""))
            if size and self.held + size > self.most:
                BODIES_REFUSED.inc()
                raise ClientError("overloaded", "this worker has as many requests at hand as it may; try again")
            mine += size
            self.held += size
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            self.held -= mine
