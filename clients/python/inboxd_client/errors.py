"""Everything that this package raises. `code` is for programs: one of docs/protocol.md section 9, or named here."""


class InboxError(Exception):
    """The root of all errors of this package."""


class SendError(InboxError):
    """A message, or a change of one, was not accepted. `id` is its id.

    Codes of the service (`id_reused`, `inbox_full`, `refused`, `no_such_group`, `no_such_message` …), and of the client
    itself: `expired` (its time was over before the first try), `too_large`, `invalid_field`, `forbidden` (a change of
    somebody else's message), `outbox_full`, `discarded`, `closed` (the client was closed; the item stays in the outbox
    and goes out the next time).
    """

    def __init__(self, code: str, message: str, id: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.id = code, message, id


class Unreachable(InboxError):
    """InboxSender gave up: whether the message is in is not known. The same `id` may be sent again. (After a question
    it is empty: whether it was heard is not known, and it may be asked again.)

    `tries`: how often it was tried. `reason`: what came of the last one, for people.
    """

    def __init__(self, id: str, tries: int, reason: str) -> None:
        super().__init__(f"no answer after {tries} tries: {reason}")
        self.id, self.tries, self.reason = id, tries, reason


class ClientFailed(InboxError):
    """The client has given up until `connect()` is called again: state `failed`.

    `code`: the WebSocket close code (4500 to 4999), or None where there was none. `reason`: a word, such as
    `unauthenticated`.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code or ''} {reason}".strip())
        self.code, self.reason = code, reason


class ClientClosed(InboxError):
    """`close()` was called."""


class RequestError(InboxError):
    """A question was not answered: `not_connected` (`history`), `unreachable` (over HTTP), or the service's code.

    Signals and watches that the service would not take raise it, too.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class StorageError(InboxError):
    """The database will not do.

    Codes: `locked` (another client has it), `corrupt`, `read_only`, `unusable` (no such folder, a full disk …),
    `newer` (written by a newer version), `other_owner` (it holds the inbox of another user or device).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
