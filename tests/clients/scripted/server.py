"""The scripted server: one port, any number of connections, everything that was said, and whom it caught at fault."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from scripts.lab.timing import PATIENCE
from tests.clients.scripted.inboxes import Frame, Inboxes, identity
from tests.clients.scripted.rules import Identity, Installation
from tests.clients.scripted.script import Cut, Delay, Do, Fault, Script, Silence, Status, What, When
from tests.clients.scripted.session import EndedError, Session
from tests.support.cursors import Cursor

T = TypeVar("T")


class ScriptedServer:
    """`breaches`: what clients did against the rules. `log`: (direction, session number, frame) of all connections;
    `times`: what came, with the second since 1970. `tokens`: those that are accepted; None while nobody needs one.
    `welcome` and `extra`: fields of `welcome`, and of every frame. `down`: every handshake is cut, as if nobody
    listened.
    """

    def __init__(self) -> None:
        self.inboxes = Inboxes()
        self.script = Script()
        self.breaches: list[str] = []
        self.log: list[tuple[str, int, Frame]] = []
        self.times: list[tuple[float, Frame]] = []
        self.sessions: list[Session] = []
        self.handshakes = 0
        self.tokens: set[str] | None = None
        self.down = False
        self.extra: Frame = {}
        self.welcome: Frame = {
            "ping_interval": 20,
            "limits": {"max_body": 65536, "max_frame": 1_048_576, "max_pending": 10_000, "dedupe_window": 86_400},
        }
        self._installations: dict[tuple[str, str], Installation] = {}
        self._changed = asyncio.Event()
        self._server: Server
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._connected,
            "127.0.0.1",
            0,
            process_request=self._handshake,
            compression=None,
            ping_interval=None,
            open_timeout=None,  # a handshake is silent for as long as the client waits
            max_size=None,
            close_timeout=0.2,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for session in self.sessions:
            session.connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    # Connections

    async def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes += 1
        self.changed()
        if urlsplit(request.path).path != "/v1/ws":
            return connection.respond(HTTPStatus.NOT_FOUND, "only /v1/ws")
        if self.down or self._stopping:
            connection.transport.abort()
            return None
        match self.script.at(When.BEFORE, What.CONNECT):
            case Status(code):
                return connection.respond(HTTPStatus(code), "scripted")
            case Cut():
                connection.transport.abort()
            case Silence():
                await connection.wait_closed()
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Do(effect):
                effect()
        return None

    async def _connected(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        named = parse_qs(urlsplit(connection.request.path).query).get("user", [])
        user = connection.request.headers.get("X-Inboxd-User") or next(iter(named), None)
        session = Session(self, connection, user)
        self.sessions.append(session)
        with contextlib.suppress(EndedError):
            await session.run()
        self.changed()

    async def take_over(self, new: Session) -> None:
        """A device has one connection: the one before ends without a word."""
        for old in self.sessions:
            if old is not new and (old.user, old.device) == (new.user, new.device):
                old.connection.transport.abort()

    def installation(self, user: str, device: str) -> Installation:
        key = (user, device)
        if key not in self._installations:
            self._installations[key] = Installation(self.inboxes.of(user), device)
        return self._installations[key]

    @property
    def open(self) -> list[Session]:
        """Connections that have had their `welcome`."""
        return [one for one in self.sessions if one.rules.welcomed and not one.connection.transport.is_closing()]

    # Who is asking

    def user_of(self, token: str | None) -> str | None:
        """`sub` of a JWT; nobody checks a signature here."""
        if token is None or token.count(".") != 2:
            return None
        middle = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))["sub"])

    def accepts(self, token: str | None) -> bool:
        return self.tokens is None or token in self.tokens

    # What happens to the inboxes

    def accept(self, sender: str, frame: Frame) -> Frame:
        answer = self.inboxes.accept(sender, frame)
        self.wake()
        return answer

    def read(self, user: str, frame: Frame) -> None:
        self.inboxes.read(user, frame)
        self.wake()

    def gather(self, group: str, *members: str) -> None:
        """Makes a group and tells its members."""
        self.inboxes.gather(group, *members)
        self.wake()

    def send(self, sender: str, **frame: Any) -> Frame:
        """As if somebody had sent it: `type`, `id`, `to` or `group`, and so on."""
        return self.accept(sender, frame)

    def deliver(self, user: str, *frames: Frame) -> list[Cursor]:
        """Puts entries into an inbox; messages need `id`, `from` and `body`."""
        cursors = [self.inboxes.put(user, {"type": "message", "to": user, **frame}) for frame in frames]
        self.wake()
        return cursors

    # Who is online

    def is_online(self, user: str) -> bool:
        return any(session.user == user for session in self.open)

    def presence(self, user: str) -> Frame:
        online = self.is_online(user)
        return {
            "type": "presence",
            "user": user,
            "status": "online" if online else "offline",
            "last_seen": self.inboxes.ms if online else None,
        }

    async def signal(self, sender: Session, asked: Frame) -> None:
        """To whoever is online now; kept nowhere."""
        to = asked.get("to", [])
        names = self.inboxes.groups[asked["group"]].members if "group" in asked else [to] if isinstance(to, str) else to
        for session in self.open:
            if session.user in names and session.user != sender.user:
                where = {"group": asked["group"]} if "group" in asked else {"to": session.user}
                frame = {"type": "signal", "from": sender.user, **where, "body": asked["body"], "ts": self.inboxes.ms}
                await session.write(frame)
                await session.flush()

    def wake(self) -> None:
        for session in self.sessions:
            session.wake.set()
        self.changed()

    async def rewind(self, user: str, keep: int) -> None:
        """Loses the tail of an inbox; open connections are told at once."""
        self.inboxes.of(user).rewind(keep)
        for session in self.open:
            if session.user == user:
                with contextlib.suppress(EndedError, ConnectionClosed):
                    await session.rewound()

    def cut(self, *, rst: bool = False) -> None:
        """Every open connection."""
        for session in self.open:
            with contextlib.suppress(EndedError):
                session.cut(rst=rst)

    # What was seen

    def play(self, *faults: Fault) -> None:
        self.script = Script(list(faults))

    def breach(self, what: str) -> None:
        self.breaches.append(what)
        self.changed()

    def heard(self, session: Session, frame: Frame) -> None:
        self.log.append(("<", self.sessions.index(session), frame))
        self.times.append((time.time(), frame))
        self.changed()

    def said(self, session: Session, frame: Frame) -> None:
        self.log.append((">", self.sessions.index(session), frame))
        self.changed()

    def frames(self, direction: str, kind: str) -> list[Frame]:
        return [frame for way, _, frame in self.log if (way, frame.get("type")) == (direction, kind)]

    def changed(self) -> None:
        self._changed.set()

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        """The first answer of `probe` that is true; asked whenever something happens."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._changed.clear()
                    found = probe()
                    if found:
                        return found
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"did not happen within {PATIENCE:.0f} s: {what}: {self.tail()}") from None

    def tail(self, count: int = 12) -> str:
        lines = [f"{way}{number} {json.dumps(frame)[:160]}" for way, number, frame in self.log[-count:]]
        return "\n".join(["", *self.breaches, *lines, f"faults still to come: {self.script.left}"])


def identities(frames: list[Frame]) -> list[Identity]:
    return [identity(frame) for frame in frames]
