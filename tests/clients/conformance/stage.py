"""One client, one scripted server, and a record of all that was asked of both."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from scripts.lab.timing import eventually_async
from tests.clients.conformance.driver import Driver, Frame, Home
from tests.clients.conformance.judgement import Command, Outcome, Run, violations
from tests.clients.scripted.inboxes import identity
from tests.clients.scripted.rules import Identity
from tests.clients.scripted.script import Fault
from tests.clients.scripted.server import ScriptedServer
from tests.support.cursors import Cursor

T = TypeVar("T")

USER, DEVICE = "bob", "phone"


class Stage:
    """`options` are the driver's, over restarts too. `run` grows over all scenarios; `settled` judges all of it."""

    def __init__(self, server: ScriptedServer, kind: str, folder: Path, **options: Any) -> None:
        self.server, self.kind, self.options = server, kind, options
        self.home = Home(folder, kind, transactional=bool(self.options.pop("transactional", False)))
        self.drivers: list[Driver] = []
        self.run = Run(USER)
        self.numbers = itertools.count(1)
        self.ended_by_hand: set[str] = set()  # sends that need not end: nobody is left to be told
        self.spoiled = True  # until a scenario has settled
        self.installation = server.installation(USER, DEVICE)
        self.installation.handled = self.handled

    # The client

    @property
    def driver(self) -> Driver:
        return self.drivers[-1]

    def handled(self) -> set[Identity]:
        return {("message", message["from"], message["id"]) for message in self.home.log()}

    async def start(self, **options: Any) -> None:
        """A new process on the same state; it does not connect by itself."""
        self.options |= options
        self.drivers.append(
            await Driver.start(self.home, self.server.url, USER, DEVICE, self.server.changed, **self.options)
        )
        await self.until(lambda: self.driver.of("ready") or self.driver.ended, "the driver is ready")
        assert not self.driver.ended, self.driver.tail()

    async def do(self, what: str, **fields: Any) -> None:
        if what == "connect":
            self.installation.asked_to_connect()
        await self.driver.do(what, **fields)

    async def live(self) -> None:
        """Connects where it is not, and waits."""
        if self.driver.state in {"idle", "failed"}:
            await self.do("connect")
        await self.until(lambda: self.driver.state == "live", "the client is live")

    async def in_state(self, *states: str) -> None:
        await self.until(lambda: self.driver.state in states, f"the client is {' or '.join(states)}")

    async def killed(self) -> None:
        """Waits for the end of a process that is killed by now, or kills itself."""
        await self.until(lambda: self.driver.ended, "the client's process is gone")
        await self.driver.wait()

    async def close(self) -> None:
        for driver in self.drivers:
            if not driver.ended:
                await driver.stop()
        for driver in self.drivers:
            await driver.wait()

    # What happens

    def play(self, *faults: Fault) -> None:
        self.server.play(*faults)

    def deliver(self, count: int = 1, **more: Any) -> list[Cursor]:
        """So many messages from alice."""
        frames = [{"id": f"in{next(self.numbers)}", "from": "alice", "body": {"n": n}, **more} for n in range(count)]
        return self.server.deliver(USER, *frames)

    async def trickle(self, count: int) -> None:
        """As `deliver`, each when the one before it is handled."""
        for _ in range(count):
            self.deliver()
            await self.until(lambda: not self.unhandled(), "the message is handled")

    async def send(self, count: int = 1, to: str = "carol", **more: Any) -> list[str]:
        """Asks the client for so many sends; their ids."""
        ids = []
        for _ in range(count):
            number = next(self.numbers)
            asked = {"id": f"out{number}", "to": to, "body": {"n": number}, **more}
            self.run.commands.append(Command(asked["id"], to, asked["body"]))
            ids.append(str(asked["id"]))
            await self.do("send", **asked)
        return ids

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
        before = len(self.driver.of(what))

        def answer() -> Frame | None:
            assert not self.driver.ended, self.driver.tail()
            return next(iter(self.answers(what)[before:]), None)

        await self.do(what, **fields)
        return await self.until(answer, f"an answer to {what}")

    def answers(self, what: str) -> list[Frame]:
        return [event for event in self.driver.of(what) if what != "outbox" or "items" in event]

    def outcomes(self) -> list[Outcome]:
        return [
            Outcome(process, event["event"], event["id"])
            for process, driver in enumerate(self.drivers)
            for event in driver.events
            if event["event"] in {"accepted", "failed"}
        ]

    def unhandled(self) -> list[Identity]:
        handled = self.handled()
        inbox = self.server.inboxes.of(USER)
        return [
            identity(entry.frame)
            for entry in inbox.entries
            if entry.frame["type"] == "message" and entry.gone is None and identity(entry.frame) not in handled
        ]

    def unended(self) -> list[str]:
        ended = {outcome.id for outcome in self.outcomes()} | self.run.given_up | self.ended_by_hand
        return [command.id for command in self.run.commands if command.id not in ended]

    # The verdict

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        def judged() -> T | None:
            assert not self.server.breaches, self.server.tail()
            return probe()

        try:
            return await self.server.until(judged, what)
        except AssertionError as fault:
            raise AssertionError(f"{self.kind}: {fault}\n{self.driver.tail() if self.drivers else ''}") from None

    async def settled(self) -> None:
        """Waits until all is handled, acked and answered and the script is played; then judges everything so far."""
        await self.live()
        inbox = self.server.inboxes.of(USER)
        await self.until(lambda: not self.unhandled(), f"all is handled: {self.unhandled()[:3]}")
        await self.until(lambda: inbox.stored(DEVICE) >= inbox.last, "the newest ack has come")
        await self.until(lambda: not self.unended(), f"every send has ended: {self.unended()[:3]}")
        await self.live()
        assert not self.server.script.left, f"faults that never happened: {self.server.script.left}"
        wrong = self.verdict()
        assert not wrong, "\n".join([self.kind, *wrong, self.server.tail(40), self.driver.tail()])
        self.spoiled = False

    def verdict(self) -> list[str]:
        inbox = self.server.inboxes.of(USER)
        generations = [*inbox.generations, inbox.entries]
        self.run.log = [{"type": "message", **message} for message in self.home.log()]
        self.run.inbox = [[entry.frame for entry in held] for held in generations]
        self.run.gone |= {identity(entry.frame) for held in generations for entry in held if entry.gone}
        self.run.outcomes = self.outcomes() + [
            Outcome(-1, "unknown", id) for id in self.ended_by_hand & {c.id for c in self.run.commands}
        ]
        recipients = {command.to for command in self.run.commands}
        self.run.inboxes = {to: self.server.inboxes.of(to).messages() for to in recipients}
        return [*self.server.breaches, *violations(self.run)]
