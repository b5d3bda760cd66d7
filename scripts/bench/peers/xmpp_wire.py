"""An XMPP stream over TCP: elements found by pattern, what one turn gives rise to written at once."""

import asyncio
import re
from typing import NamedTuple, Protocol

from scripts.bench.outbox import Outbox

# A whole element, or the opening of the stream, which stays open. Neither `>` nor `<` stands raw in attributes or
# text, and none of the elements that are asked for here holds another of its own name.
ELEMENT = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*|<stream:stream\b[^>]*>\s*)*(?:<([\w:]+)(?:\s[^>]*?)?(?:/>|>.*?</\1>)|</stream:stream>)",
    re.DOTALL,
)


class Element(NamedTuple):
    name: bytes
    """Empty: the end of the stream."""
    raw: bytes


class Elements:
    """Bytes in, whole top-level elements out; keeps what is not complete yet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Element]:
        if self._rest:
            data = self._rest + data
        found, at = [], 0
        while match := ELEMENT.match(data, at):
            found.append(Element(match[1] or b"", match[0]))
            at = match.end()
        self._rest = data[at:]
        return found


class Listener(Protocol):
    """Who a wire belongs to."""

    def element(self, wire: "Wire", element: Element) -> None: ...

    def before_flush(self, wire: "Wire") -> None:
        """Last words for the write that is about to go: `wire.write`."""

    def lost(self, wire: "Wire") -> None: ...


class Wire(Outbox):
    """One TCP connection of a client: what one turn of the loop gives rise to goes out in one write."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self._elements = Elements()
        self._answers: asyncio.Queue[Element] = asyncio.Queue()
        self.negotiating = True
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def flush(self) -> None:
        self._listener.before_flush(self)
        super().flush()

    async def ask(self, text: str, *names: bytes) -> Element:
        """Writes, and waits for the next of these elements; others are passed over."""
        self.write(text.encode())
        return await self.answer(*names)

    async def answer(self, *names: bytes) -> Element:
        while True:
            element = await self._answers.get()
            if element.name in names:
                return element
            if element.name in {b"", b"stream:error"}:
                raise ConnectionError(f"the server ended the stream: {element.raw.decode()}")

    def data_received(self, data: bytes) -> None:
        for element in self._elements.feed(data):
            if self.negotiating and element.name != b"message":
                self._answers.put_nowait(element)
            self._listener.element(self, element)
        self.flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._answers.put_nowait(Element(b"", b"(connection lost)"))
        self.gone.set_result(None)
        self._listener.lost(self)
