"""`inboxd tail`: receives and acks like a device, over the service's WebSocket.

`Tail` is what the device remembers between its connections and decides what is shown; `follow` keeps a
connection up for it. A shown entry is acked after it has left for stdout, never before.
"""

import asyncio
import json
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from service.core.backoff import Backoff
from service.ops.entries import origin, place, said
from service.ops.show import Out, body_text, clock, printable, to_json

FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
"""Seconds before a new connection; jittered and doubling until one of them has become live."""
REMEMBERED = 10_000
"""Identities kept to drop repeats by; far more than a window, so that a rewound history is dropped too."""
LARGEST_FRAME = 16 * 2**20
FINAL = range(4500, 5000)
"""Close codes that say: do not come back."""

NO_CONNECTION = 1006
ENTRIES = frozenset(("message", "edit", "delete", "react", "deleted", "receipt", "read", "group"))


@dataclass(slots=True)
class Tail:
    """One device. `cursor` is where the next `hello` asks to start; None: where the server left it.

    `left`: messages still to be shown, None for no end. Of the connection at hand: `window` and `unacked`
    count entries, `lasting` says that it became live, `told` how many seconds to wait after it. `token`: who it is,
    where tokens are wanted.
    """

    user: str
    device: str
    out: Out
    notes: Out
    cursor: str | None = None
    acking: bool = True
    as_json: bool = False
    left: int | None = None
    attempt: int | None = None
    token: str | None = field(default=None, repr=False)
    window: int = 0
    unacked: int = 0
    lasting: bool = False
    told: float | None = None
    _shown: OrderedDict[tuple[Any, ...], None] = field(default_factory=OrderedDict)

    @property
    def done(self) -> bool:
        return self.left is not None and self.left <= 0

    def hello(self) -> dict[str, Any]:
        """A cursor given in `hello` counts as acked, so one who does not ack must not go on from its own."""
        frame: dict[str, Any] = {"type": "hello", "device": self.device}
        if self.cursor is not None:
            frame["cursor"] = self.cursor
        if self.token is not None:
            frame["token"] = self.token
        if self.attempt is not None:
            frame["attempt"] = self.attempt
            self.attempt += 1
        self.unacked, self.lasting, self.told = 0, False, None
        if not self.acking:
            self.cursor = None
        return frame

    def take(self, text: str) -> str | None:
        """Shows a WebSocket frame's lines; the newest cursor in it, which may be acked now."""
        newest = None
        for line in filter(None, text.split("\n")):  # not splitlines: U+2028 may stand within a string
            frame = json.loads(line)
            newest = self._show(frame) or newest
            if self.done:
                break
        if newest is not None and self.acking:
            self.cursor = newest
        return newest

    def _show(self, frame: dict[str, Any]) -> str | None:
        match frame.get("type"):
            case "gap":
                self._line(frame, f"gap after {frame['after']}: {_missing(frame)} {frame['reason']}", "yellow")
            case "broadcast":
                self._line(frame, f"broadcast: {body_text(frame.get('body'))}", "magenta")
            case kind if kind in ENTRIES:
                self._entry(frame)
            case other:
                self._state(str(other), frame)
        entry = "cursor" in frame and frame.get("type") not in ("welcome", "live")
        return self._counted(frame["cursor"]) if entry else None

    def _counted(self, cursor: str | None) -> str | None:
        self.unacked += 1
        if not self.acking and self.unacked == self.window:
            self.note(f"{self.window} entries unacked: the window is full, and nothing more comes without an ack")
        return cursor

    def _entry(self, frame: dict[str, Any]) -> None:
        identity = (frame["type"], origin(frame) or frame.get("group"), frame.get("id"))
        if identity in self._shown:
            return
        self._shown[identity] = None
        if len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)
        message = frame["type"] == "message"
        if self.left is not None and message:
            self.left -= 1
        at, sender, to = clock(frame.get("ts")), origin(frame) or self.user, place(frame, self.user)
        text = said(frame) if message else f"({frame['type']}) {said(frame)}"
        if self.out.terminal:
            self._line(frame, f"{at}  {printable(f'{sender} → {to}')}  {text}", None if message else "blue")
        else:
            columns = (at, str(frame.get("cursor")), sender, to)
            self._line(frame, "\t".join([*map(printable, columns), text]))

    def _state(self, kind: str, frame: dict[str, Any]) -> None:
        match kind:
            case "welcome":
                self.window = int(frame["window"])
                where = f"{frame['user']}/{frame['device']} on {frame['worker']}, session {frame['session']}"
                self.note(f"connected: {where}; {frame['pending']} after {frame['cursor']}", frame)
            case "live":
                self.lasting = True
                self.note(f"live at {frame['cursor']}", frame)
            case "closing":
                self.told = frame.get("reconnect_after_ms", 0) / 1000
                self.note(f"the service is about to close: {frame.get('reason')}", frame)
            case "error":
                self.note(f"error {frame.get('code')}: {frame.get('message')}", frame)
            case _:
                self.note(f"{kind}: {to_json(frame)}", frame)

    def _line(self, frame: dict[str, Any], text: str, style: str | None = None) -> None:
        if self.as_json:
            self.out.line(to_json(frame))
        else:
            self.out.line(text, style)

    def note(self, text: str, frame: dict[str, Any] | None = None) -> None:
        """What happens to the connection; on stderr, or, if a frame told it, among the JSON."""
        if self.as_json and frame is not None:
            self.out.line(to_json(frame))
        else:
            self.notes.line(printable(text), "dim")


def _missing(frame: dict[str, Any]) -> str:
    missing = frame.get("missing")
    return "history" if missing is None else f"{missing} entries up to {frame['cursor']}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one connection ended. `after`: seconds the service asks to wait; `final`: not to come back."""

    text: str
    final: bool = False
    after: float | None = None


async def follow(tail: Tail, url: str) -> bool:
    """Connects again and again until the service says not to (False) or `tail` has all it wanted (True)."""
    backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
    while True:
        ended = await _connection(tail, url)
        if tail.done:
            return True
        if ended.final:
            tail.note(f"{ended.text}; not coming back")
            return False
        if tail.lasting:
            backoff.reset()
        # S311 looks for secrets; this only spreads the devices of a worker that died.
        wait = backoff.wait(random.random()) if ended.after is None else ended.after
        tail.note(f"{ended.text}; connecting again in {wait:.1f} s")
        await asyncio.sleep(wait)


async def _connection(tail: Tail, url: str) -> Ended:
    try:
        async with connect(
            url,
            subprotocols=[Subprotocol("inboxd.v1")],
            additional_headers={} if tail.token else {"X-Inboxd-User": tail.user},
            max_size=LARGEST_FRAME,
            close_timeout=2,
            proxy=None,
        ) as socket:
            return await _receive(tail, socket)
    except InvalidStatus as error:
        status = error.response.status_code
        return Ended(f"the service answers HTTP {status}{_detail(error)}", final=status < 500)
    except (OSError, TimeoutError, InvalidHandshake) as error:
        return Ended(f"cannot connect to {url} ({str(error) or type(error).__name__}); is the service running?")


async def _receive(tail: Tail, socket: ClientConnection) -> Ended:
    try:
        await socket.send(to_json(tail.hello()))
        async for text in socket:
            if not isinstance(text, str):
                continue
            cursor = tail.take(text)
            if cursor is not None and tail.acking:
                await socket.send(to_json({"type": "ack", "cursor": cursor}))
                tail.unacked = 0
            if tail.done:
                break
    except ConnectionClosed:
        pass
    code, reason = socket.close_code or NO_CONNECTION, socket.close_reason
    return Ended(f"closed {code} {reason or ''}".rstrip(), final=code in FINAL, after=tail.told)


def _detail(error: InvalidStatus) -> str:
    try:
        detail = json.loads(error.response.body or b"")["detail"]
    except (ValueError, LookupError, TypeError):
        return ""
    return f": {detail}"
