"""One stream of `/v1/events`, held to the protocol's rules as a WebSocket is."""

import asyncio
import contextlib
import json
import socket
from types import TracebackType
from typing import Any, Self

import httpx2

from scripts.lab.timing import PATIENCE
from tests.support import rules
from tests.support.arrivals import Arrivals, Frame
from tests.support.event_text import Event, EventText
from tests.support.rules import Rules

ENTRIES = rules.ENTRIES


class EventStream(Arrivals):
    """Use as an async context manager; `stream` is the parameter of that name. Acks go to `base`, or elsewhere.

    `status` other than 200: `answer` has the whole response. `wire_ended`: cut rather than ended.
    """

    def __init__(
        self,
        base: str,
        user: str | None,
        device: str = "events",
        *,
        window: int | None = None,
        stream: str | None = None,
        last_event_id: str | None = None,
        token: str | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__()
        self.base, self.user, self.device = base, user, device
        asked: dict[str, Any] = {"device": device, "window": window, "stream": stream}
        self._query = {name: value for name, value in asked.items() if value is not None}
        self._headers = {} if user is None else {"X-Inboxd-User": user}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._more = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        small = [] if receive_buffer is None else [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)]
        self._http = httpx2.AsyncClient(
            timeout=PATIENCE, trust_env=False, transport=httpx2.AsyncHTTPTransport(socket_options=small)
        )
        self.rules = Rules(user or "", device, last_event_id or None, window)
        self.text = EventText()
        self.events: list[Event] = []
        self.wire_ended = False
        self._reading = asyncio.Event()
        self._reading.set()
        self._reader: asyncio.Task[None] | None = None
        self.answer: httpx2.Response

    async def __aenter__(self) -> Self:
        request = self._http.build_request(
            "GET", f"{self.base}/v1/events", params=self._query, headers=self._headers | self._more
        )
        self.answer = await self._http.send(request, stream=True)
        if self.status == 200:
            self._reader = asyncio.create_task(self._read())
        else:
            await self.answer.aread()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        with contextlib.suppress(httpx2.TransportError):
            await self.answer.aclose()
        await self._http.aclose()
        if kind is None and self.fault is not None:
            raise self.fault

    @property
    def status(self) -> int:
        return self.answer.status_code

    # What comes.

    async def _read(self) -> None:
        try:
            async for data in self.answer.aiter_raw():
                for event in self.text.feed(data):
                    self._take(event)
                self.changed.set()
                await self._reading.wait()
            self.text.end()
        except httpx2.TransportError:
            self.wire_ended = True
        except AssertionError as broken:
            self.fault = broken
        finally:
            self.changed.set()

    def _take(self, event: Event) -> None:
        frame: Frame = json.loads(event.data)
        assert frame["type"] == event.type, event
        if event.type in ENTRIES:
            assert event.id == frame["cursor"], event
        else:
            assert event.id == self.last_entry, f"an id without an entry: {event}"
        self.events.append(event)
        self.frames.append(frame)
        self.rules.received(frame, len(event.data.encode()))

    @property
    def last_entry(self) -> str:
        """The cursor of the newest entry or gap here; "" before any."""
        return next((str(frame["cursor"]) for frame in reversed(self.frames) if frame["type"] in ENTRIES), "")

    @property
    def entries(self) -> list[Frame]:
        return self.of(*ENTRIES)

    @property
    def is_open(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def next(self, kind: str) -> Frame:
        """The first frame of a type."""
        return await self.until(lambda: next(iter(self.of(kind)), None), kind)

    async def receive(self, count: int) -> list[Frame]:
        return await self.until(lambda: self.entries if len(self.entries) >= count else None, f"{count} entries")

    async def ended(self) -> Frame:
        """Waits for the end; the last frame."""
        await self.until(lambda: not self.is_open, "the end")
        return self.frames[-1]

    async def over(self) -> None:
        """Waits for the end, however long that takes."""
        assert self._reader is not None
        await asyncio.shield(self._reader)
        if self.fault is not None:
            raise self.fault

    def stall(self) -> None:
        """Reads no further."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    # What it says.

    async def ack(self, cursor: str | None = None, base: str | None = None) -> httpx2.Response:
        """Acks by POST, by default everything that came; over a connection of its own."""
        upto = cursor or self.last_entry
        self.rules.sent({"type": "ack", "cursor": upto})
        content = {"device": self.device, "cursor": upto}
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
            return await http.post(f"{base or self.base}/v1/inbox/ack", json=content, headers=self._headers)
