"""One connection: reads frames, answers them, and writes the inbox, except where the script says otherwise."""

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode

from tests.clients.scripted.inboxes import SENT, Entry, Frame, Inbox, RefusedError
from tests.clients.scripted.rules import ITEMS, MOST_UNANSWERED, ClientAtFaultError, Installation, Rules
from tests.clients.scripted.script import (
    WRITTEN,
    Action,
    Close,
    Closing,
    Cut,
    Delay,
    Do,
    Framing,
    Refuse,
    Repeat,
    Say,
    Silence,
    What,
    When,
)
from tests.support.cursors import START, Cursor

if TYPE_CHECKING:
    from tests.clients.scripted.server import ScriptedServer

RETRYABLE = {"unavailable", "out_of_order", "inbox_full", "rate_limited", "internal", "overloaded"}
REFUSED_IN_ORDER = {"unavailable"}


class EndedError(Exception):
    """The script, or the client, has ended this connection."""


class Session:
    """`user` is None until `hello` where only its token says who it is."""

    def __init__(self, server: "ScriptedServer", connection: ServerConnection, user: str | None) -> None:
        self.server, self.connection, self.user = server, connection, user
        self.rules = Rules()
        self.device = ""
        self.inbox: Inbox
        self.installation: Installation | None = None
        self.position = START
        self.in_flight: deque[Cursor] = deque()
        self.window = 256
        self.live = False
        self.silent = False
        self.framing = Framing()
        self.wake = asyncio.Event()
        self.code = 0  # of the close frame that this side wrote
        self._bundle: list[str] = []
        self._written: dict[What, deque[Frame]] = {what: deque(maxlen=64) for what in WRITTEN}
        self._failed: list[str] = []  # ids that failed as unavailable, in order
        self._refusals: dict[str, tuple[Refuse, int]] = {}
        self._span: tuple[Refuse, int] | None = None
        self._writing = asyncio.Lock()
        self.unanswered = 0  # sends that have arrived
        self._arrived = asyncio.Queue[Frame | None]()
        self._pump: asyncio.Task[None] | None = None

    # The whole connection

    async def run(self) -> None:
        reader = asyncio.create_task(self._read())
        try:
            while (frame := await self._arrived.get()) is not None:
                await self._take(frame)
                if self._arrived.empty():
                    await self.flush()
        except (ConnectionClosed, EndedError):
            if self.silent:
                await reader  # until the client goes away
        except (ClientAtFaultError, ValueError, KeyError) as fault:
            self.server.breach(f"{self.user}/{self.device}: {fault}")
            await self.close(4500, "scripted: the client is at fault")
        finally:
            tasks = [task for task in (reader, self._pump) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        """Takes from the wire what comes, however long this server takes to answer; None at its end."""
        with contextlib.suppress(ConnectionClosed):
            async for data in self.connection:
                for frame in frames_of(data):
                    self.unanswered += frame.get("type") in ITEMS
                    if self.unanswered > MOST_UNANSWERED:
                        self.server.breach(f"{self.user}/{self.device}: more than {MOST_UNANSWERED} unanswered sends")
                    self._arrived.put_nowait(frame)
        self._arrived.put_nowait(None)

    async def _take(self, frame: Frame) -> None:
        self.server.heard(self, frame)
        self.rules.received(frame)
        handlers = {"hello": self._hello, "ack": self._ack, "read": self._note}
        handlers |= dict.fromkeys(ITEMS, self._send)
        await handlers.get(frame["type"], self._rest)(frame)

    async def _rest(self, frame: Frame) -> None:
        match frame["type"]:
            case "skip" if frame["id"] in self._failed:
                self._failed.remove(frame["id"])
            case "ping":
                await self.write({"type": "pong", **({"ref": frame["ref"]} if "ref" in frame else {})})
            case "auth":
                await self._auth(frame["token"])
            case "history":
                await self.write(page(self.inbox, frame))
            case "watch":
                for user in frame["users"]:
                    await self.write(self.server.presence(user))
            case "signal":
                await self.server.signal(self, frame)

    async def _note(self, frame: Frame) -> None:
        await self.moment(When.BEFORE, What.READ, {"id": "read"})
        planned, _ = self._refusals.pop("read", (None, 0))
        try:
            if planned is not None:
                raise RefusedError(planned.code)
            self.server.read(self.inbox.user, frame)
        except RefusedError as refused:
            await self.write({**frame, **error(refused.code, field="upto")})
        await self.moment(When.AFTER, What.READ)

    async def _auth(self, token: str) -> None:
        if self.server.accepts(token):
            await self.write({"type": "authed"})
        else:
            await self.write(error("unauthenticated"))

    # Opening

    async def _hello(self, frame: Frame) -> None:
        await self.moment(When.BEFORE, What.HELLO)
        token = frame.get("token")
        user = self.server.user_of(token) or self.user
        if user is None:
            await self._unauthenticated()
        assert user is not None
        self.user, self.device = user, frame["device"]
        self.inbox = self.server.inboxes.of(user)
        self.installation = self.server.installation(user, self.device)
        self.rules.judge_hello(self.installation, frame)
        if not self.server.accepts(token):
            await self._unauthenticated()
        self.window = frame.get("window", 256)
        await self.moment(When.AFTER, What.HELLO)
        await self.server.take_over(self)
        gap = self._begin(frame.get("cursor"))
        await self.write(self._welcome(), What.WELCOME)
        if gap is not None:
            await self._entry(gap)
        self._pump = asyncio.create_task(self._pumping())

    async def _unauthenticated(self) -> None:
        await self.write(error("unauthenticated"))
        await self.close(4501)

    def _begin(self, asked: str | None) -> Frame | None:
        """Where replay starts; a gap where the device has seen what is lost."""
        cursor = None if asked is None else Cursor.parse(asked)
        if cursor is not None and self.inbox.holds(cursor):
            self.inbox.ack(self.device, cursor)
            self.position = cursor
            return None
        self.position = self.inbox.stored(self.device)
        return None if cursor is None else rewound(cursor, self.position)

    def _welcome(self) -> Frame:
        return {
            "type": "welcome",
            "user": self.user,
            "device": self.device,
            "session": f"s{len(self.server.sessions)}",
            "worker": "w-scripted",
            "cursor": str(self.position),
            "head": str(self.inbox.last),
            "pending": self.inbox.pending(self.position),
            "window": self.window,
            "server": "scripted",
            **self.server.welcome,
        }

    # Receiving

    async def _pumping(self) -> None:
        with contextlib.suppress(ConnectionClosed, EndedError):
            while True:
                self.wake.clear()
                await self._drain()
                await self.wake.wait()

    async def _drain(self) -> None:
        while len(self.in_flight) < self.window:
            coming = self.inbox.after(self.position)
            if coming is None:
                break
            replay: Frame = {} if self.live else {"replay": True}
            await self._entry({**coming.frame, **replay} if isinstance(coming, Entry) else coming)
        if not self.live and self.inbox.after(self.position) is None:
            self.live = True
            await self.write({"type": "live", "cursor": str(self.position)}, What.LIVE)
        await self.flush()

    async def _entry(self, frame: Frame) -> None:
        self.position = Cursor.parse(frame["cursor"])
        self.in_flight.append(self.position)
        await self.write(frame, What.ENTRY)

    async def rewound(self) -> None:
        """The inbox has lost its tail while this connection is open."""
        async with self._writing:
            before, self.position = self.position, self.inbox.stored(self.device)
            self.in_flight.clear()
            self._written[What.ENTRY].clear()
        await self._entry(rewound(before, self.position))
        self.wake.set()

    async def _ack(self, frame: Frame) -> None:
        await self.moment(When.BEFORE, What.ACK)
        cursor = Cursor.parse(frame["cursor"])
        if cursor not in self.rules.void or cursor in self.rules.sent:
            self.inbox.ack(self.device, cursor)
            while self.in_flight and self.in_flight[0] <= cursor:
                self.in_flight.popleft()
            self.wake.set()
            self.server.changed()
        await self.moment(When.AFTER, What.ACK)

    # Sending

    async def _send(self, frame: Frame) -> None:
        await self.moment(When.BEFORE, What.SEND, frame)
        if refusal := self._refusal(frame["id"]):
            more = {} if refusal.retry_after is None else {"retry_after": refusal.retry_after}
            await self.write(error(refusal.code, id=frame["id"], **more))
            return
        assert self.user is not None
        try:
            answer = self.server.accept(self.user, frame)
        except RefusedError as refused:
            answer = error(refused.code, id=frame["id"])
        await self.moment(When.AFTER, What.SEND)
        await self.write(answer, What.ACCEPTED)

    def _refusal(self, id: str) -> Refuse | None:
        """Why this send is refused; None if it is not. After an `unavailable` nothing may pass the failed one."""
        planned, left = self._refusals.get(id, (None, 0))
        if planned is None and self._span is not None:
            planned, rest = self._span
            left = planned.times
            self._span = (planned, rest - 1) if rest > 1 else None
        if self._failed and id != self._failed[0]:
            return Refuse("out_of_order")
        if planned is not None and left > 0:
            self._refusals[id] = (planned, left - 1)
            if planned.code in REFUSED_IN_ORDER and id not in self._failed:
                self._failed.append(id)
            return planned
        if id in self._failed:
            self._failed.remove(id)
        return None

    # Writing

    async def write(self, frame: Frame, what: What | None = None) -> None:
        """One line; the script may interrupt before, in the middle and behind it."""
        if what is not None:
            await self.moment(When.BEFORE, what)
        async with self._writing:
            self._raise_if_over()
            self.unanswered -= frame.get("id") in self.rules.on_the_way
            self.rules.sends(frame)
            self.server.said(self, frame)
            line = json.dumps({**frame, **self.server.extra})
            if what is not None and (action := self.server.script.at(When.MID, what)):
                self._half(line)
                await self.act(action, what)
            await self._line(line)
        if what is not None:
            self._written[what].append(frame)
            await self.moment(When.AFTER, what)

    async def _line(self, line: str) -> None:
        self._bundle.append(line)
        if len(self._bundle) >= self.framing.bundle:
            await self._flush()

    async def flush(self) -> None:
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        if not self._bundle:
            return
        text, size = "\n".join(self._bundle), self.framing.fragment
        self._bundle.clear()
        parts = [text[start : start + size] for start in range(0, len(text), size)] if size else [text]
        await self.connection.send(parts if len(parts) > 1 else parts[0])

    def _half(self, line: str) -> None:
        whole = WebSocketFrame(Opcode.TEXT, line.encode()).serialize(mask=False)
        self.connection.transport.write(whole[: len(whole) // 2])

    def _raise_if_over(self) -> None:
        if self.silent or self.code or self.connection.transport.is_closing():
            raise EndedError

    # What the script wants

    async def moment(self, when: When, what: What, frame: Frame | None = None) -> None:
        self._raise_if_over()
        if action := self.server.script.at(when, what):
            self.server.changed()
            await self.act(action, what, frame)

    async def act(self, action: Action, what: What, frame: Frame | None = None) -> None:
        match action:
            case Cut(rst):
                self.cut(rst=rst)
            case Close(code, reason):
                await self.close(code, reason)
            case Closing(hint):
                await self.write({"type": "closing", "reason": "drain", "reconnect_after_ms": hint})
                await self.close(1012)
            case Silence():
                self.silence()
            case _:
                await self._go_on(action, what, frame)

    async def _go_on(self, action: Action, what: What, frame: Frame | None) -> None:
        """What does not end the connection."""
        match action:
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Repeat(times, back):
                for one in [*self._written[what]][-back:] * times:
                    await self.write(one)
            case Refuse(span=span):
                assert frame is not None, "only before a send"
                self._refusals[frame["id"]] = (action, action.times)
                self._span = (action, span - 1) if span > 1 else None
            case Say(frames):
                for one in frames:
                    await self.write(one)
            case Framing():
                self.framing = action
            case Do(effect):
                effect()

    def cut(self, *, rst: bool = False) -> None:
        transport = self.connection.transport
        if rst:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        raise EndedError

    async def close(self, code: int, reason: str = "") -> None:
        """With a close frame. Nothing follows it."""
        if not self.code:
            await self.flush()
            self.code = code
            if self.installation is not None:
                self.installation.closed(code)
            await self.connection.close(code, reason)
        raise EndedError

    def silence(self) -> None:
        """The peer is there, and says nothing any more."""
        self.silent = True
        self.connection.protocol.send_frame = lambda _: None  # type: ignore[method-assign,assignment]  # no pong
        raise EndedError


def frames_of(data: str | bytes) -> list[Frame]:
    """One for each line; what is no JSON object becomes a frame without a type."""
    try:
        found = [json.loads(line) for line in data.split("\n")] if isinstance(data, str) else [{"binary": True}]
    except ValueError:
        found = [{"not JSON": str(data)}]
    return [frame if isinstance(frame, dict) else {"no object": frame} for frame in found]


def page(inbox: Inbox, asked: Frame) -> Frame:
    """The answer to `history`."""
    limit, backwards = asked.get("limit", 50), "after" not in asked
    entries = [entry for entry in inbox.entries if entry.gone is None and is_asked_for(entry, asked)]
    found = [{**entry.frame, "replay": True} for entry in (reversed(entries) if backwards else entries)]
    return {"type": "history", "ref": asked["ref"], "entries": found[:limit], "more": len(found) > limit}


def is_asked_for(entry: Entry, asked: Frame) -> bool:
    frame = entry.frame
    if "before" in asked and entry.cursor >= Cursor.parse(asked["before"]):
        return False
    if "after" in asked and entry.cursor <= Cursor.parse(asked["after"]):
        return False
    if "with" in asked:
        names = {frame.get("from"), *([frame["to"]] if isinstance(frame.get("to"), str) else frame.get("to") or [])}
        return asked["with"] in names and frame["type"] in {*SENT, "deleted"}
    return "group" not in asked or (
        asked["group"] == frame.get("group") and frame["type"] in {*SENT, "deleted", "group"}
    )


def rewound(after: Cursor, cursor: Cursor) -> Frame:
    return {"type": "gap", "after": str(after), "cursor": str(cursor), "missing": None, "reason": "rewound"}


def error(code: str, **more: Any) -> Frame:
    return {"type": "error", "code": code, "message": f"scripted: {code}", "retryable": code in RETRYABLE, **more}
