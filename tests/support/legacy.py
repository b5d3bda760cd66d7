"""A client of the older protocol. It knows the old shapes and nothing of inboxd."""

import json
from types import TracebackType
from typing import Any, Self

from tests.support.arrivals import Frame
from tests.support.wire import Wire

PATH = "/api/chat/connect_chat"


class LegacyClient:
    """Connects, reads objects, sends `private_message`. `base` is the service's `http://` address."""

    def __init__(self, base: str, user: str) -> None:
        self.url = f"{base.replace('http', 'ws', 1)}{PATH}?user_code={user}"
        self.user = user
        self.wire: Wire

    async def connect(self) -> Frame:
        """Opens the connection; the welcome."""
        self.wire = await Wire.open(self.url)
        return await self.wire.next("system")

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.wire.close()

    async def say(self, recipient: str, text: str) -> None:
        await self.wire.send({"type": "private_message", "recipient": recipient, "msg": text})

    async def message(self) -> Frame:
        """The next message."""
        return await self.wire.next("private_message")

    async def messages(self, count: int) -> list[Frame]:
        """Waits for so many messages; all of this connection so far."""

        def probe() -> list[Frame] | None:
            came = self.wire.of("private_message")
            return came if len(came) >= count else None

        return await self.wire.until(probe, f"{count} messages")


def old_frame(sender: str, text: Any, recipient: str) -> Frame:
    """What the recipient gets, exactly."""
    return {"type": "private_message", "sender": sender, "msg": text, "recipient": recipient}


def old_welcome(user: str) -> Frame:
    """What comes on connecting, exactly."""
    return {"type": "system", "msg": "Welcome to the chat app!", "sender": "system", "recipient": user}


def same(frame: Frame, wanted: Frame) -> bool:
    """Equal as an old client compares: same fields, same values, and JSON all through."""
    return json.dumps(frame, sort_keys=True) == json.dumps(wanted, sort_keys=True)
