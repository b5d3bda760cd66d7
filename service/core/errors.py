"""The error tree. Errors carry fields (a code of `docs/protocol.md`), not prose to be parsed."""

from dataclasses import dataclass

# code: (HTTP status, title, worth trying again with the same id)
CODES: dict[str, tuple[int, str, bool]] = {
    "malformed_json": (400, "The text is not JSON", False),
    "malformed_request": (400, "The request is not HTTP", False),
    "unauthenticated": (401, "Nobody is named", False),
    "forbidden": (403, "Not allowed", False),
    "refused": (403, "The recipient has blocked the sender", False),
    "not_found": (404, "There is nothing here", False),
    "no_such_group": (404, "No group of this name has you as a member", False),
    "no_such_message": (404, "No such message is known there", False),
    "method_not_allowed": (405, "The method does not fit the resource", False),
    "too_slow": (408, "The request did not come in time", True),
    "too_many_devices": (409, "The user has too many devices", False),
    "too_many_blocks": (409, "The user blocks as many as may be", False),
    "group_full": (409, "The group has as many members as it may", False),
    "too_large": (413, "Too large", False),
    "unsupported_media_type": (415, "The media type is not application/json", False),
    "invalid_field": (422, "A field is at fault", False),
    "id_reused": (422, "This id was used for another body", False),
    "ack_beyond_head": (422, "The cursor is beyond the newest entry", False),
    "rate_limited": (429, "Too many messages", True),
    "too_many_connections": (429, "The user has too many connections", True),
    "head_too_large": (431, "The request's head is too large", False),
    "out_of_order": (409, "An earlier send of this connection has failed", True),
    "internal": (500, "The service failed", True),
    "overloaded": (503, "The worker holds all it may", True),
    "unavailable": (503, "The store cannot be reached or refuses writes", True),
    "inbox_full": (507, "The recipient's inbox is full", True),
    # Of WebSocket frames alone:
    "unknown_type": (422, "The type is not known", False),
    "hello_repeated": (422, "hello comes once", False),
    "hello_expected": (422, "The first frame must be hello", False),
    "ack_beyond_sent": (422, "The cursor was not sent on this connection", False),
    # Of the ends of event streams alone:
    "replaced": (409, "The device connected elsewhere", False),
    "removed": (403, "An operator ended the connection", False),
}


class InboxdError(Exception):
    """Root of every error this service raises on purpose."""


class Refused(InboxdError):
    """The service will not start like this; the text says why and what to change."""


class Unavailable(InboxdError):
    """The server could not be asked, or its answer is unknown: the write may be in.

    `why` is for logs only; it may name hosts and never reaches a client.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Fault:
    """What was wrong with one request, frame or message. `code` is a key of `CODES`."""

    code: str
    detail: str
    field: str | None = None

    @property
    def status(self) -> int:
        return CODES[self.code][0]

    @property
    def title(self) -> str:
        return CODES[self.code][1]

    @property
    def retryable(self) -> bool:
        return CODES[self.code][2]


class ClientError(InboxdError):
    """A request or frame is at fault. Carries the `Fault` that its sender is told."""

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.fault = Fault(code, detail, field)
