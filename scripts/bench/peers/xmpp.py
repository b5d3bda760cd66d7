"""A lean XMPP client: SASL PLAIN, registration in band, XEP-0198 with resumption."""

import asyncio
import base64
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from scripts.bench.peers.peer import ignore_id, ignore_loss, ignore_message
from scripts.bench.peers.xmpp_wire import Element, Wire

DOMAIN = "localhost"
PASSWORD = "bench"  # noqa: S105 - of users who live for one run, on loopback
RESOURCE = "bench"
CONNECT_TIMEOUT = 30.0  # s, from the first byte to "messages come"
CLOSE_TIMEOUT = 5.0  # s
WRAP = 2**32  # of XEP-0198's counters

SM = "urn:xmpp:sm:3"
OPEN = (
    f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)
BIND = (
    "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
    f"<resource>{RESOURCE}</resource></bind></iq><enable xmlns='{SM}' resume='true'/>"
)
PRESENCE = b"<presence/>"
ASK = f"<r xmlns='{SM}'/>".encode()

ID = re.compile(rb"\sid='([^']*)'")
COUNT = re.compile(rb"\sh='(\d+)'")
BODY = re.compile(rb"<body>([^<]*)</body>")
STANZAS = frozenset({b"message", b"presence", b"iq"})


class Sent(NamedTuple):
    """A stanza that the server has not confirmed yet. `id`: "" for presence."""

    id: str
    raw: bytes


class XmppClient:
    """One user. Holds what XEP-0198 wants kept over connections: both counters, the unconfirmed stanzas, the id."""

    on_accepted: Callable[[str], None]
    on_message: Callable[[str, str], None]
    on_lost: Callable[[], None]

    def __init__(self, host: str, port: int, user: str) -> None:
        self.on_accepted, self.on_message, self.on_lost = ignore_id, ignore_message, ignore_loss
        self._place = (host, port)
        self._user = user
        self._wire: Wire | None = None
        self._session = ""  # what `<resume/>` names; empty: none to take up
        self._unconfirmed: deque[Sent] = deque()
        self._confirmed = 0  # of ours, by the server
        self._handled = 0  # of the server's, by us
        self._answer_owed = False
        self._asked = False

    async def connect(self) -> None:
        """Logs in (registers first where the user is new), takes up the session or begins one."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(self), *self._place)
            try:
                await self._log_in(wire)
                if not await self._resumed(wire):
                    await self._begin(wire)
            except BaseException:
                self._wire = None
                wire.transport.abort()
                raise
        wire.negotiating = False

    def send(self, to: str, id: str, text: str) -> None:
        """One chat message to the user's bare address."""
        wire = self._wire
        if wire is None:
            return
        raw = f"<message to='{to}@{DOMAIN}' type='chat' id='{id}'><body>{text}</body></message>".encode()
        self._unconfirmed.append(Sent(id, raw))
        wire.write(raw)

    async def close(self) -> None:
        """Ends the stream, which ends the session: what comes from now on is stored."""
        wire, self._wire = self._wire, None
        self._session = ""
        if wire is None or wire.gone.done():
            return
        self._answer_owed = False  # this is the answer, and nothing may follow it
        wire.write(self._count() + b"</stream:stream>")
        await asyncio.wait([wire.gone], timeout=CLOSE_TIMEOUT)
        wire.transport.abort()

    # What the wire tells

    def element(self, wire: Wire, element: Element) -> None:
        name = element.name
        if name == b"message":
            self._handled += 1
            self._message(element.raw)
        elif name == b"a":
            self._confirm(int(found(COUNT, element.raw)))
            self._asked = False
        elif name == b"r":
            self._answer_owed = True
        elif name in STANZAS:
            self._handled += 1
        elif name == b"enabled":
            self._handled = self._confirmed = 0
        elif not name:
            wire.transport.close()

    def before_flush(self, wire: Wire) -> None:
        """Answers and asks for confirmation: at most once each per write, and one question at a time."""
        if self._answer_owed:
            self._answer_owed = False
            wire.write(self._count())
        if self._unconfirmed and not self._asked and wire is self._wire:
            self._asked = True
            wire.write(ASK)

    def lost(self, wire: Wire) -> None:
        if wire is self._wire:
            self._wire = None
            if not wire.negotiating:
                self.on_lost()

    # Inside

    async def _log_in(self, wire: Wire) -> None:
        await wire.ask(OPEN, b"stream:features")
        secret = base64.b64encode(f"\0{self._user}\0{PASSWORD}".encode()).decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        if (await wire.ask(auth, b"success", b"failure")).name == b"failure":
            await wire.ask(
                f"<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>{self._user}</username>"
                f"<password>{PASSWORD}</password></query></iq>",
                b"iq",
            )
            answer = await wire.ask(auth, b"success", b"failure")
            if answer.name == b"failure":
                raise ConnectionError(f"{self._user} may not log in: {answer.raw.decode()}")
        await wire.ask(OPEN, b"stream:features")

    async def _resumed(self, wire: Wire) -> bool:
        """Whether the server still had the session; then only what it has not handled is sent again."""
        if not self._session:
            return False
        ask = f"<resume xmlns='{SM}' h='{self._handled}' previd='{self._session}'/>"
        answer = await wire.ask(ask, b"resumed", b"failed")
        count = COUNT.search(answer.raw)
        if count is not None:
            self._confirm(int(count[1]))
        self._asked = self._answer_owed = False
        if answer.name == b"failed":
            return False
        self._wire = wire
        self._repeat(wire)
        return True

    async def _begin(self, wire: Wire) -> None:
        """A session of its own; returns when the server has handled the presence that makes messages come."""
        self._session = ""
        enabled = await wire.ask(BIND, b"enabled", b"failed")
        self._session = found(ID, enabled.raw).decode()
        self._unconfirmed = deque([Sent("", PRESENCE), *(sent for sent in self._unconfirmed if sent.id)])
        self._asked = True
        self._wire = wire
        self._repeat(wire)
        wire.write(ASK)
        await wire.answer(b"a")

    def _repeat(self, wire: Wire) -> None:
        for sent in self._unconfirmed:
            wire.write(sent.raw)

    def _message(self, raw: bytes) -> None:
        body = BODY.search(raw)
        if body is not None:
            self.on_message(found(ID, raw).decode(), body[1].decode())

    def _confirm(self, count: int) -> None:
        for _ in range((count - self._confirmed) % WRAP):
            sent = self._unconfirmed.popleft()
            if sent.id:
                self.on_accepted(sent.id)
        self._confirmed = count

    def _count(self) -> bytes:
        return f"<a xmlns='{SM}' h='{self._handled % WRAP}'/>".encode()


def found(pattern: "re.Pattern[bytes]", raw: bytes) -> bytes:
    """The first group of what must be there. ConnectionError if it is not."""
    match = pattern.search(raw)
    if match is None:
        raise ConnectionError(f"not understood: {raw.decode(errors='replace')}")
    return match[1]
