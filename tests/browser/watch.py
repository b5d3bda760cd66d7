"""What no page may do: errors on its console or of its scripts, dialogs, content that its policy refuses."""

import re

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, WebError, WebSocket

CUT = re.compile(
    r"WebSocket connection to '.*' failed"
    r"|Failed to load resource: net::ERR_(?:INTERNET_DISCONNECTED|CONNECTION_|EMPTY_RESPONSE|FAILED|NETWORK_CHANGED"
    r"|INCOMPLETE_CHUNKED_ENCODING)"
    r"|Failed to load resource: the server responded with a status of 50[234]"
    r"|WebSocket is (?:already in CLOSING or CLOSED state|closed before the connection is established)"
)
"""What a browser itself writes where the network or the service is not there."""


class Watch:
    """Sees everything that happens in a context, from its first page on.

    `cut`: the test takes the network or the service away, so that the browser may complain about that. `faults` are
    sentences; there must be none.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.cut = False
        self._sockets: list[tuple[Page, WebSocket]] = []
        self._seen: list[str] = []
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)
        context.on("page", self._page)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "/favicon.ico" not in message.location["url"]:
            self._seen.append(f"console: {message.text} ({message.location['url']})")

    def _error(self, error: WebError) -> None:
        self._seen.append(f"error: {error.error.stack or error.error.message}")

    async def _dialog(self, dialog: Dialog) -> None:
        self._seen.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._sockets.append((page, socket)))

    def sockets(self, page: Page) -> list[WebSocket]:
        """The WebSockets that one page has opened, whether or not they still are."""
        return [socket for owner, socket in self._sockets if owner == page]

    @property
    def faults(self) -> list[str]:
        return [fault for fault in self._seen if not (self.cut and CUT.search(fault))]
