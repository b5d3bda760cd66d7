"""One installation of a client over all its processes, and a record of what was asked of it."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from scripts.lab.timing import PATIENCE, eventually_async
from tests.clients.conformance.driver import Driver, Frame, Home
from tests.clients.conformance.judgement import Command, Outcome, Run
from tests.clients.scripted.inboxes import identity
from tests.clients.scripted.rules import Identity

T = TypeVar("T")

DEVICE = "phone"


class Client:
    """`options` are the driver's, over restarts too. `run` has what the application asked for.

    `ended_by_hand`: sends of which nobody is left to be told. `taken_back`: those whose command died in the pipe.
    """

    def __init__(self, kind: str, folder: Path, url: str, user: str, **options: Any) -> None:
        self.kind, self.url, self.options = kind, url, options
        self.home = Home(folder, kind, transactional=bool(self.options.pop("transactional", False)))
        self.drivers: list[Driver] = []
        self.run = Run(user)
        self.numbers = itertools.count(1)
        self.ended_by_hand: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def user(self) -> str:
        return self.run.user

    @property
    def driver(self) -> Driver:
        """The newest process."""
        return self.drivers[-1]

    def changed(self) -> None:
        self._changed.set()

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        """The first answer of `probe` that is true; asked whenever the client says something."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._changed.clear()
                    if found := probe():
                        return found
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.kind}: not within {PATIENCE:.0f} s: {what}\n{self.driver.tail()}") from None

    # Its processes

    async def start(self, **options: Any) -> None:
        """A new process on the same state; it does not connect by itself."""
        self.options |= options
        self.drivers.append(await Driver.start(self.home, self.url, self.user, DEVICE, self.changed, **self.options))
        await self.until(lambda: self.driver.of("ready") or self.driver.ended, "the driver is ready")
        assert not self.driver.ended, self.driver.tail()

    async def killed(self) -> None:
        """Waits for the end of a process that is killed by now, or kills itself."""
        await self.until(lambda: self.driver.ended, "the client's process is gone")
        await self.driver.wait()

    async def restart_after_a_kill_anywhere(self, arrived: Callable[[], set[str]]) -> list[str]:
        """The process was killed at a moment that nobody chose: the last message may be handled again. Nothing was
        promised of sends whose command was still in the pipe: they are taken back, and returned. `arrived`: ids that
        are in inboxes; such a send has ended, even though the telling may have died with the process.
        """
        await self.killed()
        self.run.may_repeat += 0 if self.home.transactional else 1
        unended = self.unended()
        await self.start()
        waiting = {item["id"] for item in await self.outbox()}
        there = arrived()
        lost = [id for id in unended if id not in waiting | there]
        self.run.commands = [command for command in self.run.commands if command.id not in lost]
        self.ended_by_hand |= there - waiting
        return lost

    async def close(self) -> None:
        for driver in self.drivers:
            if not driver.ended:
                await driver.stop()
        for driver in self.drivers:
            await driver.wait()

    # What it is told

    async def do(self, what: str, **fields: Any) -> None:
        await self.driver.do(what, **fields)

    async def live(self) -> None:
        """Connects where it is not, and waits."""
        if self.driver.state in {"idle", "failed"}:
            await self.do("connect")
        await self.until(lambda: self.driver.state == "live", "the client is live")

    async def in_state(self, *states: str) -> None:
        await self.until(lambda: self.driver.state in states, f"the client is {' or '.join(states)}")

    async def send(self, count: int = 1, to: str | list[str] = "carol", **more: Any) -> list[str]:
        """Asks for so many sends; their ids."""
        return [await self._ask_to("send", to, to=to, **more) for _ in range(count)]

    async def send_group(self, count: int = 1, group: str = "team", **more: Any) -> list[str]:
        """As `send`."""
        return [await self._ask_to("send_group", f"#{group}", group=group, **more) for _ in range(count)]

    async def change(self, what: str, message: Frame, **more: Any) -> str:
        """`edit`, `delete` or `react`; its id."""
        body = {} if what == "delete" else {"body": {"changed": message["id"]}}
        mine = message["from"] == self.user
        to = f"#{message['group']}" if "group" in message else message["to"] if mine else message["from"]
        return await self._ask_to(what, to, **{"message": message, **body, **more})

    async def _ask_to(self, what: str, place: str | list[str], **asked: Any) -> str:
        number = next(self.numbers)
        fresh = {"id": f"out{number}"} | ({"body": {"n": number}} if what.startswith("send") else {})
        asked = fresh | asked
        kind = "message" if what.startswith("send") else what
        self.run.commands.append(Command(asked["id"], place, asked.get("body"), kind))
        await self.do(what, **asked)
        return str(asked["id"])

    async def stored(self, ids: list[str]) -> None:
        """Until the outbox has these."""
        await self.outbox_is(lambda items: set(ids) <= {item["id"] for item in items})

    async def outbox_is(self, probe: Callable[[list[Frame]], bool]) -> None:
        """Asks again and again, since storing is no event."""

        async def look() -> bool:
            return probe(await self.outbox())

        await eventually_async(look, "the outbox is as wanted")

    async def outbox(self) -> list[Frame]:
        return list((await self.ask("outbox"))["items"])

    async def ask(self, what: str, **fields: Any) -> Frame:
        """A command that is answered by an event of its name."""
        before = len(self._answers(what))

        def answer() -> Frame | None:
            assert not self.driver.ended, self.driver.tail()
            return next(iter(self._answers(what)[before:]), None)

        await self.do(what, **fields)
        return await self.until(answer, f"an answer to {what}")

    async def prepare(self, what: str, **fields: Any) -> None:
        """As `do`; returns when the client has taken it, so that it holds for whatever comes next."""
        await self.do(what, **fields)
        await self.ask("stats")

    def _answers(self, what: str) -> list[Frame]:
        return [event for event in self.driver.of(what) if what != "outbox" or "items" in event]

    # What it has done

    def handled(self) -> set[Identity]:
        return {identity(message) for message in self.home.log()}

    def outcomes(self) -> list[Outcome]:
        """Of all processes."""
        known = {command.id for command in self.run.commands}
        told = [
            Outcome(process, event["event"], event["id"])
            for process, driver in enumerate(self.drivers)
            for event in driver.events
            if event["event"] in {"accepted", "failed"}
        ]
        return told + [Outcome(-1, "unknown", id) for id in self.ended_by_hand & known]

    def unended(self) -> list[str]:
        ended = {outcome.id for outcome in self.outcomes()} | self.run.given_up
        return [command.id for command in self.run.commands if command.id not in ended]
