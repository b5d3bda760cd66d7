"""Those who receive server-sent events, as a browser's page does: by `EventSource`, with acks over HTTP."""

import asyncio
import json
from typing import Any

import httpx2

from scripts.chaos.client import GIVE_UP_AFTER
from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import AROUND, Ended, Hello, Live, Welcome
from scripts.chaos.readers import Polling

WINDOW = 32


class Streaming(Polling):
    """Comes back with the last id it had; now and then its page is loaded anew, and knows of none."""

    _last: Cursor | None = None
    _session = ""

    async def _poll(self, http: httpx2.AsyncClient) -> None:
        """One stream, up to its end."""
        self._polls += 1
        self._session, history = f"stream{self._polls}", self.device.history
        if self.device.rng.random() < 0.2:
            self._last = None
        asked: dict[str, str | int] = {"device": self.device.name, "window": WINDOW, "stream": "page"}
        said = {"Last-Event-ID": str(self._last)} if self._last is not None else {}
        who = (*self.device.reader, self._session)
        history.note(Hello(history.clock(), *who, self._last, None))
        async with http.stream("GET", "/v1/events", params=asked, headers=said) as answer:
            if answer.status_code != 200:
                self.device.errors[str(answer.status_code)] += 1
                await self.device.back_off()
                return
            self.connections += 1
            acking = asyncio.create_task(self._ack_all(http))
            try:
                async with asyncio.timeout(None if self.end is None else GIVE_UP_AFTER):
                    await self._follow(answer)
                code = 1000
            except (httpx2.TransportError, TimeoutError):
                code = 1006
            finally:
                acking.cancel()
                await asyncio.gather(acking, return_exceptions=True)
        if not self.complete:
            history.note(Ended(history.clock(), *who, code))
            await self.device.back_off()

    async def _follow(self, answer: httpx2.Response) -> None:
        text = ""
        async for piece in answer.aiter_text():
            *blocks, text = (text + piece).split("\n\n")
            for block in blocks:
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                if "data" in fields:
                    self._take(json.loads(fields["data"]))
            if self.is_complete() or self._is_at_the_end():
                return

    def _is_at_the_end(self) -> bool:
        """All of it has come and is acked; a stream that is quiet before that ends by its time-out."""
        if self.end is not None and self._read >= self.end and self.device.acked >= self.end:
            self.complete = True
        return self.complete

    def _take(self, frame: dict[str, Any]) -> None:
        history, who = self.device.history, (*self.device.reader, self._session)
        if frame["type"] == "welcome":
            self._read = Cursor.parse(frame["cursor"])
            history.note(Welcome(history.clock(), *who, self._read, frame["worker"]))
        elif frame["type"] == "live":
            history.note(Live(history.clock(), *who, Cursor.parse(frame["cursor"])))
        elif frame["type"] in {"message", "gap", *AROUND}:
            self._note([frame], self._session)
            self._last = self._read = Cursor.parse(frame["cursor"])
        elif frame["type"] == "error":
            self.device.errors[frame["code"]] += 1

    async def _ack_all(self, http: httpx2.AsyncClient) -> None:
        """What has come, again and again; over connections of their own, so that any worker may get them."""
        acked = START
        while True:
            await asyncio.sleep(self.device.rng.uniform(0.0, 0.05))
            upto = self._read
            if upto in (acked, START):
                continue
            try:
                if await self._ack(http, upto, self._session):
                    acked = upto
            except httpx2.TransportError:
                continue
            if self._is_at_the_end():
                return
