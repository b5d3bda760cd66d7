"""`kill -9` of the worker that holds an event stream, mid-traffic: nothing lost, nothing twice, in order."""

import asyncio
from collections.abc import Callable
from functools import partial

import httpx2
import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import POLL, eventually_async
from tests.support.api import Api
from tests.support.event_stream import EventStream
from tests.support.history import History
from tests.support.rules import Frame
from tests.support.traffic import Sender, running

KILLS = 3


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


class Browser:
    """What an `EventSource` and its page do: it comes back with the last id, and each entry is acked once handled.

    `log`: all entries that came; `workers` and `endings`, of each stream: `ended`, or `cut`.
    """

    def __init__(self, service: Service, user: str, history: History) -> None:
        self._service, self._user, self._history = service, user, history
        self._last = ""
        self.log: list[Frame] = []
        self.workers: list[str] = []
        self.endings: list[str] = []

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except httpx2.TransportError:
                await asyncio.sleep(POLL)

    async def _follow(self) -> None:
        stream = EventStream(
            self._service.url, self._user, "tab", window=16, stream="tab-1", last_event_id=self._last or None
        )
        async with stream:
            assert stream.status == 200, "one that comes back by itself is let in"
            await self._handle(stream)
            if len(self.workers) == len(self.endings):
                self.workers.append("")  # none had spoken yet
            self.endings.append("cut" if stream.wire_ended else "ended")

    async def _handle(self, stream: EventStream) -> None:
        """All that comes, up to the end."""
        handled = 0
        while stream.is_open or handled < len(stream.entries):
            await stream.until(partial(self._news, stream, handled), "more, or the end")
            if len(self.workers) == len(self.endings) and stream.of("welcome"):
                self.workers.append(stream.frames[0]["worker"])
            for entry in stream.entries[handled:]:
                handled += 1
                self.log.append(entry)
                self._history.delivered(self._user, "tab", entry)
                self._last = entry["cursor"]
            if handled:
                await self._ack(stream)

    @staticmethod
    def _news(stream: EventStream, handled: int) -> bool:
        return len(stream.entries) > handled or not stream.is_open

    async def _ack(self, stream: EventStream) -> None:
        """Again until it is in: any worker will do."""
        while True:
            try:
                if (await stream.ack(self._last)).status_code == 204:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(POLL)


async def test_a_stream_goes_on_over_every_kill(
    service: Service, history: History, bob: str, named: Callable[[str], str]
) -> None:
    senders = [Sender(named(f"s{number}"), history, 0.005) for number in range(3)]
    browser = Browser(service, bob, history)
    stop = asyncio.Event()
    async with (
        running(browser.run()) as reading,
        running(*(sender.over_http(service.url, [bob], stop) for sender in senders)) as sending,
    ):

        async def received_more(count: int) -> bool:
            reading.check()
            sending.check()
            return len(browser.log) >= count

        for kill in range(KILLS):
            before = len(browser.log)
            await eventually_async(partial(received_more, before + 30), "more has come")
            processes.kill(service.worker(browser.workers[-1]).pid)

            async def back(kill: int = kill) -> bool:
                reading.check()
                return len(browser.endings) > kill and len(browser.workers) > kill + 1

            await eventually_async(back, "it is back")
        stop.set()
        await sending.done()

        async def complete() -> bool:
            reading.check()
            return history.missing((bob, "tab")) == 0

        await eventually_async(complete, "every message")
        async with Api(service.url, bob) as api:

            async def acked() -> bool:
                return bool(await api.stored(bob, "tab") == browser.log[-1]["cursor"])

            await eventually_async(acked, "the last ack is stored")

    assert history.violations((bob, "tab")) == []
    identities = [(entry["from"], entry["id"]) for entry in browser.log]
    assert len(identities) == len(set(identities)), "with the last id of an entry that was handled nothing is repeated"
    assert browser.endings == ["cut"] * KILLS
